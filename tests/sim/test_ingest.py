"""Raw stacks are checked once, and refused or doubted in one clear sentence."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.ndimage

from napari_physgen.errors import UserError
from napari_physgen.sim import SimSettings
from napari_physgen.sim.ingest import ingest

SETTINGS = SimSettings(na=1.4, wavelength_nm=525, pixel_size_nm=65)


@pytest.fixture
def raw() -> np.ndarray:
    rng = np.random.default_rng(0)
    image = scipy.ndimage.gaussian_filter(rng.random((9, 80, 96)) ** 30, (0, 2, 2))
    return rng.poisson(100 + 4000 * image).astype(np.uint16)


def refused(raw: object, settings: SimSettings = SETTINGS) -> str:
    """Return the one sentence with which a stack is refused."""
    with pytest.raises(UserError) as caught:
        ingest(raw, settings)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert not re.search(r"[.!?] [A-Z]", sentence)
    return sentence


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float16, np.float64, ">u2"])
def test_any_real_number_type_becomes_float32_frames(raw: np.ndarray, dtype: str) -> None:
    values = np.minimum(raw, 250).astype(dtype)
    values[:, 0, 0] = 120 - np.arange(9)
    stack = ingest(np.clip(values, 90, 120 + raw % 80).astype(dtype), SETTINGS)
    assert stack.frames.dtype == np.float32
    assert stack.frames.shape == (9, 80, 96)


def test_grey_levels_are_left_alone(raw: np.ndarray) -> None:
    assert np.array_equal(ingest(raw, SETTINGS).frames, raw)


def test_a_sound_stack_raises_no_doubts(raw: np.ndarray) -> None:
    assert ingest(raw, SETTINGS).warnings == ()


def test_wrong_number_of_frames_says_what_would_fit(raw: np.ndarray) -> None:
    sentence = refused(np.concatenate([raw, raw[:6]]))
    assert "15 frames" in sentence
    assert "3 x 5 or 5 x 3" in sentence
    assert "no number of angles" in refused(raw[:7])


def test_four_axes_tell_the_frame_order(raw: np.ndarray) -> None:
    settings = SETTINGS.model_copy(update={"phases": 4})
    stack = np.concatenate([raw, raw[:3]])
    by_angle = stack.reshape(3, 4, 80, 96)
    assert ingest(by_angle, settings).order == "angle-phase"
    swapped = ingest(by_angle.swapaxes(0, 1), settings)
    assert swapped.order == "phase-angle"
    assert np.array_equal(swapped.by_angle(swapped.order), by_angle)
    assert "2 and 6" in refused(stack.reshape(2, 6, 80, 96), settings)


def test_equal_numbers_leave_the_order_to_the_settings(raw: np.ndarray) -> None:
    assert ingest(raw.reshape(3, 3, 80, 96), SETTINGS).order == "auto"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_frames_with_missing_values_are_named(raw: np.ndarray, value: float) -> None:
    broken = raw.astype(float)
    broken[[1, 4], 5, 5] = value
    assert "Frames 2, 5 are not finite" in refused(broken)


def test_constant_frames_are_named(raw: np.ndarray) -> None:
    raw[6] = 100
    assert "Frame 7 is constant" in refused(raw)


def test_many_saturated_pixels_are_refused_and_few_are_mentioned(raw: np.ndarray) -> None:
    assert "saturated" in refused(np.minimum(raw, int(np.quantile(raw, 0.8))))
    few = ingest(np.minimum(raw, int(np.quantile(raw, 0.99))), SETTINGS)
    assert any("saturated" in warning for warning in few.warnings)


def test_small_frames_are_refused(raw: np.ndarray) -> None:
    assert "80 x 63 pixels" in refused(raw[..., :63])


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda raw: raw > 110, "mask"),
        (lambda raw: raw * 1j, "real numbers"),
        (lambda raw: np.array([["a"]]), "real numbers"),
        (lambda raw: np.stack([raw] * 3, -1), "RGB"),
        (lambda raw: raw[0], "axes"),
        (lambda raw: raw[None, None], "axes"),
    ],
    ids=["bool", "complex", "text", "RGB", "2-D", "5-D"],
)
def test_what_is_no_raw_stack_is_refused(raw: np.ndarray, make, word: str) -> None:
    assert word in refused(make(raw))


def test_interpolated_frames_are_doubted(raw: np.ndarray) -> None:
    doubled = scipy.ndimage.zoom(raw.astype(float), (1, 2, 2), order=3)
    for stack in (doubled, doubled.round().clip(0).astype(np.uint16)):
        assert any("interpolated" in warning for warning in ingest(stack, SETTINGS).warnings)


def test_strong_bleaching_is_mentioned(raw: np.ndarray) -> None:
    fading = raw * np.linspace(1, 0.5, 9)[:, None, None]
    assert any("darker" in warning for warning in ingest(fading, SETTINGS).warnings)
