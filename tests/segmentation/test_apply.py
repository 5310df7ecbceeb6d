"""Bars and annotations in a picture change nothing else about its labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn_bars import dark_table, label_box, micrograph, scale_bar

from napari_physgen.backend import run
from napari_physgen.segmentation import PredictSettings, SegmentationModel, predict
from napari_physgen.segmentation.apply import segment
from napari_physgen.segmentation.model import Design
from napari_physgen.segmentation.particles import particles

SETTINGS = PredictSettings(flips=False, device="cpu", precision="32-true")


class Threshold(torch.nn.Module):
    """Dark is class 1."""

    halo, multiple = 0, 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([20 * (x - 0.5), 0 * x], 1)


MODEL = SegmentationModel(Threshold(), Design(2, 4), ("matrix", "particles"), pixel_size_nm=10.0)


def test_a_plain_picture_is_labelled_as_predict_does() -> None:
    done = run(segment(micrograph(), SETTINGS, model=MODEL))
    plain = run(predict(MODEL, micrograph(), SETTINGS))
    np.testing.assert_array_equal(done.labels, plain.labels)
    assert done.summary == plain.summary


def test_a_bar_becomes_matrix_and_the_rest_stays() -> None:
    picture = micrograph()
    drawn = np.pad(dark_table(picture), 5, constant_values=255)
    done = run(segment(drawn, SETTINGS, model=MODEL))
    plain = run(predict(MODEL, picture, SETTINGS))
    inside = np.s_[5 : 5 + 384, 5 : 5 + 512]
    assert done.labels.shape == drawn.shape
    np.testing.assert_array_equal(done.labels[inside], plain.labels)
    np.testing.assert_allclose(done.probabilities[:, *inside], plain.probabilities)
    outside = np.ones(drawn.shape, bool)
    outside[inside] = False
    assert not done.labels[outside].any()
    assert (done.uncertainty[outside] == 1).all()
    assert done.metrics == pytest.approx(plain.metrics)
    assert "at the bottom was cut off" in done.summary


@pytest.mark.parametrize("draw", [scale_bar, label_box])
def test_an_annotation_becomes_matrix_and_counts_in_no_share(draw) -> None:  # type: ignore[no-untyped-def]
    picture = micrograph((480, 640))
    drawn, (y0, y1, x0, x1) = draw(picture)
    done = run(segment(drawn, SETTINGS, model=MODEL))
    plain = run(predict(MODEL, picture, SETTINGS))
    assert not done.labels[y0:y1, x0:x1].any()
    assert (done.labels != plain.labels).mean() < 0.03
    assert done.metrics["particles"] == pytest.approx(plain.metrics["particles"], abs=0.01)
    kept = run(segment(drawn, SETTINGS, model=MODEL, crop_bars=False))
    assert kept.labels.shape == drawn.shape
    assert "annotation" not in kept.summary


def test_particles_are_placed_in_the_whole_picture() -> None:
    picture = micrograph()
    drawn = np.pad(picture, ((20, 0), (30, 0)), constant_values=255)
    settings = SETTINGS.model_copy(update={"particles": True})
    done = run(segment(drawn, settings, model=MODEL, pixel_size_nm=10.0))
    parts = done.particles
    assert parts is not None
    assert parts.instances.shape == drawn.shape
    alone = particles(run(predict(MODEL, picture, SETTINGS)).labels, pixel_size_nm=10.0)
    np.testing.assert_array_equal(parts.instances[20:, 30:], alone.instances)
    for axis, start in (("y", 20), ("x", 30)):
        shift = parts.table[f"centroid_{axis}_nm"] - alone.table[f"centroid_{axis}_nm"]
        assert shift == pytest.approx(10.0 * start)
    np.testing.assert_array_equal(parts.table["touches_edge"], alone.table["touches_edge"])


def test_a_stack_keeps_its_shape_and_loses_its_bars() -> None:
    planes = [dark_table(micrograph(seed=seed)) for seed in range(3)]
    done = run(segment(np.stack(planes), SETTINGS, model=MODEL))
    assert done.labels.shape == (3, *planes[0].shape)
    assert not done.labels[:, 384:].any()
    plain = run(predict(MODEL, micrograph(seed=2), SETTINGS))
    np.testing.assert_array_equal(done.labels[2, :384], plain.labels)
