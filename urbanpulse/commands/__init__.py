"""Commands: what the command line can be asked, one module a group; each parses, calls and prints."""
