"""Model folders: weights and config belong together, damage is refused, files of others stay."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch

from lgmnet.errors import ConfigError, FileFormatError, UserError
from lgmnet.model.folder import CONFIG_KEY, KIND, VERSION, check_model_folder
from lgmnet.model.model import load_model, save_model
from lgmnet.model.registry import CARD_FILE, CONFIG_FILE, PRETRAINED_FOLDER, WEIGHTS_FILE
from lgmnet.tensor_file import write_tensors
from tests.support.command_line import listing
from tests.support.models import tiny_model

KILLS, LOADS = int(os.environ.get("LGMNET_KILLS", "15")), 40
FLIPS = int(os.environ.get("LGMNET_FLIPS", "120"))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    save_model(tiny_model(), folder)
    return folder


def test_a_killed_process_or_one_beside_a_writer_never_leaves_parts_of_two_models(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "tests.model.kill_savers", tmp_path / "m", str(KILLS), str(LOADS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    expected = f"{KILLS} killed, 0 torn; {LOADS} loads beside a writer, 0 torn\n"
    assert ran.stdout == expected, ran.stderr


@pytest.mark.parametrize("name", [CONFIG_FILE, WEIGHTS_FILE])
def test_a_flipped_bit_anywhere_is_refused(name, saved):
    """Weights, config and both headers; the card is prose for people."""
    path = saved / name
    intact = path.read_bytes()
    header = 8 + int.from_bytes(intact[:8], "little") if name == WEIGHTS_FILE else len(intact)
    rng = random.Random(0)
    # Half of the flips in the header, which is small.
    places = [rng.randrange(header if i % 2 else len(intact)) for i in range(FLIPS)]
    for place in places:
        damaged = bytearray(intact)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(FileFormatError) as caught:
            load_model(saved)
        assert str(path) in str(caught.value)


def test_the_same_value_in_other_letters_is_refused_too(saved):
    """One flipped bit turns "1e-05" into "1E-05", which reads as the same number."""
    save_model(tiny_model(val_ci95=1e-05), saved)
    path = saved / CONFIG_FILE
    path.write_text(path.read_text().replace("1e-05", "1E-05"))
    with pytest.raises(FileFormatError, match=r"config\.json' is damaged or was altered"):
        load_model(saved)


def test_the_message_about_a_damaged_copy_tells_the_remedy(saved):
    (saved / CONFIG_FILE).write_text("{}")
    with pytest.raises(FileFormatError, match=r"Remove it: model\.safetensors beside it holds the"):
        load_model(saved)
    (saved / CONFIG_FILE).unlink()
    assert load_model(saved).training == tiny_model().training


def test_an_intact_but_older_copy_of_the_config_is_superseded(saved):
    """The state of a folder if the process is killed between writing both files."""
    older = (saved / CONFIG_FILE).read_bytes()
    save_model(tiny_model(seed=1, step=7), saved)
    (saved / CONFIG_FILE).write_bytes(older)
    assert load_model(saved).training.step == 7
    assert load_model(saved).fingerprint == tiny_model(seed=1).fingerprint


def test_a_copy_with_the_line_ends_of_windows_is_read(saved):
    text = (saved / CONFIG_FILE).read_bytes()
    (saved / CONFIG_FILE).write_bytes(text.replace(b"\n", b"\r\n"))
    assert load_model(saved).training == tiny_model().training


def test_the_copy_says_what_the_weights_carry(saved):
    copy = json.loads((saved / CONFIG_FILE).read_text())
    header = (saved / WEIGHTS_FILE).read_bytes()
    header = header[8 : 8 + int.from_bytes(header[:8], "little")]
    carried = json.loads(json.loads(header)["__metadata__"][CONFIG_KEY])
    assert copy.items() >= carried.items()
    assert copy.keys() - carried.keys() == {"format", "version", "sha256"}


def make_old_folder(folder: Path) -> dict[str, object]:
    """Turn a folder into one of an earlier lgmnet, whose weights carry no config."""
    tensors = safetensors.torch.load_file(folder / WEIGHTS_FILE)
    write_tensors(folder / WEIGHTS_FILE, tensors, KIND, VERSION, {})
    config = json.loads((folder / CONFIG_FILE).read_text())
    del config["sha256"]
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")
    return dict(config)


def test_a_folder_of_an_earlier_lgmnet_is_read_and_its_next_save_binds_it(saved):
    make_old_folder(saved)
    model = load_model(saved)
    assert model.training == tiny_model().training
    assert model.fingerprint == tiny_model().fingerprint
    save_model(model, saved)
    (saved / CONFIG_FILE).unlink()
    assert load_model(saved).training == tiny_model().training


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 3}, "was written by a later lgmnet"),
        ({"format": "other"}, "but its format is other"),
        ({"training": 3}, "TrainingRecord must be a JSON object"),
    ],
)
def test_a_faulty_folder_of_an_earlier_lgmnet_is_refused(changes, words, saved):
    config = make_old_folder(saved)
    (saved / CONFIG_FILE).write_text(json.dumps(config | changes))
    with pytest.raises(FileFormatError, match=words) as caught:
        load_model(saved)
    assert str(saved / CONFIG_FILE) in str(caught.value)
    (saved / CONFIG_FILE).unlink()
    with pytest.raises(FileFormatError, match=f"has no {CONFIG_FILE}"):
        load_model(saved)


@pytest.mark.parametrize(
    "files",
    [
        {"README.md": "# My project\n", "config.json": '{"mine": true}'},
        {"notes.txt": "mine"},
        {"a/0.jpg": "a photo"},
        {"model.safetensors": "weights of another program"},
        {"model.safetensors": "", "config.json": '{"mine": true}'},
    ],
    ids=["project", "notes", "photos", "weights", "config"],
)
def test_a_folder_of_other_files_is_refused_unless_told_so(files, tmp_path):
    folder = tmp_path / "mine"
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    before = listing(folder)
    with pytest.raises(UserError, match=r"--force in the shell, overwrite=True in Python") as error:
        save_model(tiny_model(), folder)
    assert str(folder) in str(error.value)
    assert listing(folder) == before
    save_model(tiny_model(), folder, overwrite=True)
    assert load_model(folder).fingerprint == tiny_model().fingerprint


@pytest.mark.parametrize(
    ("name", "text"),
    [(CARD_FILE, "# My own words\n"), (CONFIG_FILE, '{"mine": 1}'), (WEIGHTS_FILE, "mine")],
)
def test_a_file_of_the_user_inside_a_model_folder_is_not_replaced(name, text, saved):
    (saved / name).write_text(text)
    with pytest.raises(UserError, match=f"would replace: {name}"):
        save_model(tiny_model(), saved)
    assert (saved / name).read_text() == text


def test_hidden_files_and_files_beside_a_model_do_no_harm(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / ".gitkeep").touch()
    save_model(tiny_model(), folder)
    (folder / "notes.txt").write_text("mine")
    save_model(tiny_model(seed=1), folder)
    assert set(listing(folder)) == {".gitkeep", "notes.txt", CARD_FILE, CONFIG_FILE, WEIGHTS_FILE}


def test_the_folder_of_a_shipped_model_is_read_only(monkeypatch):
    for folder in (
        PRETRAINED_FOLDER / "omniglot",
        PRETRAINED_FOLDER / "photos" / ".." / "omniglot",
    ):
        with pytest.raises(ConfigError, match="ships with lgmnet and is read-only"):
            check_model_folder(folder)
    monkeypatch.chdir(PRETRAINED_FOLDER)
    with pytest.raises(ConfigError, match="read-only"):
        check_model_folder(Path("omniglot"))


def test_every_shipped_model_carries_its_config(tmp_path):
    for folder in PRETRAINED_FOLDER.iterdir():
        copy = tmp_path / folder.name
        copy.mkdir()
        (copy / WEIGHTS_FILE).symlink_to(folder / WEIGHTS_FILE)
        assert load_model(copy).card == (folder / CARD_FILE).read_text(encoding="utf-8")
