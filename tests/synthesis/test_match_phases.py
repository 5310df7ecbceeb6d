"""Phases found in micrographs, without labels and from strokes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter
from skimage.filters import threshold_otsu
from skimage.io import imread

from napari_physgen.backend import run
from napari_physgen.errors import UserError
from napari_physgen.metrics.microstructure import characteristic_length
from napari_physgen.synthesis._match_images import find_phases
from napari_physgen.synthesis._match_phases import find_steps, integrate, matrix_is_bright
from napari_physgen.synthesis.calibration_settings import CalibrationSettings

AUTO = CalibrationSettings()


def structure(size: int = 256, period: float = 48, fraction: float = 0.45) -> np.ndarray:
    """Random blobs, true in the particles."""
    k = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)) * period
    noise = np.random.default_rng(1).standard_normal((size, size))
    field = np.fft.ifft2(np.fft.fft2(noise) * np.exp(-0.5 * ((k - 1) / 0.3) ** 2)).real
    return field > np.quantile(field, 1 - fraction)


def micrograph(mask: np.ndarray) -> np.ndarray:
    """Dark particles with bright rims, under uneven light and noise, as SEM shows them."""
    random = np.random.default_rng(2)
    rim = np.where(mask, 0, 1.5 * np.exp(-distance_transform_edt(~mask) / 5))
    picture = gaussian_filter(~mask + rim, 0.8)
    light = gaussian_filter(random.standard_normal(mask.shape), 40)
    return picture + 1.5 * light / light.std() + 0.1 * random.standard_normal(mask.shape)


def strokes(mask: np.ndarray) -> np.ndarray:
    """A few horizontal strokes in either phase, well inside."""
    labels = np.zeros(mask.shape, np.uint8)
    for value, phase in ((1, ~mask), (2, mask)):
        deep = distance_transform_edt(phase) > 5
        for y in range(20, mask.shape[0], 50):
            labels[y, deep[y]] = value
    return labels


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_integration_inverts_differences() -> None:
    picture = np.random.default_rng(0).standard_normal((37, 52))
    found = integrate(np.diff(picture, axis=0), np.diff(picture, axis=1))
    assert found - found.mean() == pytest.approx(picture - picture.mean(), abs=1e-10)


def test_phases_are_found_under_rims_and_uneven_light_where_a_threshold_fails() -> None:
    mask = structure()
    image = micrograph(mask)
    dark = find_steps(image).level < 0
    assert overlap(dark, mask) > 0.93
    assert overlap(image < threshold_otsu(image), mask) < 0.6
    assert characteristic_length(dark) == pytest.approx(characteristic_length(mask), rel=0.03)


def test_phases_of_the_negative_are_the_other_ones() -> None:
    image = micrograph(structure())
    level = find_steps(image).level
    assert find_steps(300 - 7 * image).level == pytest.approx(-7 * level, abs=1e-6)


def test_large_images_are_reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_physgen.synthesis._match_phases.LARGEST_SIDE", 128)
    mask = structure(257)
    level, scale = find_steps(micrograph(mask))
    assert (scale, level.shape) == (2, (128, 128))
    (found,), _ = run(find_phases([micrograph(mask)], None, AUTO))
    assert overlap(found, mask) > 0.85


def test_particles_are_the_phase_that_hangs_together_less() -> None:
    y, x = np.mgrid[:200, :200]
    discs = ((y % 40 - 20) ** 2 + (x % 40 - 20) ** 2) < 12**2
    assert matrix_is_bright(discs)
    assert not matrix_is_bright(~discs)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((100, 100)), "flat"),
        (np.random.default_rng(0).standard_normal((200, 150)), "only noise"),
        (np.mgrid[:128, :128][0] + np.random.default_rng(0).random((128, 128)), "only noise"),
        (np.eye(40), "too small"),
        (np.zeros((4, 100, 100)), "two-dimensional"),
        (np.full((100, 100), np.nan), "without a number"),
    ],
    ids=["flat", "noise", "shading", "small", "3-D", "NaN"],
)
def test_images_that_show_nothing_are_refused(image: np.ndarray, words: str) -> None:
    with pytest.raises(UserError, match=words):
        run(find_phases([image], None, AUTO))


def test_strokes_tell_apart_the_phases_found_by_edges() -> None:
    mask = structure()
    image = -micrograph(mask)
    (found,), how = run(find_phases([image], [strokes(mask)], AUTO))
    assert overlap(found, mask) > 0.93
    assert "told by the strokes" in how


def test_strokes_teach_phases_that_differ_in_texture_only() -> None:
    mask = structure()
    random = np.random.default_rng(0)
    image = np.where(mask, 0.3, 1.0) * random.standard_normal(mask.shape)
    (found,), how = run(find_phases([image], [strokes(mask)], AUTO))
    assert overlap(found, mask) > 0.75
    assert "learned from the strokes" in how


def test_strokes_on_one_image_teach_the_others() -> None:
    mask = structure()
    image = micrograph(mask)
    (_, found), _ = run(find_phases([image, image[:, ::-1]], [strokes(mask), None], AUTO))
    assert overlap(found, mask[:, ::-1]) > 0.9


@pytest.mark.parametrize("values", [(0, 1), (1, 2), (0, 255)])
def test_full_masks_are_taken_as_they_are(values: tuple[int, int]) -> None:
    mask = structure()
    (found,), how = run(find_phases([mask * 1.0], [np.where(mask, *values[::-1])], AUTO))
    assert (found == mask).all()
    assert "mask" in how


def labelled(**strokes_at: int) -> np.ndarray:
    labels = np.zeros((256, 256), np.uint8)
    for row, value in enumerate(strokes_at.values()):
        labels[row * 20] = value
    return labels


@pytest.mark.parametrize(
    ("labels", "settings", "words"),
    [
        ([np.ones((9, 9))], AUTO, "shape"),
        ([labelled()], AUTO, "one class"),
        ([labelled(particles=2)], AUTO, "Only particles"),
        ([labelled(matrix=1)], AUTO.model_copy(update={"labels_are": "strokes"}), "Both phases"),
        ([labelled(matrix=1)] * 2, AUTO, "2 label layers"),
    ],
    ids=["shape", "empty", "particles only", "matrix only", "number"],
)
def test_labels_that_do_not_help_are_refused(
    labels: list[np.ndarray], settings: CalibrationSettings, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        run(find_phases([micrograph(structure())], labels, settings))


@pytest.mark.data
def test_length_and_fraction_of_a_superalloy_come_out_without_labels(data: Path) -> None:
    """One of the images that nothing was chosen on."""
    folder = data / "sem/nasa_super"
    image, mask = (imread(folder / part / "spot6_180d_7.png") for part in ("images", "masks"))
    (found,), how = run(find_phases([image], None, AUTO))
    assert "dark particles" in how
    assert found.mean() == pytest.approx((mask > 0).mean(), abs=0.05)
    assert characteristic_length(found) == pytest.approx(characteristic_length(mask > 0), rel=0.1)
