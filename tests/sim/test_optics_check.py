"""Frames contradict a wrong NA, wavelength or pixel size, and never the right ones."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import tifffile

from napari_physgen.sim import SimSettings
from napari_physgen.sim.optics_check import doubts, spectral_support
from napari_physgen.sim.simulate import filaments, simulate


@cache
def frames(photons: float) -> np.ndarray:
    settings = SimSettings(na=1.4, wavelength_nm=525, pixel_size_nm=65)
    return simulate(filaments((256, 256), 3), settings, photons, seed=1)


@pytest.mark.parametrize("photons", [5, 50, 500])
def test_the_right_values_are_never_doubted(photons: float) -> None:
    assert doubts(frames(photons), 1.4, 525, 65) == ()


@pytest.mark.parametrize("wrong", [(1.2, 525, 65), (1.4, 620, 65), (1.4, 525, 54)])
def test_detail_beyond_the_cutoff_contradicts(wrong: tuple[float, float, float]) -> None:
    (sentence,) = doubts(frames(50), *wrong)
    assert "one of the three is wrong" in sentence


def test_bright_frames_that_end_early_are_doubted() -> None:
    noise = np.random.default_rng(0).standard_normal(frames(500).shape)
    blurred = scipy.ndimage.gaussian_filter(frames(500).astype(float), (0, 4, 4)) + noise
    (sentence,) = doubts(blurred, 1.4, 525, 65)
    assert "check the three and the focus" in sentence


def test_brighter_frames_show_more_of_the_support() -> None:
    cutoff = 2000 * 1.4 / 525
    faint, bright = (spectral_support(frames(photons), 65)[0] for photons in (5, 500))
    assert 0.6 * cutoff < faint < bright < 1.03 * cutoff


def test_pixels_that_leave_no_room_beyond_the_cutoff_leave_no_doubt() -> None:
    assert doubts(frames(50), 1.49, 500, 82) == ()


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("tirf_rzcao_microtubules/rzcao_TIRF_MT_raw9_APyx.tif", (1.49, 660, 86.67)),
        ("biosr_mt_levels/BioSR_MT_cell001_level09_crop007_raw9.tif", (1.41, 525, 62.6)),
        ("biosr_mt_levels/BioSR_MT_cell001_level01_crop007_raw9.tif", (1.41, 525, 62.6)),
    ],
)
def test_measured_frames_do_not_contradict_their_microscope(
    data: Path, name: str, values: tuple[float, float, float]
) -> None:
    assert doubts(tifffile.imread(data / "sim" / name), *values) == ()
