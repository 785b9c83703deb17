"""Tools for assistants, by the Model Context Protocol: what the commands of the same name do.

Docstrings of the tools, and those of their arguments, are what an assistant reads.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from lgmnet import __version__
from lgmnet.cli.allowed_folders import AllowedFolders
from lgmnet.cli.edit import edit as run_edit
from lgmnet.cli.forge import forge as run_forge
from lgmnet.cli.image_paths import find_images
from lgmnet.cli.predictions import predict_files
from lgmnet.cli.report import report as run_report
from lgmnet.cli.suggest import suggest as run_suggest
from lgmnet.criterion import Criterion
from lgmnet.errors import ConfigError, UserError, require_extra

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

F = TypeVar("F", bound=Callable[..., dict[str, Any]])
ShippedModel = Literal["auto", "omniglot", "photos", "photos-classes"]
MAX_PREDICTIONS = 500
"""Largest number of images in one answer: an assistant reads all of it."""
INSTRUCTIONS = """\
lgmnet makes image classifiers from a few labelled images of each class, in seconds and without
training. Images of a class are in a folder with the name of the class: FOLDER/<class>/<image>.
Forge a classifier first, into a file ending in .safetensors. Then predict, report on labelled test
images, ask which unlabelled images to label next (suggest), and add them (edit). Paths are
absolute, or relative to the first folder. Only these folders can be used: """


def make_server(folders: Sequence[Path]) -> "MCPServer":
    """Make the server whose tools use the files in some folders only.

    Raises:
        ConfigError: if there is no such folder.
        UserError: if the package of the extra ``mcp`` is not installed.
    """
    with require_extra("mcp", "tools for assistants"):
        from mcp.server.mcpserver import MCPServer
        from pydantic import Field

    allowed = AllowedFolders(folders)
    listed = ", ".join(map(str, allowed.folders))
    server = MCPServer("lgmnet", instructions=INSTRUCTIONS + listed, version=__version__)
    File = Annotated[str, Field(description="Classifier file that the tool forge wrote.")]
    Folder = Annotated[str, Field(description="Folder of labelled images, FOLDER/<class>/<image>.")]
    Output = Annotated[str, Field(description="Classifier file to write, ending in .safetensors.")]

    def tool(function: F) -> F:
        """Register a function as a tool, whose user errors are answers in one sentence."""
        server.tool()(report_user_errors(function))
        return function

    @tool
    def forge(
        folder: Folder,
        output: Output,
        model: ShippedModel = "auto",
        by: Criterion = "auto",
        overwrite: bool = False,
    ) -> dict[str, Any]:
        """Make a classifier from a folder of labelled images, and estimate its accuracy.

        The model auto is omniglot for drawings and photos for photos. The answer has the classes,
        the leave-one-out estimate of the accuracy with its 95 % interval, and the accuracy expected
        with twice as many images. An existing file is replaced only if overwrite is true.
        """
        target = check_output(allowed, output, overwrite=overwrite)
        images = allowed.resolve_tree(folder)
        return run_forge(target, images, model=model, by=by).data

    @tool
    def predict(
        file: File,
        images: Annotated[
            list[str], Field(description="Image files, and folders with all their subfolders.")
        ],
        none_rate: Annotated[
            float | None,
            Field(
                description="Label images that fit no class 'none of these'; the share of images "
                "of the classes that may be rejected by mistake, such as 0.05."
            ),
        ] = None,
    ) -> dict[str, Any]:
        """Classify images: label and probability of every class, at most 500 images at a time."""
        from lgmnet.classifier.classifier import FittedClassifier
        from lgmnet.classifier.image_kind import find_mismatch
        from lgmnet.data.images.files import ImageFiles

        fitted = FittedClassifier.load(allowed.resolve(file))
        names = [str(allowed.resolve_tree(path)) for path in images]
        paths = [allowed.resolve(path) for path in find_images(names)[0]]
        threshold = None if none_rate is None else fitted.rejection.threshold_for(none_rate)
        rows = list(itertools.islice(predict_files(fitted, paths, threshold), MAX_PREDICTIONS))
        mismatch = find_mismatch(fitted, ImageFiles(paths))
        return {
            "classes": list(fitted.classes),
            "predictions": rows,
            "left_out": max(0, len(paths) - len(rows)),
            "warnings": [] if mismatch is None else [mismatch],
        }

    @tool
    def edit(
        file: File,
        add: Annotated[
            list[str], Field(description="Folders of images to add, FOLDER/<class>/<image>.")
        ] = [],  # noqa: B006  (the schema shows it; it is not changed)
        remove: Annotated[list[str], Field(description="Classes to remove.")] = [],  # noqa: B006
        rename: Annotated[dict[str, str], Field(description="New names of classes.")] = {},  # noqa: B006
        output: Annotated[
            str | None, Field(description="File for the result. Default: the file itself.")
        ] = None,
        overwrite: bool = False,
    ) -> dict[str, Any]:
        """Add, remove and rename classes of a classifier, in this order, without training.

        An existing other file is replaced only if overwrite is true.
        """
        source = allowed.resolve(file)
        target = None
        if output is not None:
            target = check_output(allowed, output, overwrite=overwrite)
        folders = [allowed.resolve_tree(folder) for folder in add]
        names = [f"{old}={new}" for old, new in rename.items()]
        return run_edit(source, folders, list(remove), names, target).data

    @tool
    def report(file: File, folder: Folder) -> dict[str, Any]:
        """Test a classifier on labelled images: accuracy with interval, confusions, wrong answers.

        It also names support images that may be mislabelled.
        """
        return run_report(allowed.resolve(file), allowed.resolve_tree(folder)).data

    @tool
    def suggest(
        file: File,
        images: Annotated[
            list[str], Field(description="Unlabelled image files, and folders of them.")
        ],
        number: Annotated[int, Field(ge=1, le=MAX_PREDICTIONS)] = 10,
    ) -> dict[str, Any]:
        """Suggest which unlabelled images to label next, the most valuable first.

        Ask the user for their labels; never label them yourself.
        """
        names = [str(allowed.resolve_tree(path)) for path in images]
        return run_suggest(allowed.resolve(file), names, number).data

    return server


def check_output(allowed: AllowedFolders, output: str, *, overwrite: bool) -> Path:
    """Return the path of a file to write.

    Raises:
        ConfigError: if it lies outside the folders, or exists and ``overwrite`` is False.
    """
    path = allowed.resolve(output)
    if path.exists() and not overwrite:
        raise ConfigError(f"'{path}' exists. Choose another name, or set overwrite to true.")
    return path


def report_user_errors(function: F) -> F:
    """Turn errors that a user can mend into answers of a tool, instead of a crash."""
    from mcp.server.mcpserver.exceptions import ToolError

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            return function(*args, **kwargs)
        except UserError as error:
            raise ToolError(str(error)) from error
        except OSError as error:
            raise ToolError(f"Cannot use '{error.filename}': {error.strerror}.") from error

    return run  # type: ignore[return-value]
