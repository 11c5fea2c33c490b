"""The payload formats that devices speak, each a decoder from bytes to readings."""
