"""``export``: a classifier as one ONNX file, and the lines that run it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from lgmnet.cli.console import Json, app, err, print_json, say
from lgmnet.errors import ConfigError


@app.command(
    epilog="Example: [bold]lgmnet export symbols.safetensors -o symbols.onnx[/]; "
    "or [bold]lgmnet export symbols.safetensors --snippet python > predict.py[/]; "
    "or [bold]lgmnet export omniglot --meta -o omniglot.onnx[/]"
)
def export(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A file that forge wrote; with --meta, a shipped model's name or its folder.",
        ),
    ],
    output: Annotated[Path | None, typer.Option("--out", "-o", help="The ONNX file.")] = None,
    snippet: Annotated[
        Literal["python", "javascript"] | None,
        typer.Option(help="Print the lines that run the exported file in this language."),
    ] = None,
    meta: Annotated[
        bool,
        typer.Option(
            "--meta", help="Export the MetaNet itself: support and labels in, probabilities out."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a classifier of images as one ONNX file, pixels in, probabilities out.

    The file appears only if onnxruntime answers as torch does. It holds the classes and says what
    is done to a picture first; the lines of --snippet do that, and need neither torch nor lgmnet.
    """
    from lgmnet.classifier.classifier import FittedClassifier
    from lgmnet.classifier.export import export as export_classifier
    from lgmnet.classifier.export import export_meta
    from lgmnet.classifier.export import snippet as lines_of
    from lgmnet.model.model import load_model

    if meta and (snippet or output is None):
        raise ConfigError("--meta takes -o FILE.onnx, and no --snippet: that is for classifiers.")
    if output is None and snippet is None:
        raise ConfigError("Nothing to do: give -o FILE.onnx, or --snippet python or javascript.")
    fitted = None if meta else FittedClassifier.load(Path(file))
    if output is not None:
        with err.status("exporting"):
            if fitted is None:
                apart = export_meta(load_model(file), output)
            else:
                apart = export_classifier(fitted, output)
        size = output.stat().st_size
        if as_json:
            print_json({"exported": str(output), "bytes": size, "largest_difference": apart})
        elif snippet is None:
            say(
                f"{escape(str(output))}: {size / 1e6:.2f} MB; onnxruntime answers as torch does, "
                f"to {apart:.1e}"
            )
    if fitted is not None and snippet is not None:
        sys.stdout.write(lines_of(snippet, fitted))
