"""This module lets `python -m urbanpulse` be the command line."""

from urbanpulse.cli import main

if __name__ == "__main__":
    main()
