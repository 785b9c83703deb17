"""What reaches a terminal: hostile names, a reader that leaves, and Ctrl-C at any time."""

from __future__ import annotations

import csv
import doctest
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.table import Table

from lgmnet.cli import console, prediction_rows
from lgmnet.cli.console import SafeConsole, escape_controls
from lgmnet.cli.progress_bars import ProgressBars
from tests.support.command_line import Ran, lgmnet
from tests.support.images import symbols

HOSTILE = "\x1b[31mr\x9be\x7fd\u202e\u2066\nerror: x\r"
"""Name of a file that would change the colour, the order and the line of what follows."""
CLASS, ESCAPED_CLASS = "d\u202ee\u2066r", r"d\u202ee\u2066r"
"""Name of a class that would change the order of what follows."""
ESCAPED = r"\x1b[31mr\x9be\x7fd\u202e\u2066\nerror: x\r"
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.fixture(scope="module")
def hostile_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, one of them with a hostile name, in a folder with another."""
    return symbols(tmp_path_factory.mktemp("images") / HOSTILE, {CLASS: 2, "star": 2})


@pytest.fixture(scope="module")
def hostile_classifier(tiny: Path, hostile_folder: Path) -> Path:
    """File of the classifier forged from these images, with such a name."""
    path = hostile_folder.parent / f"{HOSTILE}.safetensors"
    assert lgmnet("forge", hostile_folder, "-o", path, "--model", tiny).code == 0
    return path


def assert_harmless(ran: Ran) -> None:
    text = ran.out + ran.err
    assert not CONTROL.search(text), ascii(text)
    assert not any(line.startswith("error: x") for line in text.splitlines()), text
    assert ESCAPED in text or ESCAPED_CLASS in text


COMMANDS: dict[str, Callable[[Path, Path, Path], list[object]]] = {
    "forge": lambda model, folder, file: ["forge", folder, "-o", file, "--model", model],
    "predict": lambda model, folder, file: ["predict", file, folder],
    "predict an absent file": lambda model, folder, file: ["predict", file, folder / "no.png"],
    "suggest": lambda model, folder, file: ["suggest", file, folder / "no.png"],
    "inspect": lambda model, folder, file: ["inspect", file],
    "report": lambda model, folder, file: ["report", file, folder, "--model", model],
    "edit": lambda model, folder, file: ["edit", file, "--rename", f"{CLASS}={CLASS} 2"],
    "edit an unknown class": lambda model, folder, file: [
        *("edit", file, "--model", model, "--remove", f"{HOSTILE}?")
    ],
    "export --snippet": lambda model, folder, file: ["export", file, "--snippet", "javascript"],
    "a folder without images": lambda model, folder, file: ["report", file, folder / "star"],
    "an unknown model": lambda model, folder, file: ["evaluate", HOSTILE],
    "evaluate": lambda model, folder, file: [
        *("evaluate", model, "--data", folder, "--episodes", 2),
        *("--way", 2, "--shot", 1, "--query", 1),
    ],
}


@pytest.mark.parametrize("build_words", COMMANDS.values(), ids=COMMANDS)
def test_no_command_prints_control_characters(
    build_words, hostile_folder, hostile_classifier, tiny, tmp_path
):
    file = tmp_path / f"{HOSTILE}.safetensors"
    file.write_bytes(hostile_classifier.read_bytes())
    words = build_words(tiny, hostile_folder, file)
    assert_harmless(lgmnet(*words, columns=2000))


def test_a_class_folder_with_a_hostile_name_is_printed_escaped(tiny, tmp_path):
    folder = symbols(tmp_path / "images", {HOSTILE: 2, "star": 2})
    assert_harmless(lgmnet("forge", folder, "-o", tmp_path / "c", "--model", tiny, columns=2000))


def test_json_lines_hold_the_names_themselves(hostile_folder, hostile_classifier):
    ran = lgmnet("inspect", hostile_classifier, "--json")
    assert ran.json["classes"] == {CLASS: 2, "star": 2}
    assert not CONTROL.search(ran.out)


def test_csv_holds_the_names_themselves_but_not_on_a_terminal(
    hostile_classifier, hostile_folder, monkeypatch
):
    words = ["predict", hostile_classifier, hostile_folder / "star", "--format", "csv"]
    header = next(csv.reader(io.StringIO(lgmnet(*words).out, newline="")))
    assert header[-2:] == [CLASS, "star"]
    monkeypatch.setattr(prediction_rows, "stdout", SafeConsole(force_terminal=True))
    ran = lgmnet(*words)
    assert_harmless(ran)
    assert next(csv.reader(io.StringIO(ran.out)))[-2:] == [ESCAPED_CLASS, "star"]


def test_columns_of_escaped_names_are_aligned(hostile_folder, hostile_classifier):
    header, *rows = lgmnet("predict", hostile_classifier, hostile_folder).out.splitlines()
    assert len(rows) == 4
    assert {row.index("%  ") for row in rows} == {header.index("y  image")}


def test_tables_and_bars_escape_control_characters():
    screen = SafeConsole(file=io.StringIO(), force_terminal=True, width=300, color_system=None)
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE)
    screen.print(table)
    with ProgressBars(screen).show(f"{HOSTILE} [bold]", 2) as bar:
        bar.advance(1, HOSTILE)
        bar.print(HOSTILE)
    assert isinstance(screen.file, io.StringIO)
    text = screen.file.getvalue()
    assert text.count(ESCAPED) >= 5
    assert f"{ESCAPED} [bold]" in text
    # Rich moves the cursor for its bars; nothing else does.
    assert not CONTROL.search(re.sub(r"\x1b\[\??[0-9]*[A-Zhl]|\r", "", text))


def test_other_text_is_left_as_it_is():
    text = "Ж 文 é \N{GRINNING FACE} \\x1b \u200f"
    assert escape_controls(text) == text
    assert doctest.testmod(console).failed == 0


def run_without_reader(*words: object, stdin: str = "") -> tuple[int, str]:
    """Run a command whose output nobody reads; return its exit code and stderr."""
    reader, writer = os.pipe()
    os.close(reader)
    line = [sys.executable, "-m", "lgmnet", *map(str, words)]
    ran = subprocess.run(
        line, stdout=writer, stderr=subprocess.PIPE, input=stdin, text=True, check=False
    )
    os.close(writer)
    return ran.returncode, ran.stderr


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_a_short_output_that_nobody_reads_is_no_error(option):
    assert run_without_reader(option) == (0, "")


@pytest.mark.parametrize("row_format", ["table", "jsonl"])
def test_a_long_output_that_nobody_reads_ends_the_command(row_format, classifier):
    absent = "absent.png\n" * 20_000
    words = ["predict", classifier, "-", "--format", row_format]
    assert run_without_reader(*words, stdin=absent) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a shell and /dev/full")
@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("{lgmnet} predict {file} - <&-", 2, "error: No images were named: - expects file names"),
        ("{lgmnet} models >&-", 0, ""),
        ("{lgmnet} models --json > /dev/full", 2, "error: Cannot write the output: No space left"),
        (r"printf 'caf\351.png\n' | {lgmnet} predict {file} -", 2, "1 image: no answers; 1 could"),
    ],
)
def test_streams_that_are_closed_full_or_in_another_encoding(line, code, message, classifier):
    program = f"'{sys.executable}' -m lgmnet"
    ran = subprocess.run(
        ["/bin/sh", "-c", line.format(lgmnet=program, file=f"'{classifier}'")],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONIOENCODING": "utf-8:strict"},
        check=False,
    )
    assert (ran.returncode, ran.stderr[: len(message)]) == (code, message)
    assert ran.stderr.count("\n") == bool(message)


INTERRUPTED = """
import runpy, sys
target = sys.argv.pop(1)
class Interrupt:
    def find_spec(self, name, path=None, target_module=None):
        if name == target:
            raise KeyboardInterrupt
def interrupt(*arguments):
    raise KeyboardInterrupt
if target == "typer.main.get_command":
    import typer.main
    typer.main.get_command = interrupt
sys.meta_path.insert(0, Interrupt())
sys.argv[0] = "lgmnet"
runpy.run_module("lgmnet", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    "moment", ["lgmnet.cli", "typer", "lgmnet.cli.forge", "typer.main.get_command", "torch"]
)
def test_ctrl_c_ends_the_program_without_a_traceback(moment):
    line = [sys.executable, "-c", INTERRUPTED, moment, "models"]
    ran = subprocess.run(line, capture_output=True, text=True, check=False)
    # Python may end itself with the signal when it is done, which a shell reports as 130 too.
    assert ran.returncode in (130, -2), ran.stderr
    assert (ran.stdout, ran.stderr) == ("", "Stopped.\n")
