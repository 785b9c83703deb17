"""``python -m lgmnet.cli``."""

from lgmnet.cli import main

main()
