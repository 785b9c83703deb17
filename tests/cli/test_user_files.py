"""Files that lgmnet did not write are not replaced, unless ``--force`` says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lgmnet.data.datasets import omniglot
from lgmnet.experiments.results import RunOptions, check_experiment_file, open_picture
from lgmnet.model.model import load_model
from lgmnet.model.registry import PRETRAINED_FOLDER
from tests.support.command_line import Ran, lgmnet, listing, settings
from tests.support.images import symbols

PHOTO = "a/0.jpg"
"""File of the user that is no file of lgmnet, in every test."""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Folder of the user: a project with a README, a config and a photo."""
    folder = tmp_path / "mine"
    (folder / "a").mkdir(parents=True)
    (folder / "README.md").write_text("# My project\n")
    (folder / "config.json").write_text('{"mine": true}')
    (folder / "notes.html").write_text("<html><body>my notes</body></html>")
    Image.new("RGB", (8, 8)).save(folder / PHOTO)
    return folder


def assert_refused(ran: Ran, path: object) -> None:
    """Check that a command ended with code 2 and one sentence that names the path and --force."""
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert ran.err.count("error:") == 1
    assert str(path) in ran.err
    assert "--force" in ran.err


def test_publish_does_not_write_into_a_project(tiny, mine, monkeypatch):
    monkeypatch.chdir(mine)
    before = listing(mine)
    assert_refused(lgmnet("publish", tiny, "-o", "."), "'.'")
    assert listing(mine) == before
    assert lgmnet("publish", tiny, "-o", ".", "--force").code == 0
    assert load_model(mine).half_precision
    assert (mine / PHOTO).read_bytes() == before[PHOTO]


def test_publish_checks_its_folder_before_it_loads_the_model(tmp_path, mine):
    assert_refused(lgmnet("publish", tmp_path / "absent", "-o", mine), mine)


def test_train_does_not_write_into_a_project(mine, monkeypatch):
    words = ["train", "omniglot", "--data", "strokes", "--accelerator", "cpu", "--out", "."]
    monkeypatch.chdir(mine)
    monkeypatch.setattr(  # The check comes before the data is read.
        "lgmnet.training.launch.open_model_source", lambda *_: pytest.fail("the data is opened")
    )
    before = listing(mine)
    assert_refused(lgmnet(*words, *settings(steps=1)), "'.'")
    assert listing(mine) == before
    monkeypatch.undo()
    monkeypatch.chdir(mine)
    assert lgmnet(*words, *settings(steps=1), "--force").code == 0
    assert load_model(mine).training.data == "strokes"
    assert (mine / PHOTO).read_bytes() == before[PHOTO]


def test_force_does_not_end_an_existing_run(mine):
    (mine / "training.safetensors").write_bytes(b"hours of work")
    before = listing(mine)
    ran = lgmnet("train", "omniglot", "--data", "strokes", "--out", mine, "--force", *settings())
    assert ran.code == 2
    assert "holds a run already" in ran.err
    assert listing(mine) == before


def test_resuming_a_run_keeps_a_card_of_the_user(tmp_path):
    words = ["train", "omniglot", "--data", "strokes", "--accelerator", "cpu"]
    words += ["--out", str(tmp_path / "m"), *settings(steps=1)]
    assert lgmnet(*words).code == 0
    (tmp_path / "m" / "README.md").write_text("# My own words\n")
    assert_refused(lgmnet(*words, "--resume"), "README.md")
    assert (tmp_path / "m" / "README.md").read_text() == "# My own words\n"
    assert lgmnet(*words, "--resume", "--force").code == 0


def test_train_starts_again_where_a_run_left_only_its_logs(tmp_path):
    (tmp_path / "m" / "logs" / "csv-from-step-0").mkdir(parents=True)
    words = ["train", "omniglot", "--data", "strokes", "--accelerator", "cpu"]
    assert lgmnet(*words, "--out", tmp_path / "m", *settings(steps=1)).code == 0


@pytest.fixture
def commands(
    tiny: Path, classifier: Path, folder_of_symbols: Path, tmp_path: Path
) -> dict[str, list[object]]:
    """Words of each command that writes one file, without the file."""
    return {
        "forge": ["forge", folder_of_symbols, "--model", tiny, "-o"],
        "edit": ["edit", classifier, "--rename", "sun=sol", "-o"],
        "export": ["export", classifier, "-o"],
        "export --meta": ["export", tiny, "--meta", "-o"],
        "report": ["report", classifier, folder_of_symbols, "--model", tiny, "-o"],
        "evaluate": [*score_words("evaluate", tiny), "--save"],
        "compare": [*score_words("compare", tiny, tmp_path / "second"), "--save"],
    }


def score_words(command: str, *models: object) -> list[object]:
    options = ["--data", "strokes", "--way", 3, "--query", 1, "--episodes", 3]
    return [command, *models, *options]


@pytest.mark.parametrize(
    "command", ["forge", "edit", "export", "export --meta", "report", "evaluate", "compare"]
)
def test_a_file_of_another_kind_is_not_replaced(command, commands, tiny, mine, tmp_path):
    """A photo, a page, a project's config and a model's weights."""
    shutil.copytree(tiny, tmp_path / "second")
    (tmp_path / "second" / "README.md").write_text("# Another card\n")
    words = commands[command]
    foreign = [mine / PHOTO, mine / "notes.html", mine / "config.json"]
    foreign.append(tmp_path / "second" / "model.safetensors")
    foreign.append(mine / "table1.json")
    foreign[-1].write_text('{"results": "table1", "version": 1, "commit": "", "rows": [1]}')
    before = listing(tmp_path)
    for path in foreign:
        assert_refused(lgmnet(*words, path, "--json"), path)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("command", ["forge", "edit", "report", "evaluate", "compare"])
def test_force_replaces_any_file_and_an_own_one_needs_no_force(
    command, commands, tiny, mine, tmp_path
):
    shutil.copytree(tiny, tmp_path / "second")
    before = (mine / PHOTO).read_bytes()
    for force in (["--force"], []):
        ran = lgmnet(*commands[command], mine / PHOTO, *force)
        assert ran.code == 0, ran.err
        assert (mine / PHOTO).read_bytes() != before


@pytest.mark.parametrize("command", ["export", "export --meta"])
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_force_reaches_the_export(command, force, commands, tmp_path, monkeypatch):
    allowed: list[bool] = []

    def export_nothing(network, example, path, *others, overwrite):
        allowed.append(overwrite)
        path.touch()
        return 0.0

    monkeypatch.setattr("lgmnet.classifier.export.export_network", export_nothing)
    ran = lgmnet(*commands[command], tmp_path / "x.onnx", *force)
    assert ran.code == 0, ran.err
    assert allowed == [bool(force)]


@pytest.mark.parametrize("command", ["forge", "export", "export --meta", "report"])
def test_the_file_is_checked_before_anything_is_read(command, commands, mine, tmp_path):
    """The other paths do not exist, but the message is about the file that would be lost."""
    words = [tmp_path / "absent" if isinstance(word, Path) else word for word in commands[command]]
    assert_refused(lgmnet(*words, mine / PHOTO), mine / PHOTO)


@pytest.mark.parametrize("name", ["digits.safetensors", "quickstart.png"])
def test_quickstart_does_not_replace_a_file_of_another_kind(name, tiny, mine):
    shutil.copy(mine / PHOTO, mine / name)
    before = listing(mine)
    words = ["quickstart", "--model", tiny, "--draws", 2, "-o", mine]
    assert_refused(lgmnet(*words), mine / name)
    assert listing(mine) == before


@pytest.mark.parametrize("place", ["results", "out"])
def test_reproduce_does_not_replace_a_file_of_another_kind(place, tmp_path):
    folders = {name: tmp_path / name for name in ("results", "out", "models")}
    for folder in folders.values():
        folder.mkdir()
    path = folders[place] / ("figure5.json" if place == "results" else "figure5.png")
    path.write_text('{"mine": true}')
    words = ["reproduce", "figure5"]
    words += [str(word) for name, folder in folders.items() for word in (f"--{name}", folder)]
    before = listing(tmp_path)
    assert_refused(lgmnet(*words), path)
    assert listing(tmp_path) == before


def test_pages_pictures_and_results_of_an_experiment_are_replaced_by_the_next(tmp_path):
    (tmp_path / "page.md").write_text("Generated by `lgmnet reproduce figure4 --from-results`.\n")
    (tmp_path / "result.json").write_text(json.dumps({"results": "figure4", "version": 1}))
    with open_picture(tmp_path / "picture.png", 1.0, 1.0):
        pass
    for name in ("page.md", "result.json", "picture.png"):
        check_experiment_file(tmp_path / name)
    assert not RunOptions().overwrite


def test_the_files_of_the_documents_and_results_are_recognized():
    root = Path(__file__).parents[2]
    documents = [*root.glob("docs/results/table*.md"), *root.glob("docs/results/figure[-345]*")]
    results = [*root.glob("results/table*/*.json"), *root.glob("results/figure*.json")]
    assert len(documents) > 5
    assert len(results) > 5
    for path in [*documents, *results, root / "docs" / "results" / "quickstart.png"]:
        check_experiment_file(path)


def test_download_does_not_replace_a_file_of_another_kind(tmp_path, monkeypatch):
    archive = tmp_path / omniglot.OMNIGLOT_ARCHIVE
    archive.parent.mkdir()
    np.savez(archive, allow_pickle=False, mine=np.arange(3))
    before = listing(tmp_path)
    assert_refused(lgmnet("download", "omniglot", "--to", tmp_path), archive)
    assert listing(tmp_path) == before
    assert not omniglot.is_archive(archive)
    np.savez(archive, allow_pickle=False, **dict.fromkeys(omniglot.ARRAY_NAMES, np.arange(3)))
    assert omniglot.is_archive(archive)


CHANGES: dict[str, list[object]] = {
    "evaluate": [*score_words("evaluate", "{model}"), "--record"],
    "calibrate": ["calibrate", "{model}", "--on", "strokes:val", "--data", "strokes"],
}


def change_words(command: str, model: object) -> list[object]:
    return [str(word).format(model=model) for word in CHANGES[command]]


@pytest.mark.parametrize("command", CHANGES)
@pytest.mark.parametrize("model", ["omniglot", PRETRAINED_FOLDER / "omniglot"])
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_shipped_model_is_not_changed(command, model, force, monkeypatch):
    """It is refused before anything is measured, and even before the data is opened."""
    monkeypatch.setattr(
        "lgmnet.model.sources.open_unseen_source", lambda *_: pytest.fail("the data is opened")
    )
    before = listing(PRETRAINED_FOLDER)
    ran = lgmnet(*change_words(command, model), *force)
    assert (ran.code, ran.out) == (2, "")
    assert f"'{model}' ships with lgmnet and is read-only. Add --out FOLDER" in ran.err
    assert listing(PRETRAINED_FOLDER) == before


@pytest.mark.parametrize("command", CHANGES)
def test_out_takes_the_changed_model(command, tiny, mine, tmp_path):
    before = listing(tiny)
    words = change_words(command, tiny)
    words += ["--episodes", 4]
    assert_refused(lgmnet(*words, "--out", mine), mine)
    ran = lgmnet(*words, "--out", tmp_path / "copy")
    assert ran.code == 0, ran.err
    changed = load_model(tmp_path / "copy")
    assert changed.fingerprint == load_model(tiny).fingerprint
    assert len(changed.scores) + len(changed.rejections) > 0
    assert listing(tiny) == before
    assert lgmnet(*words, "--out", mine, "--force").code == 0
    assert load_model(mine).fingerprint == changed.fingerprint


def test_a_model_of_the_user_is_changed_in_place(tiny, tmp_path):
    own = shutil.copytree(tiny, tmp_path / "own")
    assert lgmnet(*change_words("calibrate", own), "--episodes", 4, "--way", 3).code == 0
    assert lgmnet(*change_words("evaluate", own)).code == 0
    assert load_model(own).rejections
    assert load_model(own).scores
    (own / "README.md").write_text("# My own words\n")
    assert_refused(lgmnet(*change_words("evaluate", own)), "README.md")
    assert (own / "README.md").read_text() == "# My own words\n"


def test_out_without_record_is_an_error(tiny, tmp_path):
    ran = lgmnet(*score_words("evaluate", tiny), "--out", tmp_path / "copy")
    assert ran.code == 2
    assert "add --record" in ran.err


def test_forge_into_its_own_images_keeps_the_photos(tiny, tmp_path):
    images = symbols(tmp_path / "images", {"a": 2, "b": 2})
    before = listing(images)
    assert_refused(
        lgmnet("forge", images, "-o", images / "a" / "0.png", "--model", tiny),
        images / "a" / "0.png",
    )
    assert listing(images) == before
