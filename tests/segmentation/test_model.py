"""A model on disk gives the labels that it gave before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_physgen.backend import run
from napari_physgen.backend.checkpoint import load_model, save_model
from napari_physgen.errors import UserError
from napari_physgen.segmentation import PredictSettings, SegmentationModel, load, predict
from napari_physgen.segmentation.model import LEVELS, Design
from napari_physgen.synthesis import load_translation

PLAIN = PredictSettings(flips=False, device="cpu", precision="32-true")


@pytest.fixture(scope="module")
def path(trained: SegmentationModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place: Path = tmp_path_factory.mktemp("model") / "discs.safetensors"
    trained.save(place)
    return place


def test_a_loaded_model_gives_equal_probabilities(
    trained: SegmentationModel, path: Path, images: list[np.ndarray]
) -> None:
    again = load(path)
    known, found = (run(predict(model, images[6], PLAIN)) for model in (trained, again))
    # Weights in another order in memory are added up in another order.
    np.testing.assert_allclose(found.probabilities, known.probabilities, atol=1e-5)
    assert (found.labels == known.labels).mean() > 0.9999
    assert not again.net.training


def test_a_loaded_model_says_what_it_said(trained: SegmentationModel, path: Path) -> None:
    again = load(path)
    for name in ("design", "classes", "pixel_size_nm", "length", "settings", "summary", "metrics"):
        assert getattr(again, name) == getattr(trained, name), name


def test_the_header_is_json_with_the_normalisation(path: Path) -> None:
    _, header = load_model(path)
    assert json.loads(json.dumps(header)) == header
    assert "0.5 and 99.5 percentiles become 0 and 1" in header["normalisation"]


def test_figures_that_are_no_numbers_are_left_out(trained: SegmentationModel, path: Path) -> None:
    more = {**trained.metrics, "nothing": float("nan"), "endless": float("inf")}
    odd = replace(trained, metrics=more)
    place = path.with_name("odd.safetensors")
    odd.save(place)
    assert load(place).metrics == dict(trained.metrics)


@pytest.mark.parametrize("design", [Design(2, 4), Design(4, 8), Design(3, 4, 3)])
def test_every_design_can_be_saved_and_built_again(design: Design, tmp_path: Path) -> None:
    names = tuple(f"class {k}" for k in range(design.classes))
    model = SegmentationModel(net=design.build(7).eval(), design=design, classes=names)
    model.save(tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    image = torch.rand(1, 1, *(2**LEVELS,) * design.dimensions)
    with torch.no_grad():
        output = model.net(image)
        torch.testing.assert_close(again.net(image), output, rtol=0, atol=0)
    assert output.shape == (1, design.classes, *image.shape[2:])
    assert again.design == design


def test_first_weights_follow_the_seed() -> None:
    first, second, other = (Design(2, 4).build(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["last.weight"], other["last.weight"])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no readable model file at .*gone.safetensors"):
        load(tmp_path / "gone.safetensors")


def test_a_damaged_file_is_named(path: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"broken.safetensors is damaged"):
        load(broken)


def test_another_kind_of_model_is_refused(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_model(other, {"weight": torch.zeros(2)}, {"kind": "something else"})
    with pytest.raises(UserError, match="is no segmentation model"):
        load(other)
    with pytest.raises(UserError, match="is no translation"):
        load_translation(path)


def test_weights_that_do_not_fit_are_refused(trained: SegmentationModel, tmp_path: Path) -> None:
    """As of a file of a version with other networks."""
    state = trained.net.state_dict()
    del state["last.weight"]
    save_model(tmp_path / "old.safetensors", state, trained.header())
    with pytest.raises(UserError, match=r"old.safetensors"):
        load(tmp_path / "old.safetensors")


def test_a_folder_that_is_not_there_is_named(trained: SegmentationModel, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        trained.save(tmp_path / "absent" / "model.safetensors")
