"""Configuration of the documentation site (`make docs`). Nothing in it is loaded from elsewhere."""

import hashlib
import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS / "_ext"))

project = "lgmnet"
author = copyright = "the lgmnet developers"
release = version = installed_version("lgmnet")
extensions = [
    "myst_nb",
    "sphinx_design",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "reference_pages",
    "source_links",
]
exclude_patterns = ["_build", "**/generated", "_ext"]
templates_path: list[str] = []

# Pages of code run when the site is built. Their output is kept by the content of the page, of the
# package and of this file, so a page runs again only if one of them has changed.
_sources = hashlib.sha256(Path(__file__).read_bytes())
for _path in sorted((ROOT / "src/lgmnet").rglob("*")):
    if _path.suffix in (".py", ".safetensors"):
        _sources.update(_path.read_bytes())
nb_execution_mode = "cache"
nb_execution_in_temp = True
# Commands print as into a file: no colours and no progress bars.
os.environ |= {"TTY_COMPATIBLE": "0", "NO_COLOR": "1", "COLUMNS": "100"}
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
nb_execution_cache_path = str(DOCS / "_build" / f"executed-{_sources.hexdigest()[:12]}")
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # Of one cell; enough for a busy machine.
nb_execution_show_tb = True
nb_merge_streams = True
nb_kernel_rgx_aliases = {".*": "python3"}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "lgmnet"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False

default_role = "py:obj"  # Names in single backticks of docstrings.
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"show-inheritance": False}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
