"""The published network as a reference."""

from __future__ import annotations

import pytest
import torch
from sim_sample import OTF, PATTERNS, SETTINGS, expected, measured, truth

from napari_physgen.backend import run
from napari_physgen.backend.job import Progress
from napari_physgen.metrics.image import compare
from napari_physgen.sim import paper
from napari_physgen.sim.forward import Canvas, SimOperator
from napari_physgen.sim.measurement import Measurement
from napari_physgen.sim.paper import train_paper_network

SIDE = 32
"""Raw px: a corner of the sample stack, to be quick."""


@pytest.fixture(scope="module")
def measurement() -> Measurement:
    whole = measured(expected(300))
    return Measurement(
        *(part[..., :SIDE, :SIDE] for part in (whole.frames, whole.weight, whole.fitted))
    )


def microscope() -> SimOperator:
    return SimOperator.sinusoidal(PATTERNS, OTF, Canvas.around((SIDE, SIDE), 2, 8))


def trained(measurement: Measurement, **changes: int) -> tuple[torch.Tensor, list[Progress]]:
    told: list[Progress] = []
    settings = SETTINGS.model_copy(update=changes)
    return run(train_paper_network(microscope(), measurement, settings), told.append), told


def test_training_lowers_the_dissimilarity_and_finds_the_object(
    measurement: Measurement, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A narrow network, to be quick; from scratch, so it starts with no image at all."""
    monkeypatch.setattr(paper, "CHANNELS", (8, 16, 32))
    rho, told = trained(measurement, network_steps=25)
    losses = [progress.metrics["loss"] for progress in told if "loss" in progress.metrics]
    assert losses[-1] < 0.5 * losses[0]
    field = microscope().canvas.crop(rho, 2).numpy()
    assert compare(field, truth()[: 2 * SIDE, : 2 * SIDE]).psnr > 22


def test_result_has_the_brightness_of_the_frames(
    measurement: Measurement, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper, "CHANNELS", (4, 8))
    rho, _ = trained(measurement, network_steps=3)
    with torch.no_grad():
        found = microscope()(rho).mean()
    assert float(found) == pytest.approx(float(measurement.frames.mean()), rel=1e-3)


def test_an_object_that_is_dark_everywhere_ends_in_a_finite_image(
    measurement: Measurement, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Min-max normalisation knows no zero: a network may stay below it everywhere."""

    class Dark(torch.nn.Conv2d):
        def __init__(self, channels: int, *_: object, **__: object) -> None:
            super().__init__(channels, 1, 1)
            torch.nn.init.constant_(self.weight, -1)
            torch.nn.init.constant_(self.bias, -100)

    monkeypatch.setattr(paper, "UNet", Dark)
    rho, _ = trained(measurement, network_steps=2)
    assert torch.isfinite(rho).all()
    assert float(rho.std()) > 0
    assert float(rho.min()) >= 0
