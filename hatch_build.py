"""Metadata of the package that depend on where the repository lies: addresses and the long text.

The address is LGMNET_REPOSITORY (the release workflow sets its own), else that of an unpacked
sdist, else the placeholder. In README.md links are relative, so that they work in a checkout and
wherever the repository is hosted; on the page of a package index they must be absolute.
"""

import os
import re
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PLACEHOLDER = "https://example.org/lgmnet"
"""Address for builds of nobody's release; example.org belongs to no project."""
PICTURES = (".png", ".svg")


class RepositoryMetadataHook(MetadataHookInterface):
    """Fill in ``urls`` and ``readme``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the fields that the project file calls dynamic."""
        root = Path(self.root)
        address = find_repository(root)
        metadata["urls"] = {
            "Repository": address,
            "Documentation": f"{address}/tree/main/docs",
            "Changelog": f"{address}/blob/main/CHANGELOG.md",
            "Issues": f"{address}/issues",
        }
        text = (root / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": make_links_absolute(text, address),
        }


def find_repository(root: Path) -> str:
    """Return the address of the repository, without a slash at its end."""
    if address := os.environ.get("LGMNET_REPOSITORY"):
        return address.rstrip("/")
    record = root / "PKG-INFO"
    if record.is_file():
        headers = HeaderParser().parsestr(record.read_text(encoding="utf-8"))
        for line in headers.get_all("Project-URL", []):
            label, _, address = line.partition(", ")
            if label == "Repository":
                return str(address)
    return PLACEHOLDER


def make_links_absolute(text: str, address: str) -> str:
    """Replace the relative links and pictures of a Markdown text by absolute ones.

    >>> make_links_absolute("[a](docs/a.md) ![b](b.png) [c](https://c.org)", "https://r.org/x")
    '[a](https://r.org/x/blob/main/docs/a.md) ![b](https://r.org/x/raw/main/b.png) [c](https://c.org)'
    """

    def make_absolute(match: re.Match[str]) -> str:
        target = match.group(1)
        if "://" in target or target.startswith("#"):
            return match.group(0)
        kind = "raw" if target.endswith(PICTURES) else "blob"
        return f"]({address}/{kind}/main/{target})"

    return re.sub(r"\]\(([^)\s]+)\)", make_absolute, text)
