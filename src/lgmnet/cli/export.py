"""Command ``lgmnet export``."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import RenderableType
from rich.markup import escape

from lgmnet.cli.console import CommandResult, command
from lgmnet.cli.options import Force, refuse_model
from lgmnet.errors import ConfigError
from lgmnet.progress import track_progress


@command(
    "Make",
    example="[bold]lgmnet export symbols.safetensors -o symbols.onnx[/]; "
    "or [bold]lgmnet export symbols.safetensors --snippet python > predict.py[/]; "
    "or [bold]lgmnet export omniglot --meta -o omniglot.onnx[/]",
)
def export(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="Classifier file written by 'lgmnet forge'; with --meta, the name of a shipped "
            "model or the folder of a model.",
        ),
    ],
    output: Annotated[Path | None, typer.Option("--out", "-o", help="ONNX file to write.")] = None,
    snippet: Annotated[
        Literal["python", "javascript"] | None,
        typer.Option(help="Language of the code to print, which runs the exported file."),
    ] = None,
    meta: Annotated[
        bool,
        typer.Option(
            "--meta", help="Export the model itself: support and labels in, probabilities out."
        ),
    ] = False,
    force: Force = False,
) -> CommandResult:
    """Write a classifier of images as one ONNX file, pixels in, probabilities out.

    The file is only written if onnxruntime gives the same results as torch. It contains the classes
    and a description of the preprocessing. The code printed by --snippet does the preprocessing and
    needs neither torch nor lgmnet.
    """
    from lgmnet.classifier.classifier import FittedClassifier
    from lgmnet.classifier.export import check_export_destination, export_meta
    from lgmnet.classifier.export import export as export_classifier
    from lgmnet.classifier.export import snippet as snippet_code
    from lgmnet.model.model import load_model

    if meta and (snippet or output is None):
        raise ConfigError("--meta takes -o FILE.onnx, and no --snippet: that is for classifiers.")
    if output is None and snippet is None:
        raise ConfigError("Nothing to do: give -o FILE.onnx, or --snippet python or javascript.")
    if output is not None:
        check_export_destination(output, overwrite=force)
    if not meta:
        try:
            refuse_model(file)
        except ConfigError as error:
            raise ConfigError(f"{error} To export the model itself, add --meta.") from error
    fitted = None if meta else FittedClassifier.load(Path(file))
    data: dict[str, Any] = {}
    text: list[RenderableType] = []
    if output is not None:
        with track_progress("export", None):
            if fitted is None:
                difference = export_meta(load_model(file), output, overwrite=force)
            else:
                difference = export_classifier(fitted, output, overwrite=force)
        size = output.stat().st_size
        data |= {"exported": str(output), "bytes": size, "largest_difference": difference}
        if snippet is None:
            text.append(
                f"{escape(str(output))}: {size / 1e6:.2f} MB; onnxruntime and torch differ by at "
                f"most {difference:.1e}"
            )
    if fitted is not None and snippet is not None:
        code = snippet_code(snippet, fitted)
        data["snippet"] = code
        text += map(escape, code.removesuffix("\n").split("\n"))
    return CommandResult(data, text)
