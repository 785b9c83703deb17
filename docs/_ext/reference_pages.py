"""Sphinx extension: parts of the reference that are drawn from the program itself.

Before a build it writes `docs/reference/generated/`: the commands from their own help, the HTTP
routes from the OpenAPI schema, the errors from their tree, and the cards of the shipped models.
"""

import inspect
import json
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import typer.main
from sphinx.application import Sphinx

from lgmnet import errors
from lgmnet.cli import main  # noqa: F401  # Importing it registers the commands.
from lgmnet.cli.console import app as command_line
from lgmnet.model.registry import PRETRAINED_FOLDER, shipped_models
from lgmnet.studio.app import Settings, create_app

GENERATED = Path(__file__).parents[1] / "reference" / "generated"


def draw_commands() -> str:
    """Draw a section for each command from its help."""
    group = typer.main.get_command(command_line)
    context = group.make_context("lgmnet", [], resilient_parsing=True)
    commands = group.commands  # type: ignore[attr-defined]
    panels: dict[str, list[str]] = {}
    for name, command in commands.items():
        panels.setdefault(command.rich_help_panel, []).append(name)
    parts = []
    for panel, names in panels.items():
        parts.append(f"## {panel}\n")
        parts += [draw_command(name, commands[name], context) for name in names]
    return "\n".join(parts)


def draw_command(name: str, command: Any, parent: Any) -> str:
    """Draw the section of one command: usage, help, example, arguments and options."""
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    usage = command.get_usage(context).removeprefix("Usage: ")
    example = re.sub(r"\[/?(bold)?\]", "`", command.epilog.removeprefix("Example: "))
    records = [parameter.get_help_record(context) for parameter in command.params]
    rows = [(code(r[0]), escape(r[1])) for r in records if r is not None]
    return (
        f"### lgmnet {name}\n\n```text\n{' '.join(usage.split())}\n```\n\n"
        f"{escape(command.help)}\n\nExample: {example}\n\n"
        f"{draw_table(('argument or option', 'meaning'), rows)}\n"
    )


def draw_routes() -> str:
    """Draw a section for each route of the HTTP API from its OpenAPI schema."""
    schema = read_schema()
    parts = []
    for path, methods in schema["paths"].items():
        for method, route in methods.items():
            parts.append(draw_route(method.upper(), path, route, schema))
    return "\n".join(parts)


def read_schema() -> dict[str, Any]:
    """Return the OpenAPI schema of the service."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(f"sqlite:///{folder}/index.db", folder, page=False))
        return dict(app.openapi())


def draw_route(method: str, path: str, route: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Draw the section of one route: summary, parameters, form fields and answers."""
    parameters = [
        (f"`{p['name']}` ({p['in']})", escape(p.get("description", "")))
        for p in route.get("parameters", ())
    ]
    for content in route.get("requestBody", {}).get("content", {}).values():
        fields = resolve(content["schema"], schema).get("properties", {})
        parameters += [
            (f"`{name}` (form)", escape(field.get("description", "")))
            for name, field in fields.items()
        ]
    answers = [
        (f"`{status}`", escape(answer.get("description", "")))
        for status, answer in route["responses"].items()
    ]
    text = f"## {method} {escape(path)}\n\n{escape(route.get('description', route['summary']))}\n\n"
    if parameters:
        text += draw_table(("parameter", "meaning"), parameters) + "\n"
    return text + draw_table(("status", "answer"), answers)


def resolve(part: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow the reference of a part of the schema, if it is one."""
    if "$ref" not in part:
        return part
    found: Any = schema
    for key in part["$ref"].removeprefix("#/").split("/"):
        found = found[key]
    return dict(found)


def draw_errors() -> str:
    """Draw the table of all errors from their docstrings, each below the one it extends."""
    classes = [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, errors.LgmnetError)
    ]
    rows = [
        (f"`{cls.__name__}`", f"`{cls.__base__.__name__}`", escape(inspect.getdoc(cls) or ""))
        for cls in classes
    ]
    return draw_table(("error", "is a", "meaning"), rows)


def draw_cards() -> str:
    """Draw the cards of the shipped models, each as a section."""
    parts = []
    for name in shipped_models():
        card = (PRETRAINED_FOLDER / name / "README.md").read_text(encoding="utf-8")
        body = card.split("---\n", 2)[2].strip()
        parts.append(re.sub(r"^#", "##", body, flags=re.MULTILINE) + "\n")
    return "\n".join(parts)


def draw_table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Draw a Markdown table."""
    titles = tuple(titles)
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def code(text: str) -> str:
    """Mark a text as code in a cell of a table, where a bar must be escaped."""
    return f"`{' '.join(text.split())}`".replace("|", r"\|")


def escape(text: str) -> str:
    """Escape what Markdown would read as markup, and keep a cell of a table in one line."""
    return re.sub(r"([\\<>{}|*_\[\]])", r"\\\1", " ".join(text.split()))


PAGES = {
    "commands.md": draw_commands,
    "routes.md": draw_routes,
    "errors.md": draw_errors,
    "model-cards.md": draw_cards,
    "openapi.json": lambda: json.dumps(read_schema(), indent=1),
}


def write_pages(app: Sphinx) -> None:
    """Write the parts that have changed."""
    GENERATED.mkdir(exist_ok=True)
    for name, draw in PAGES.items():
        path, text = GENERATED / name, draw()
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def escape_shapes(
    app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Escape the star of shapes such as ``[samples, *feature]`` in docstrings."""
    lines[:] = [re.sub(r"(?<=[\[\s])\*(?=\w+[\],])", r"\\*", line) for line in lines]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", escape_shapes)
    return {"parallel_read_safe": True}
