"""Whatever is wrong with the input: one clear sentence, at once, and the input as it was."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import zoom
from sim_sample import PATTERNS, SETTINGS, SIZE, expected, recorded

from napari_physgen.backend import run
from napari_physgen.backend.job import Progress
from napari_physgen.errors import UserError
from napari_physgen.sim import SimSettings, estimate_patterns, reconstruct

QUICK = SETTINGS.model_copy(update={"method": "wiener"})


@pytest.fixture
def raw() -> np.ndarray:
    return np.rint(recorded(expected(300))).astype(np.uint16).reshape(9, SIZE, SIZE)


def with_nan(raw: np.ndarray) -> np.ndarray:
    broken = raw.astype(float)
    broken[3, 10, 10] = np.nan
    return broken


def with_a_constant_frame(raw: np.ndarray) -> np.ndarray:
    return np.where(np.arange(9)[:, None, None] == 4, 100, raw)


BAD_STACKS = [
    pytest.param(lambda raw: raw[:8], "The stack has 8 frames", id="number of frames"),
    pytest.param(with_nan, "Frame 4 is not finite", id="NaN"),
    pytest.param(with_a_constant_frame, "Frame 5 is constant", id="constant"),
    pytest.param(np.zeros_like, "constant", id="empty"),
    pytest.param(lambda raw: raw.clip(0, 600), "saturated", id="saturated"),
    pytest.param(lambda raw: raw[:, :60], "60 x 64 pixels", id="small"),
    pytest.param(lambda raw: raw > 200, "mask", id="mask"),
    pytest.param(lambda raw: np.stack([raw[0]] * 3, -1), "RGB", id="RGB"),
]


@pytest.mark.parametrize("job", [reconstruct, estimate_patterns])
@pytest.mark.parametrize(("spoil", "says"), BAD_STACKS)
def test_bad_stacks_are_refused_before_any_work(
    raw: np.ndarray, spoil: Callable[[np.ndarray], np.ndarray], says: str, job: Callable
) -> None:
    stack = spoil(raw)
    before = stack.copy()
    told: list[Progress] = []
    assert says in sentence(lambda: run(job(stack, SETTINGS), told.append))
    assert told == []
    np.testing.assert_array_equal(stack, before)


BAD_LIGHT = [
    pytest.param(np.ones((9, 100, 100)), "128 x 128 pixels (the result)", id="size"),
    pytest.param(np.ones((8, 128, 128)), "9 frames", id="number"),
    pytest.param(np.ones((128, 128)), "9 frames", id="axes"),
    pytest.param(np.full((9, 128, 128), np.nan), "finite", id="NaN"),
    pytest.param(-np.ones((9, 128, 128)), "0 or more", id="negative"),
    pytest.param(np.zeros((9, 128, 128)), "0 or more", id="dark"),
]


@pytest.mark.parametrize(("light", "says"), BAD_LIGHT)
def test_impossible_illumination_is_refused(raw: np.ndarray, light: np.ndarray, says: str) -> None:
    before = raw.copy()
    assert says in sentence(lambda: run(reconstruct(raw, SETTINGS, light)))
    np.testing.assert_array_equal(raw, before)


def test_patterns_of_another_number_of_frames_are_refused(raw: np.ndarray) -> None:
    fewer = replace(PATTERNS, phases=PATTERNS.phases[:2], wavevectors=PATTERNS.wavevectors[:2])
    found = sentence(lambda: run(reconstruct(raw, SETTINGS, fewer)))
    assert "2 angles x 3 phases" in found


def test_a_wiener_image_of_known_frames_is_refused_with_what_to_choose(raw: np.ndarray) -> None:
    found = sentence(lambda: run(reconstruct(raw, QUICK, np.ones((9, 128, 128)))))
    assert "variational" in found


def test_a_bad_otf_is_refused(raw: np.ndarray) -> None:
    found = sentence(lambda: run(reconstruct(raw, SETTINGS, PATTERNS, np.ones((5, 5, 5)))))
    assert "OTF" in found


MICROSCOPE = {"na": 1.4, "wavelength_nm": 525, "pixel_size_nm": 65}
BAD_SETTINGS = [
    pytest.param({"pixel_size_nm": 120}, "pixels of 120 nm are too coarse", id="Nyquist"),
    pytest.param({"wavelength_nm": 0.525}, "write 525 for 0.525 um", id="wavelength in um"),
    pytest.param({"pixel_size_nm": 0.065}, "write 65 for 0.065 um", id="pixel in um"),
    pytest.param({"na": 2.4}, "NA", id="NA"),
    pytest.param({"phases": 2}, "Phases", id="phases"),
    pytest.param({"zooom": 2}, "no setting 'zooom'", id="unknown"),
]


@pytest.mark.parametrize(("wrong", "says"), BAD_SETTINGS)
def test_impossible_settings_are_refused(wrong: dict[str, object], says: str) -> None:
    found = sentence(lambda: SimSettings.parse(MICROSCOPE | wrong))
    assert says.lower() in found.lower()


def test_interpolated_frames_are_reconstructed_with_a_warning(raw: np.ndarray) -> None:
    doubled = zoom(raw.astype(float), (1, 2, 2), order=3)
    settings = QUICK.model_copy(update={"pixel_size_nm": 40})
    result = run(reconstruct(doubled, settings))
    assert "look interpolated" in result.summary
    assert "interpolated" not in run(reconstruct(raw, QUICK, PATTERNS)).summary


def test_a_few_saturated_pixels_are_mentioned_in_the_summary(raw: np.ndarray) -> None:
    clipped = np.minimum(raw, int(np.quantile(raw, 0.99)))
    assert "saturated" in run(reconstruct(clipped, QUICK, PATTERNS)).summary


def sentence(action: Callable[[], object]) -> str:
    """Return the one sentence with which `action` is refused."""
    with pytest.raises(UserError) as caught:
        action()
    words = str(caught.value)
    assert words.endswith(".")
    assert not re.search(r"[.!?] [A-Z]", words)
    return words
