"""Entry point of ``python -m lgmnet.cli``, the same program as ``python -m lgmnet``."""

from lgmnet.cli import main

main()
