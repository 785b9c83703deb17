"""Files that appear whole or not at all; tensors on disk without pickle."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import lgmnet
from lgmnet.errors import FileFormatError, UserError
from lgmnet.io import atomic_write, make_folder, read_tensors, write_tensors, write_text

SOURCES = sorted(Path(lgmnet.__file__).parent.rglob("*.py"))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_appears_at_the_end_and_not_before(tmp_path):
    path = tmp_path / "score.json"
    with atomic_write(path) as draft:
        draft.write_bytes(b"half")
        assert not path.exists()
        assert draft.parent == path.parent, "elsewhere it could not be renamed"
        assert draft.suffix == path.suffix
        draft.write_bytes(b"whole")
    assert files(tmp_path) == {"score.json": b"whole"}


def fail_halfway(path: Path, error: type[BaseException] | BaseException) -> None:
    with atomic_write(path) as draft:
        draft.write_bytes(b"half of the new o")
        raise error


@pytest.mark.parametrize("old", [None, b"the old one"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, UserError, SystemExit])
def test_an_exception_leaves_what_was_there(old, error, tmp_path):
    path = tmp_path / "score.json"
    if old is not None:
        path.write_bytes(old)
    before = files(tmp_path)
    with pytest.raises(error):
        fail_halfway(path, error)
    assert files(tmp_path) == before


def test_an_exception_before_anything_is_written(tmp_path):
    with pytest.raises(RuntimeError, match="early"), atomic_write(tmp_path / "a"):
        raise RuntimeError("early")
    assert files(tmp_path) == {}


def test_kill_9_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"the old one")
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from lgmnet.io import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as draft, draft.open('wb') as file:\n"
        "    file.write(b'half of the new o')\n"
        "    file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"the old one"
    write_text(path, "the new one")
    assert path.read_bytes() == b"the new one"


def test_a_full_disk_is_told_in_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"Cannot write '.*a\.json': No space left on device\."):
        fail_halfway(tmp_path / "a.json", OSError(28, os.strerror(28)))
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    ("path", "words"),
    [("no/such/file", "the folder '.*such' does not exist"), (".", "it is a folder")],
)
def test_a_place_where_nothing_can_be_written(path, words, tmp_path):
    with pytest.raises(UserError, match=words), atomic_write(tmp_path / path):
        pytest.fail("no work may begin")


def test_folders(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=f"Cannot make the folder '{path}'"):
            make_folder(path)


def test_text_is_utf_8_everywhere(tmp_path):
    write_text(tmp_path / "card.md", "99.3 ± 0.1 %, 文字\n")
    assert (tmp_path / "card.md").read_bytes() == "99.3 ± 0.1 %, 文字\n".encode()


TENSORS: dict[str, Tensor] = {
    "half": torch.tensor([1.5, -2.0], dtype=torch.float16),
    "single": torch.randn(2, 3, generator=torch.Generator().manual_seed(0)),
    "whole": torch.tensor([[3, -4]]),
    "bytes": torch.arange(256, dtype=torch.uint8),
    "none at all": torch.empty(0, 4),
    "one number": torch.tensor(0.25),
    "turned": torch.arange(6.0).reshape(2, 3).T,
    "a part": torch.arange(10.0)[::3],
    "learned": torch.ones(2, requires_grad=True),
}


def test_tensors_come_back_as_they_were(tmp_path):
    path = tmp_path / "t.safetensors"
    write_tensors(path, TENSORS, "a-kind", 3, {"note": "naïve 文字 \"'\n"})
    tensors, about = read_tensors(path, "a-kind", 3)
    assert about == {"note": "naïve 文字 \"'\n", "format": "a-kind", "version": "3"}
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in tensors.items():
        assert tensor.dtype == TENSORS[name].dtype
        assert torch.equal(tensor, TENSORS[name])
        assert not tensor.requires_grad


@settings(max_examples=20)
@given(st.dictionaries(st.text(), st.text()))
def test_any_text_comes_back(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("texts") / "t.safetensors"
    write_tensors(path, {}, "a-kind", 1, texts)
    assert read_tensors(path, "a-kind", 1) == ({}, texts | {"format": "a-kind", "version": "1"})


@pytest.mark.parametrize(
    ("kind", "version", "words"),
    [
        ("another-kind", 3, "is not a file of kind another-kind"),
        ("a-kind", 4, "of version 3; this lgmnet reads version 4"),
    ],
)
def test_only_what_was_asked_for_is_read(kind, version, words, tmp_path):
    path = tmp_path / "t.safetensors"
    write_tensors(path, TENSORS, "a-kind", 3, {})
    with pytest.raises(FileFormatError, match=words) as caught:
        read_tensors(path, kind, version)
    assert str(path) in str(caught.value)


def test_a_file_of_someone_else_is_not_read(tmp_path):
    path = tmp_path / "t.safetensors"
    safetensors.torch.save_file({"x": torch.ones(2)}, path)
    with pytest.raises(FileFormatError, match="is not a file of kind a-kind"):
        read_tensors(path, "a-kind", 3)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    path = tmp_path / "t.safetensors"
    write_tensors(path, TENSORS, "a-kind", 3, {})
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match="may be cut short") as caught:
            read_tensors(path, "a-kind", 3)
        assert str(path) in str(caught.value)


def test_a_file_altered_in_any_byte_is_refused(tmp_path):
    path = tmp_path / "t.safetensors"
    write_tensors(path, TENSORS, "a-kind", 3, {"note": "naïve"})
    whole = path.read_bytes()
    for place in range(len(whole)):
        altered = bytearray(whole)
        altered[place] ^= 1 << place % 8
        path.write_bytes(altered)
        with pytest.raises(FileFormatError) as caught:
            read_tensors(path, "a-kind", 3, checked=True)
        assert str(path) in str(caught.value)


def test_a_file_without_checksum_is_read_unless_one_is_asked_for(tmp_path):
    """Such as models of earlier releases."""
    path = tmp_path / "t.safetensors"
    about = {"format": "a-kind", "version": "3"}
    safetensors.torch.save_file({"x": torch.ones(2)}, path, about)
    assert read_tensors(path, "a-kind", 3)[1] == about
    with pytest.raises(FileFormatError, match="its checksum is another"):
        read_tensors(path, "a-kind", 3, checked=True)


@pytest.mark.parametrize("path", ["absent.safetensors", "."])
def test_no_file(path, tmp_path):
    with pytest.raises(FileFormatError, match="There is no file"):
        read_tensors(tmp_path / path, "a-kind", 1)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_no_code_of_ours_can_read_a_pickle(source):
    tree = ast.parse(source.read_text(encoding="utf-8"))
    imported = {
        alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        (node.module or "").split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    }
    assert imported.isdisjoint({"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"})
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert called.isdisjoint({"torch.load", "torch.save", "fabric.load", "fabric.save"})
    pickled = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle"
        if not (isinstance(node.value, ast.Constant) and node.value.value is False)
    ]
    assert not pickled
