"""HEIC photos, as phones make them, which an optional package reads."""

from functools import cache

from lgmnet.errors import ImageError

HEIF_FORMAT = "HEIF"
"""Pillow's name of the format."""
HEIF_SUFFIXES = frozenset((".heic", ".heif", ".hif"))
HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))


def is_heif(head: bytes) -> bool:
    """Return True if a file that begins with these bytes is a HEIC photo (ISO/IEC 23008-12)."""
    return head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS


def heif_formats() -> tuple[str, ...]:
    """Return the name of the format for Pillow, which can read it from then on.

    Raises:
        ImageError: if the package is not installed.
    """
    if not register_reader():
        raise ImageError(
            "it is a HEIC photo, which needs the package 'pillow_heif'; pip install "
            "'lgmnet[heic]', or save it as JPEG"
        )
    return (HEIF_FORMAT,)


@cache
def register_reader() -> bool:
    """Let Pillow read the format; return False if the package for it is not installed."""
    try:
        from pillow_heif import register_heif_opener
    except ModuleNotFoundError:
        return False
    register_heif_opener()
    return True
