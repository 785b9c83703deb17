"""Models in the convention of the Hugging Face hub: the mixin, the card's metadata, an upload."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("huggingface_hub", reason="needs the extra 'hub': pip install lgmnet[hub]")

from huggingface_hub import ModelCard, ModelCardData, ModelHubMixin, RepoCard, hub_mixin

from lgmnet.errors import UserError
from lgmnet.model.hub_model import HubModel
from lgmnet.model.model import load_model
from lgmnet.model.registry import PRETRAINED_FOLDER, shipped_models
from tests.support.models import tiny_model

SPACE = Path(__file__).parents[2] / "spaces" / "studio"


def test_a_hub_model_is_saved_and_loaded_by_the_mixin(tmp_path: Path) -> None:
    model = HubModel(tiny_model())
    assert isinstance(model, ModelHubMixin)
    model.save_pretrained(tmp_path / "mine")
    loaded = HubModel.from_pretrained(str(tmp_path / "mine"))
    assert loaded.model.fingerprint == model.model.fingerprint
    assert load_model(tmp_path / "mine").fingerprint == model.model.fingerprint
    loaded.save_pretrained(tmp_path / "mine")  # Over itself.
    assert load_model(tmp_path / "mine").fingerprint == model.model.fingerprint


def test_saving_loses_no_file_of_the_user(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text("{}")
    with pytest.raises(UserError, match="no model of lgmnet"):
        HubModel(tiny_model()).save_pretrained(tmp_path)
    assert config.read_text() == "{}"


def test_push_to_hub_uploads_what_would_be_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    uploaded: dict[str, Any] = {}

    class Hub:
        def __init__(self, token: str | None = None) -> None:
            uploaded["token"] = token

        def create_repo(self, repo_id: str, **options: object) -> Any:
            return type("Repository", (), {"repo_id": repo_id})

        def upload_folder(self, *, repo_id: str, folder_path: Path, **options: Any) -> str:
            uploaded["files"] = sorted(path.name for path in folder_path.iterdir())
            uploaded["model"], uploaded["message"] = load_model(folder_path), options
            return f"somewhere/{repo_id}"

    monkeypatch.setattr(hub_mixin, "HfApi", Hub)
    model = HubModel(tiny_model())
    address = model.push_to_hub("someone/symbols", token="secret", commit_message="First")
    assert address == "somewhere/someone/symbols"
    assert uploaded["files"] == ["README.md", "config.json", "model.safetensors"]
    assert uploaded["model"].fingerprint == model.model.fingerprint
    assert uploaded["model"].name == "symbols"
    assert (uploaded["token"], uploaded["message"]["commit_message"]) == ("secret", "First")


@pytest.mark.parametrize("name", shipped_models())
def test_the_hub_understands_the_card_of_each_shipped_model(name: str) -> None:
    model = load_model(name)
    text = (PRETRAINED_FOLDER / name / "README.md").read_text(encoding="utf-8")
    assert text == model.card
    data = ModelCard(text, ignore_metadata_errors=False).data
    assert isinstance(data, ModelCardData)
    assert data.library_name == "lgmnet"
    assert data.pipeline_tag in ("image-classification", "tabular-classification")
    results = data.eval_results or []
    assert [r.metric_value for r in results] == [round(s.accuracy, 2) for s in model.scores]
    assert all(r.metric_type == "accuracy" and r.dataset_name for r in results)


def test_the_card_of_the_space_names_what_the_hub_needs() -> None:
    data = RepoCard.load(SPACE / "README.md").data.to_dict()
    assert data["sdk"] == "docker"
    assert len(data["short_description"]) <= 60
    docker = (SPACE / "Dockerfile").read_text(encoding="utf-8")
    assert f"--port {data['app_port']}" in docker
    assert f"EXPOSE {data['app_port']}" in docker


def test_loading_a_model_does_not_import_the_hub() -> None:
    code = "import sys, lgmnet; lgmnet.load_model('vectors'); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert b"lgmnet.model.hub" in result.stdout.split()
    assert b"huggingface_hub" not in result.stdout.split()
