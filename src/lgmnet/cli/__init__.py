"""Command line. Results go to stdout, everything else to stderr; bad input exits with code 2."""

from lgmnet.cli.main import main

__all__ = ["main"]
