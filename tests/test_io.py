"""Atomic writing of files, and tensors on disk without pickle."""

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
from lgmnet.io import atomic_write, check_destination, make_cache_folder, make_folder, write_text
from lgmnet.tensor_file import has_format, read_tensors, write_tensors

SOURCES = sorted(Path(lgmnet.__file__).parent.rglob("*.py"))


def read_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "score.json"
    with atomic_write(path) as draft:
        draft.write_bytes(b"part")
        assert not path.exists()
        assert draft.parent == path.parent, "a file can only be renamed within its file system"
        assert draft.suffix == path.suffix
        draft.write_bytes(b"complete")
    assert read_files(tmp_path) == {"score.json": b"complete"}


def fail_halfway(path: Path, error: type[BaseException] | BaseException) -> None:
    with atomic_write(path) as draft:
        draft.write_bytes(b"part of the new file")
        raise error


@pytest.mark.parametrize("old", [None, b"the old file"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, UserError, SystemExit])
def test_an_exception_leaves_the_old_file(old, error, tmp_path):
    path = tmp_path / "score.json"
    if old is not None:
        path.write_bytes(old)
    before = read_files(tmp_path)
    with pytest.raises(error):
        fail_halfway(path, error)
    assert read_files(tmp_path) == before


def test_an_exception_before_writing_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError, match="early"), atomic_write(tmp_path / "a"):
        raise RuntimeError("early")
    assert read_files(tmp_path) == {}


def test_a_killed_process_leaves_the_old_file(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"the old file")
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from lgmnet.io import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as draft, draft.open('wb') as file:\n"
        "    file.write(b'part of the new file')\n"
        "    file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"the old file"
    write_text(path, "the new file")
    assert path.read_bytes() == b"the new file"


def test_a_full_disk_raises_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"Cannot write '.*a\.json': No space left on device\."):
        fail_halfway(tmp_path / "a.json", OSError(28, os.strerror(28)))
    assert read_files(tmp_path) == {}


@pytest.mark.parametrize(
    ("path", "words"),
    [("no/such/file", "the folder '.*such' does not exist"), (".", "it is a folder")],
)
def test_a_path_that_cannot_be_written_is_refused(path, words, tmp_path):
    with pytest.raises(UserError, match=words), atomic_write(tmp_path / path):
        pytest.fail("the block must not run")


def test_make_folder(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=f"Cannot make the folder '{path}'"):
            make_folder(path)


def test_a_cache_folder_that_cannot_be_made_is_named_with_its_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("LGMNET_CACHE", str(tmp_path / "cache"))
    assert make_cache_folder("a") == tmp_path / "cache" / "a"
    (tmp_path / "file").touch()
    monkeypatch.setenv("LGMNET_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"for cached files: Cannot make .*Set LGMNET_CACHE to a"):
        make_cache_folder()


def test_text_is_written_as_utf_8(tmp_path):
    write_text(tmp_path / "card.md", "99.3 ± 0.1 %, 文字\n")
    assert (tmp_path / "card.md").read_bytes() == "99.3 ± 0.1 %, 文字\n".encode()


TENSORS: dict[str, Tensor] = {
    "half": torch.tensor([1.5, -2.0], dtype=torch.float16),
    "single": torch.randn(2, 3, generator=torch.Generator().manual_seed(0)),
    "integer": torch.tensor([[3, -4]]),
    "bytes": torch.arange(256, dtype=torch.uint8),
    "empty": torch.empty(0, 4),
    "scalar": torch.tensor(0.25),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
    "strided": torch.arange(10.0)[::3],
    "parameter": torch.ones(2, requires_grad=True),
}


def test_written_tensors_are_read_back_unchanged(tmp_path):
    path = tmp_path / "t.safetensors"
    write_tensors(path, TENSORS, "a-kind", 3, {"note": "naïve 文字 \"'\n"})
    tensors, metadata = read_tensors(path, "a-kind", 3)
    assert metadata == {"note": "naïve 文字 \"'\n", "format": "a-kind", "version": "3"}
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in tensors.items():
        assert tensor.dtype == TENSORS[name].dtype
        assert torch.equal(tensor, TENSORS[name])
        assert not tensor.requires_grad


@settings(max_examples=20)
@given(st.dictionaries(st.text(), st.text()))
def test_any_metadata_is_read_back_unchanged(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("texts") / "t.safetensors"
    write_tensors(path, {}, "a-kind", 1, texts)
    assert read_tensors(path, "a-kind", 1) == ({}, texts | {"format": "a-kind", "version": "1"})


@pytest.mark.parametrize(
    ("kind", "version", "words"),
    [
        (
            "another-kind",
            3,
            "must be a file of the format another-kind, but its format is a-kind, version 3",
        ),
        (
            "a-kind",
            4,
            "has the format a-kind, version 3, and was written by an earlier lgmnet; "
            "this lgmnet reads version 4. Make the file again",
        ),
        (
            "a-kind",
            2,
            "has the format a-kind, version 3, and was written by a later lgmnet; "
            "this lgmnet reads version 2. Update lgmnet",
        ),
    ],
)
def test_a_file_of_another_kind_or_version_is_refused(kind, version, words, tmp_path):
    path = tmp_path / "t.safetensors"
    write_tensors(path, TENSORS, "a-kind", 3, {})
    with pytest.raises(FileFormatError, match=words) as caught:
        read_tensors(path, kind, version)
    assert str(path) in str(caught.value)


def test_a_safetensors_file_of_another_program_is_refused(tmp_path):
    path = tmp_path / "t.safetensors"
    safetensors.torch.save_file({"x": torch.ones(2)}, path)
    with pytest.raises(
        FileFormatError, match="must be a file of the format a-kind, but its format is None"
    ):
        read_tensors(path, "a-kind", 3)


def test_a_file_cut_short_anywhere_is_refused(tmp_path):
    path = tmp_path / "t.safetensors"
    write_tensors(path, TENSORS, "a-kind", 3, {})
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(FileFormatError, match="may be cut short") as caught:
            read_tensors(path, "a-kind", 3)
        assert str(path) in str(caught.value)


def test_a_file_with_any_altered_byte_is_refused(tmp_path):
    path = tmp_path / "t.safetensors"
    write_tensors(path, TENSORS, "a-kind", 3, {"note": "naïve"})
    content = path.read_bytes()
    for i in range(len(content)):
        altered = bytearray(content)
        altered[i] ^= 1 << i % 8
        path.write_bytes(altered)
        with pytest.raises(FileFormatError) as caught:
            read_tensors(path, "a-kind", 3)
        assert str(path) in str(caught.value)


def test_a_file_without_checksum_is_refused(tmp_path):
    path = tmp_path / "t.safetensors"
    metadata = {"format": "a-kind", "version": "3"}
    safetensors.torch.save_file({"x": torch.ones(2)}, path, metadata)
    with pytest.raises(FileFormatError, match="its checksum does not match"):
        read_tensors(path, "a-kind", 3)


@pytest.mark.parametrize(
    ("path", "message"), [("absent.safetensors", "There is no file"), (".", "but is a folder")]
)
def test_an_absent_file_is_refused(path, message, tmp_path):
    with pytest.raises(FileFormatError, match=message):
        read_tensors(tmp_path / path, "a-kind", 1)


REPLACING = """
import itertools, os, sys
path, *versions = sys.argv[1:]
for version in itertools.cycle(versions):
    os.link(version, path + ".copy")
    os.replace(path + ".copy", path)
"""


def test_a_file_read_beside_a_writer_is_whole(tmp_path):
    """Another process replaces the file all the time; each read gives one of its two versions."""
    path, versions = tmp_path / "t.safetensors", [tmp_path / name for name in "01"]
    for version in versions:
        number = torch.full((1000,), float(version.name))
        write_tensors(version, {"x": number}, "a-kind", 3, {"number": version.name})
    path.write_bytes(versions[0].read_bytes())
    writer = subprocess.Popen([sys.executable, "-c", REPLACING, path, *versions])
    counts = {"0": 0, "1": 0}
    try:
        while min(counts.values()) < 100:
            tensors, metadata = read_tensors(path, "a-kind", 3)
            assert tensors["x"].unique().tolist() == [float(metadata["number"])]
            counts[metadata["number"]] += 1
    finally:
        writer.kill()
        writer.wait()


def is_note(path: Path) -> bool:
    return path.read_text().startswith("note:")


def test_a_file_of_another_kind_is_not_replaced_unless_told_so(tmp_path):
    path = tmp_path / "notes.txt"
    check_destination(path, "note", is_note)
    path.write_text("note: one")
    check_destination(path, "note", is_note)
    path.write_text("a poem")
    with pytest.raises(UserError, match=r"notes\.txt' exists and is no note.*--force.*overwrite"):
        check_destination(path, "note", is_note)
    check_destination(path, "note", is_note, overwrite=True)
    path.write_text("")
    check_destination(path, "note", is_note)
    assert read_files(tmp_path) == {"notes.txt": b""}


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_device_is_never_replaced(overwrite, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="it is not a regular file"):
        check_destination(tmp_path / "pipe", "note", is_note, overwrite=overwrite)


FOREIGN_FILES: dict[str, bytes] = {
    "text": b"a poem",
    "bytes": bytes(range(256)) * 9,
    "foreign safetensors": safetensors.torch.save({"x": torch.ones(2)}),
    "another kind": safetensors.torch.save({"x": torch.ones(2)}, {"format": "another-kind"}),
    "a length alone": (3).to_bytes(8, "little") + b"{}}",
}


@pytest.mark.parametrize("old", FOREIGN_FILES.values(), ids=FOREIGN_FILES)
def test_tensors_do_not_replace_a_file_of_another_kind(old, tmp_path):
    path = tmp_path / "t.safetensors"
    path.write_bytes(old)
    with pytest.raises(UserError, match="exists and is no file of the format a-kind"):
        write_tensors(path, TENSORS, "a-kind", 3, {})
    assert read_files(tmp_path) == {"t.safetensors": old}
    write_tensors(path, TENSORS, "a-kind", 3, {}, overwrite=True)
    write_tensors(path, {}, "a-kind", 4, {})
    assert read_tensors(path, "a-kind", 4)[0] == {}


def test_file_and_folder_are_made_durable_before_an_old_file_is_forgotten(tmp_path, monkeypatch):
    """The draft is synced before it is renamed, and the name of the new file after that."""
    calls: list[str] = []
    sync, replace = os.fsync, Path.replace

    def record_sync(descriptor: int) -> None:
        calls.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    def record_replace(self: Path, target: Path) -> Path:
        calls.append("replace")
        return replace(self, target)

    if not Path("/proc/self/fd").exists():
        pytest.skip("the names of open files are in /proc")
    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(Path, "replace", record_replace)
    write_text(tmp_path / "card.md", "text")
    draft, *rest = calls
    assert draft.endswith(".card.md")
    assert rest == ["replace", tmp_path.name]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_no_source_file_reads_a_pickle(source):
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


def test_the_file_that_a_link_points_to_is_replaced_and_the_link_stays(tmp_path):
    target, link = tmp_path / "folder" / "v3.txt", tmp_path / "current.txt"
    target.parent.mkdir()
    target.write_text("old")
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert sorted(read_files(target.parent)) == ["v3.txt"]


def test_the_kind_of_a_file_is_told_by_its_header_alone(tmp_path):
    """The file is longer than memory, and has a hole."""
    path = tmp_path / "t.safetensors"
    write_tensors(path, {"a": torch.zeros(2)}, "kind", 1, {})
    try:
        os.truncate(path, 1 << 40)
    except OSError as error:
        pytest.skip(f"this file system has no such files: {error.strerror}")
    assert has_format(path, "kind")
    assert not has_format(path, "another kind")
    path.write_bytes(b"\xff" * 100)
    assert not has_format(path, "kind"), "its header would be longer than the file"
    assert not has_format(tmp_path, "kind")
    assert not has_format(tmp_path / "absent", "kind")
