"""Parts that all commands share: results, ``--json``, exit codes, help panels and progress bars."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pytest
import typer
from rich.table import Table
from typer.testing import CliRunner

import lgmnet as package
from lgmnet.cli import console
from lgmnet.cli.console import CommandResult, SafeConsole, command
from lgmnet.cli.progress_bars import ProgressBars
from tests.support.command_line import COMMANDS, lgmnet
from tests.support.images import write_drawing
from tests.support.models import drawings

PANELS = {
    "Make": ["example", "forge", "edit", "suggest", "inspect", "quickstart", "export"],
    "Use": ["predict", "report"],
    "Measure": ["evaluate", "compare", "audit", "calibrate", "demo", "reproduce", "models"],
    "Train": ["train", "publish", "download"],
    "Serve": ["studio", "serve", "mcp"],
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Function that runs the commands defined in a test; returns exit code and output."""
    app = typer.Typer(rich_markup_mode="rich")
    app.callback()(lambda: None)
    monkeypatch.setattr(console, "app", app)

    def run_command(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, words)
        return result.exit_code, result.output

    return run_command


@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_result_is_printed_as_text_or_json_and_sets_the_exit_code(code, run):
    @command("Use", example="count 3")
    def count(n: Annotated[int, typer.Argument()], name: str = "things") -> CommandResult:
        """Count."""
        table = Table("number", box=None)
        table.add_row(str(n))
        return CommandResult({"n": n}, [table, f"[bold]{n}[/] {name}"], exit_code=code)

    assert run("count", "3", "--json") == (code, '{"n": 3}\n')
    exit_code, output = run("count", "3", "--name", "stars")
    assert (exit_code, output.split()) == (code, ["number", "3", "3", "stars"])
    assert count(4).data == {"n": 4}, "in Python the function still returns its result"


def test_a_command_without_a_result_receives_the_json_flag_and_prints_itself(run):
    @command("Use", example="stream")
    def stream(as_json: bool = False) -> None:
        """Print."""
        sys.stdout.write(f"as_json is {as_json}\n")

    assert run("stream") == (0, "as_json is False\n")
    assert run("stream", "--json") == (0, "as_json is True\n")


def test_help_joins_the_lines_of_a_paragraph(run):
    @command("Use", example="[bold]wrap[/]")
    def wrap() -> CommandResult:
        """Wrap.

        One line,
        and another.
        """
        raise AssertionError

    code, output = run("wrap", "--help")
    assert code == 0
    assert "One line, and another." in output
    assert "Example: wrap" in output


def test_long_lines_and_special_characters_are_printed_unchanged(run, monkeypatch):
    @command("Use", example="long")
    def long() -> CommandResult:
        """Print a long line."""
        return CommandResult({}, ["word " * 100 + ":star: 12"])

    monkeypatch.setenv("COLUMNS", "40")
    assert run("long") == (0, "word " * 100 + ":star: 12\n")


def test_all_commands_are_listed_in_the_tests():
    names = {c.name or c.callback.__name__ for c in console.app.registered_commands if c.callback}
    assert names == set(COMMANDS)


def test_help_groups_the_commands_in_panels():
    output = lgmnet("--help").out
    headings = [output.index(f"─ {panel} ─") for panel in PANELS]
    assert headings == sorted(headings)
    sections = dict(zip(PANELS, map(slice, headings, [*headings[1:], None]), strict=True))
    for panel, commands in PANELS.items():
        lines = output[sections[panel]].splitlines()
        listed = [line.strip("│ ").split(" ")[0] for line in lines if line.startswith("│ ")]
        assert [name for name in listed if name in commands] == commands
    assert "Commands" not in output


def test_the_package_runs_as_a_program():
    line = [sys.executable, "-m", "lgmnet", "--version"]
    ran = subprocess.run(line, capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == (f"lgmnet {package.__version__}\n", "")


def test_the_command_line_itself_does_not_load_torch():
    """The package is replaced by an empty one, because the test is about ``lgmnet.cli`` alone."""
    program = """
import sys, types
package = types.ModuleType("lgmnet")
package.__path__ = [sys.argv.pop(1)]
package.__version__ = "1.2.3"
sys.modules["lgmnet"] = package
from lgmnet.cli import main
try:
    main()
finally:
    assert not {"torch", "numpy", "PIL"} & sys.modules.keys()
"""
    folder = str(Path(package.__file__).parent)
    for option, output in (("--version", "lgmnet 1.2.3"), ("--help", "predict")):
        line = [sys.executable, "-c", program, folder, option]
        ran = subprocess.run(line, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        assert output in ran.stdout


def terminal() -> SafeConsole:
    return SafeConsole(file=io.StringIO(), force_terminal=True, width=100, color_system=None)


def output_of(screen: SafeConsole) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def wait_for(screen: SafeConsole, *parts: str) -> None:
    """Wait until a terminal shows these parts; the bars are drawn by a thread."""
    deadline = time.monotonic() + 10
    while not all(part in output_of(screen) for part in parts):
        assert time.monotonic() < deadline, output_of(screen)
        time.sleep(0.01)


def test_nested_bars_share_one_display():
    screen = terminal()
    bars = ProgressBars(screen)
    with bars.show("tables", 2) as outer:
        with bars.show("episodes", None) as inner:
            inner.advance(5, detail="first [model]")
            inner.print("a [line] that stays")
            wait_for(screen, "tables", "0/2", "episodes", "5/?", "first [model]")
        outer.advance()
        wait_for(screen, "1/2")
    assert output_of(screen).count("a [line] that stays") == 1
    with bars.show("images", 3) as bar:
        bar.advance(3)
    assert "3/3" in output_of(screen)


def test_without_a_terminal_only_the_lines_are_printed():
    screen = SafeConsole(file=io.StringIO(), width=20)
    with ProgressBars(screen).show("episodes", 10) as bar:
        bar.advance(3)
        bar.print("a line that is not wrapped")
    assert output_of(screen) == "a line that is not wrapped\n"


@pytest.mark.parametrize("row_format", ["csv", "jsonl", "table"])
def test_predictions_go_to_stdout_while_a_bar_is_shown_on_a_terminal(
    row_format, classifier, tmp_path
):
    pty = pytest.importorskip("pty", reason="pseudo-terminals exist on POSIX only")
    image = write_drawing(tmp_path / "a.png", drawings(2, 1)[0, 0])
    words = ["predict", classifier, image, "--format", row_format]
    expected = lgmnet(*words).out.splitlines()
    ours, terminal = pty.openpty()
    line = [sys.executable, "-m", "lgmnet", *map(str, words)]
    ran = subprocess.run(line, stdout=subprocess.PIPE, stderr=terminal, text=True, check=False)
    os.close(terminal)
    bar = os.read(ours, 10_000)
    os.close(ours)
    rows = ran.stdout.splitlines()
    assert ran.returncode == 0
    assert len(rows) == len(expected)
    assert rows[:-1] == expected[:-1]
    assert str(image) in rows[-1]  # Its probabilities depend on the processor's precision.
    assert b"images" in bar
    assert str(image).encode() not in bar
