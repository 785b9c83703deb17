"""Criteria that a person can state, for options and messages; importing them loads no PyTorch."""

from typing import Literal, get_args

from lgmnet.errors import unknown_name_error

Criterion = Literal["auto", "things", "looks"]
"""Statement of a person about the criterion: none; the things shown; or anything else."""


def check_criterion(by: object) -> None:
    """Check a person's statement of the criterion.

    Raises:
        ConfigError: if it is no `Criterion`.
    """
    if by not in get_args(Criterion):
        raise unknown_name_error("criterion", str(by), get_args(Criterion))
