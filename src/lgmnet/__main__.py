"""Entry point of ``python -m lgmnet``."""

from lgmnet.cli import main

main()
