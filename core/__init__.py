"""Core: the words that all rooms speak, and the ports between them. No I/O, no asyncio, no clock reads."""
