"""Entry point of the command ``lgmnet`` and of ``python -m lgmnet``."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it cleanly even while its modules are being imported."""
    try:
        from lgmnet.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
