"""Sphinx extension: links from a page to a file of the repository become names of the file.

On a page of the repository, ``[trainer](../../src/lgmnet/training/trainer.py)`` leads to the file.
The site has no copy of the code, so there the text alone remains.
"""

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

ROOT = Path(__file__).parents[2]


class FileNames(SphinxTransform):
    """Replace the links to files outside the site by their text."""

    default_priority = 5

    def apply(self, **kwargs: Any) -> None:
        """Visit the links of one page."""
        page = Path(self.document["source"])
        for link in list(self.document.findall(self.is_link)):
            target = link.get("reftarget") or link.get("refuri") or ""
            if not target or "://" in target or target.startswith("#"):
                continue
            name = target.partition("#")[0]
            path = (page.parent / name).resolve()
            if not path.exists() and page.parent.name == "dev":
                path = (ROOT / name).resolve()  # A page that includes a file of the root.
            if path.is_relative_to(ROOT / "docs") or not path.is_relative_to(ROOT):
                continue
            if not path.exists():
                continue  # A name of a page, or a mistake, of which Sphinx warns.
            link.replace_self(nodes.inline("", "", *link.children, classes=["file"]))

    @staticmethod
    def is_link(node: nodes.Node) -> bool:
        """Return True for a link that is not resolved yet, or that names a file."""
        return isinstance(node, nodes.Element) and node.tagname in (
            "pending_xref",
            "download_reference",
            "reference",
        )


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_transform(FileNames)
    return {"parallel_read_safe": True}
