"""Folders of scores: parts, shards, going on after an end, storages, and what is refused."""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lgmnet.classifier.export import export
from lgmnet.errors import UserError
from lgmnet.scoring import Scorer
from lgmnet.scoring import addresses as addresses_module
from lgmnet.scoring import parts as parts_module
from lgmnet.scoring.addresses import list_addresses, read_files
from lgmnet.scoring.folder import open_score_folder
from lgmnet.scoring.parts import ScoredPart, score_part, score_parts
from tests.support.command_line import lgmnet

N_IMAGES, PART_SIZE, N_PARTS = 24, 5, 5


def read_rows(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder).to_pylist()
    return rows


def read_parts(folder: Path) -> dict[str, bytes]:
    """Content of all files of a folder, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def predict(file: Path, images: object, out: Path, *words: object) -> Any:
    return lgmnet("predict", file, images, "--out", out, "--part-size", PART_SIZE, *words)


@pytest.fixture(scope="module")
def scored(exported, images, tmp_path_factory) -> Path:
    """The scores of all images, from one run."""
    folder: Path = tmp_path_factory.mktemp("scored") / "scores.parquet"
    done = predict(exported, images, folder)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{folder}: 24 images in 5 parts.\n"
    return folder


def test_a_folder_has_one_row_for_each_image_with_the_scores(scored, exported, images):
    paths = sorted(images.glob("*/*.png"))
    rows = read_rows(scored)
    assert [row["image"] for row in rows] == list(map(str, paths))
    expected = Scorer(exported)(paths)
    for name, values in expected.items():
        given = [row[name] for row in rows]
        assert given == ([None] * N_IMAGES if name == "error" else values.tolist()), name
    assert len(list(scored.glob("part-*.parquet"))) == N_PARTS


def test_the_union_of_the_shards_is_the_one_run_bit_for_bit(scored, exported, images, tmp_path):
    out = tmp_path / "scores.parquet"
    n_images = 0
    for shard in ("2/3", "0/3", "1/3"):
        assert read_parts(out).keys() != read_parts(scored).keys() if out.exists() else True
        done = predict(exported, images, out, "--shard", shard, "--json")
        assert done.code == 0
        n_images += done.json["images"]
    assert n_images == N_IMAGES
    assert read_parts(out) == read_parts(scored)


def test_a_run_goes_on_where_it_stopped(scored, exported, images, tmp_path, monkeypatch):
    """Parts that are written are not scored again; a draft that a killed run left is removed."""
    out = tmp_path / "scores.parquet"
    folder = open_score_folder(str(out), Scorer(exported), [str(images)], PART_SIZE)
    running = score_parts(folder, Scorer(exported), range(N_PARTS))
    for _ in range(2):
        next(running)
    draft = out / f".12345678.{folder.part_name(3)}"
    draft.write_bytes(b"half a part")
    before = {path: path.stat().st_ino for path in out.glob("part-*")}
    assert len(before) == 2
    counted: list[int] = []

    def count(addresses: list[str]) -> list[bytes | Exception]:
        counted.append(len(addresses))
        return read_files(addresses)

    monkeypatch.setattr(parts_module, "read_files", count)
    shutil.copytree(images, tmp_path / "images")  # New images do not change what was begun.
    done = predict(exported, images, out)
    assert done.code == 0
    assert done.out == f"{out}: 24 images in 5 parts, 2 of them from an earlier run.\n"
    assert sum(counted) == N_IMAGES - 2 * PART_SIZE
    assert {path: path.stat().st_ino for path in before} == before
    assert read_parts(out) == read_parts(scored)
    counted.clear()
    assert predict(exported, images, out, "--json").json["parts_scored_before"] == N_PARTS
    assert counted == []


def test_a_part_that_a_killed_worker_has_written_is_not_scored_again(
    scored, exported, images, monkeypatch
):
    folder = open_score_folder(str(scored), Scorer(exported), [str(images)], PART_SIZE)
    monkeypatch.setattr(parts_module, "read_files", pytest.fail)
    before = read_parts(scored)
    assert score_part(folder, Scorer(exported), N_PARTS - 1) == ScoredPart(N_PARTS - 1, 4, 0)
    assert read_parts(scored) == before


def test_unreadable_images_have_rows_with_errors_and_all_others_are_scored(
    scored, exported, images, tmp_path
):
    mixed, out = tmp_path / "images", tmp_path / "scores.parquet"
    shutil.copytree(images, mixed)
    (mixed / "a" / "cut.png").write_bytes((images / "a" / "0.png").read_bytes()[:70])
    (mixed / "c" / "text.jpg").write_text("no image")
    for is_again in (False, True):
        done = predict(exported, mixed, out, "--json")
        assert done.code == 2
        assert done.json["errors"] == 2
        assert done.json["parts_scored_before"] == (6 if is_again else 0)
    rows = {row.pop("image"): row for row in read_rows(out)}
    for row in read_rows(scored):
        name = str(Path(row.pop("image")).relative_to(images))
        assert rows.pop(str(mixed / name)) == row
    for name, row in rows.items():
        assert row.pop("error").startswith(f"'{name}' cannot be read as an image")
        assert set(row.values()) == {None}
    assert len(rows) == 2
    shown = predict(exported, mixed, out)
    assert "; 2 images could not be read (column error)." in shown.out
    shown = predict(exported, mixed / "c", tmp_path / "c.parquet")
    assert "; 1 image could not be read (column error)." in shown.out


def test_images_that_vanish_or_may_not_be_read_have_rows_with_errors(exported, images, tmp_path):
    out, missing = tmp_path / "scores", tmp_path / "absent.png"
    words = (images / "a" / "0.png", missing, tmp_path, "--json")
    (tmp_path / "x.png").write_bytes((images / "a" / "1.png").read_bytes())
    done = predict(exported, missing, out, *words)
    assert done.code == 2
    assert done.json["images"] == 3, "each image once"
    (error,) = [row["error"] for row in read_rows(out) if row["error"]]
    assert error.startswith(f"'{missing}' cannot be read: ")


def test_names_of_files_may_hold_anything(exported, images, tmp_path):
    """Also what looks like a pattern, and bytes that are no UTF-8."""
    folder, content = tmp_path / "images", (images / "a" / "0.png").read_bytes()
    folder.mkdir()
    names = ["[1].png", "a*.png", "{x}.png", "ä ☆.png", os.fsdecode(b"latin-\xe4.png"), "#%20.png"]
    for name in names:
        (folder / name).write_bytes(content)
    out = tmp_path / "scores"
    assert predict(exported, folder, out).code == 0
    rows = read_rows(out)
    assert len(rows) == len(names)
    assert len({row["probability"] for row in rows}) == 1
    assert str(folder / r"latin-\udce4.png") in {row["image"] for row in rows}
    assert list_addresses([str(folder / "[1].png")]) == [str(folder / "[1].png")]


@pytest.mark.parametrize("file", ["classifier", "exported"])
def test_photos_for_a_classifier_of_drawings_give_one_warning(file, images, request, tmp_path):
    file, out = request.getfixturevalue(file), tmp_path / "scores"
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 256, (6, 6, 3), np.uint8)
        Image.fromarray(pixels).resize((72, 60)).save(photos / f"{i}.png")
    ran = predict(file, photos, out, "--part-size", 2, "--json")
    assert ran.code == 0
    assert ran.err.count("warning:") == 1
    assert "this classifier was made from drawings, by the model 'tiny'" in ran.err
    assert predict(file, photos, out, "--part-size", 2).err == "", "all is scored already"
    shard = predict(file, photos, tmp_path / "shard", "--part-size", 2, "--shard", "1/3")
    assert shard.err.count("warning:") == 1
    assert "warning" not in predict(file, images, tmp_path / "drawings").err
    (tmp_path / "bad.png").write_bytes(b"")
    assert "warning" not in predict(file, tmp_path / "bad.png", tmp_path / "bad").err


def test_the_kind_of_the_images_is_exported(fitted, tmp_path):
    """It is a note of the classifier, where that has one: a model of photos reads drawings too."""
    for kind in ("photos", "drawings"):
        noted = dataclasses.replace(fitted, notes={"images": kind})
        export(noted, tmp_path / f"{kind}.onnx")
        assert Scorer(tmp_path / f"{kind}.onnx").loaded.is_for_drawings == (kind == "drawings")


def test_folders_that_a_pattern_matches_are_searched(images):
    assert list_addresses([f"{images}/*"]) == list_addresses([str(images)])


def test_patterns_and_names_on_stdin(exported, images, tmp_path, monkeypatch):
    monkeypatch.chdir(images.parent)
    expected = sorted(str(path) for path in images.glob("*/*.png"))
    assert list_addresses([f"{images}/**"]) == expected
    assert list_addresses([f"{images.name}/*/*.png", str(images / "a")]) == expected
    assert list_addresses([f"file://{images}"]) == expected
    monkeypatch.setattr("sys.stdin", io.StringIO(f"\n{expected[1]}\n{expected[0]}\n"))
    assert list_addresses(["-"]) == expected[:2]


def test_what_is_refused_is_named_and_nothing_is_written(
    scored, exported, classifier, images, tmp_path
):
    before = read_parts(scored)

    def refuse(message: str, *words: object) -> None:
        done = lgmnet("predict", *words)
        assert done.code == 2, done.out
        assert message in done.err
        assert read_parts(scored) == before
        assert not (tmp_path / "new").exists()

    def refuse_scores(message: str, file: Path, *words: object) -> None:
        refuse(message, file, *words, "--out", scored)

    size = ("--part-size", PART_SIZE)
    refuse_scores(f"holds scores of another classifier: of '{exported}'", classifier, images, *size)
    refuse_scores("was begun with other --part-size: 5, and not 6", exported, images, *size[:1], 6)
    refuse_scores("was begun with other images:", exported, images / "a", *size)
    refuse_scores("was begun with other --none: False, and", exported, images, *size, "--none")
    new = tmp_path / "new"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    refuse("holds files, but no scores", exported, images, "--out", tmp_path / "full")
    refuse("is a file", exported, images, "--out", tmp_path / "full" / "thesis.txt")
    refuse("No file matches", exported, images / "*.gif", "--out", new)
    refuse("There are no images in", exported, tmp_path / "full", "--out", new)
    refuse("give --out FOLDER", exported, images, "--shard", "0/2")
    refuse("give --out FOLDER", exported, images, "--engine-cluster", "ray")
    refuse("give --engine-cluster ray", exported, images, "--out", new, "--address", "auto")
    for shard in ("2/2", "x", "1", "-1/2", "0/0"):
        refuse("must be I/N with I from 0", exported, images, "--out", new, f"--shard={shard}")
    cluster = ("--out", new, "--engine-cluster", "ray")
    refuse("leave --shard out", exported, images, *cluster, "--shard", "0/2")
    others = ("--top", 1, "--min-probability", 0.5)
    refuse("leave --top and --min-probability out", exported, images, "--out", new, *others)
    refuse("There is no file", "absent.onnx", images, "--out", new)


def test_an_unknown_kind_of_address_is_named(exported, tmp_path):
    for name, message in (("nowhere://x/y.png", "Protocol not known"), ("a::s3://b", "chains")):
        done = predict(exported, name, tmp_path / "new")
        assert done.code == 2
        assert message in done.err
    assert not (tmp_path / "new").exists()


def test_a_storage_that_fails_ends_the_run_and_makes_no_rows(
    exported, images, tmp_path, monkeypatch
):
    """It tells nothing about the images."""
    from fsspec.implementations.memory import MemoryFileSystem

    memory = MemoryFileSystem()
    for i in range(4):
        memory.pipe_file(f"/photos/{i}.png", (images / "a" / f"{i}.png").read_bytes())
    results: list[Exception] = [TimeoutError("no answer"), PermissionError("Forbidden")]
    cat = MemoryFileSystem.cat_ranges
    for result in results:
        monkeypatch.setattr(MemoryFileSystem, "cat_ranges", lambda *_, r=result, **__: [r] * 4)
        done = predict(exported, "memory://photos", tmp_path / "scores")
        assert done.code == 2
        assert str(result) in done.err
        assert [path.name for path in (tmp_path / "scores").iterdir()] == ["_images.parquet"]
    assert "Expected credentials that may list and read" in done.err
    monkeypatch.setattr(MemoryFileSystem, "cat_ranges", cat)
    memory.rm_file("/photos/3.png")
    done = predict(exported, "memory://photos", tmp_path / "scores")
    assert done.code == 2, "it goes on, with the list that was made"
    rows = read_rows(tmp_path / "scores")
    assert [bool(row["error"]) for row in rows] == [False, False, False, True]
    assert rows[0]["image"] == "memory:///photos/0.png"
    memory.rm("/photos", recursive=True)


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """An S3 server of this machine, with a bucket of photos, and its credentials."""
    import fsspec
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        filesystem = fsspec.filesystem("s3")
        filesystem.mkdir("bucket")
        yield filesystem
        filesystem.clear_instance_cache()
    server.stop()


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
def test_photos_and_scores_in_s3(s3, scored, exported, images):
    for path in sorted(images.glob("*/*.png")):
        s3.pipe_file(f"bucket/photos/{path.relative_to(images)}", path.read_bytes())
    s3.pipe_file("bucket/photos/bad.png", b"no image")
    out = "s3://bucket/scores.parquet"
    for shard, errors in (("0/2", 0), ("1/2", 1), ("0/1", 1)):
        words = ("s3://bucket/photos/**", "--shard", shard, "--json", "--part-size", PART_SIZE)
        done = lgmnet("predict", exported, *words, "--out", out)
        assert (done.code, done.err) == (2 if errors else 0, "")
        assert done.json["errors"] == errors
    assert done.json == {
        "out": out,
        "images": N_IMAGES + 1,
        "errors": 1,
        "parts": N_PARTS,
        "parts_scored_before": N_PARTS,
    }
    table = pq.read_table("bucket/scores.parquet", filesystem=s3)
    rows = {row.pop("image"): row for row in table.to_pylist()}
    assert rows.pop("s3://bucket/photos/bad.png")["error"]
    for row in read_rows(scored):
        name = Path(row.pop("image")).relative_to(images)
        assert rows.pop(f"s3://bucket/photos/{name}") == row
    assert rows == {}


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
def test_an_address_without_credentials_is_named(s3, exported, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    s3.clear_instance_cache()
    done = predict(exported, "s3://bucket/photos/**", tmp_path / "scores")
    assert done.code == 2
    assert "Cannot list 's3://bucket/photos/**': " in done.err
    assert "credentials" in done.err
    assert "AWS_ACCESS_KEY_ID" in done.err
    assert "FSSPEC_S3_ANON" in done.err
    assert not (tmp_path / "scores").exists()
    with pytest.raises(UserError, match=r"Cannot read 's3://bucket/photos/0\.png'.*credentials"):
        read_files(["s3://bucket/photos/0.png"])
    s3.clear_instance_cache()


def test_a_missing_package_is_named(exported, images, tmp_path, monkeypatch):
    import sys

    for module, extra in (("ray", "ray"), ("pyarrow", "parquet")):
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.setattr(addresses_module, "open_filesystem", addresses_module.open_filesystem)
        cluster = ("--engine-cluster", "ray") if module == "ray" else ()
        done = predict(exported, images, tmp_path / module, *cluster)
        assert done.code == 2
        assert f"need the package '{module}', which is not installed" in done.err
        assert f"pip install 'lgmnet[{extra}]'" in done.err


def test_batches_are_read_in_order(exported, images, tmp_path, monkeypatch):
    """More than one batch in a part."""
    monkeypatch.setattr(parts_module, "BATCH_SIZE", 2)
    assert predict(exported, images, tmp_path / "scores").code == 0
    rows = read_rows(tmp_path / "scores")
    scores = Scorer(exported)([row["image"] for row in rows])
    np.testing.assert_array_equal([row["probability"] for row in rows], scores["probability"])
