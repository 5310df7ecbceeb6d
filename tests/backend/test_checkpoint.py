from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from napari_physgen.backend import load_model, save_model
from napari_physgen.errors import UserError

HEADER = {"settings": {"na": 1.49, "angles": 3}, "pixel_size_nm": 65.0, "note": "µm, ×2"}


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    weight = torch.arange(6.0).reshape(2, 3)
    return {"weight": weight, "tied": weight, "turned": weight.T, "count": torch.tensor(3)}


def test_weights_and_header_make_the_round_trip(tmp_path, state):
    save_model(tmp_path / "model.safetensors", state, HEADER)
    loaded, header = load_model(tmp_path / "model.safetensors")
    assert header == HEADER
    assert loaded.keys() == state.keys()
    for name, tensor in state.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)


def test_a_save_leaves_one_file_and_replaces_the_old_one(tmp_path, state):
    path = tmp_path / "model.safetensors"
    path.write_text("old")
    save_model(path, state, HEADER)
    assert os.listdir(tmp_path) == ["model.safetensors"]
    assert load_model(path)[1] == HEADER


def test_an_interrupted_save_leaves_the_old_file(tmp_path, state, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_model(path, state, HEADER)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_model(path, {}, {})
    assert os.listdir(tmp_path) == ["model.safetensors"]
    assert load_model(path)[1] == HEADER


def test_an_absent_folder_is_explained(tmp_path, state):
    with pytest.raises(UserError, match="create it or choose another"):
        save_model(tmp_path / "absent" / "model.safetensors", state, HEADER)


def test_an_absent_file_is_explained(tmp_path):
    with pytest.raises(UserError, match="no readable model file"):
        load_model(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_cut_file_is_explained(tmp_path, state, keep):
    path = tmp_path / "model.safetensors"
    save_model(path, state, HEADER)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="damaged"):
        load_model(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"physgen": "[1]"}])
def test_a_foreign_safetensors_file_is_explained(tmp_path, metadata):
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata)
    with pytest.raises(UserError, match="not written by napari-physgen"):
        load_model(path)


def test_a_pickle_is_refused_without_being_run(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(UserError, match="damaged or is not a model file"):
        load_model(path)
