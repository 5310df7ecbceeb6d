"""The order in which raw frames were written is found, whatever microscope wrote them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import tifffile

from napari_physgen.backend import run
from napari_physgen.errors import UserError
from napari_physgen.sim import SimSettings, reconstruct
from napari_physgen.sim._order_score import Score
from napari_physgen.sim.frame_order import (
    FrameOrder,
    Scored,
    _confidence,
    arrange,
    candidates,
    find_order,
)
from napari_physgen.sim.ingest import ingest
from napari_physgen.sim.settings import Order
from napari_physgen.sim.simulate import default_patterns, filaments, simulate

SIZE = 80
SETTINGS = SimSettings(na=1.4, wavelength_nm=525, pixel_size_nm=80)
ORDERS = get_args(Order)[1:]


@cache
def planes(count: int, phases: int = 3, photons: float = 30) -> np.ndarray:
    """Frames (z, angle, phase, y, x); neighbouring planes share two thirds of their structure."""
    settings = SETTINGS.model_copy(update={"phases": phases})
    patterns = default_patterns(settings, count + phases, 0.6)
    stack, before = [], None
    for z in range(count):
        sample = filaments((2 * SIZE, 2 * SIZE), seed=10 * phases + z)
        sample = sample if before is None else 0.35 * sample + 0.65 * before
        before = sample
        frames = simulate(sample, settings, photons, seed=z, patterns=patterns)
        stack.append(frames.reshape(3, phases, SIZE, SIZE))
    return np.stack(stack)


def written(stack: np.ndarray, order: str) -> np.ndarray:
    """Write frames (z, angle, phase, y, x) as a microscope of that order does."""
    words = order.split("-")
    if words[0] == "montage":
        rows = stack[0] if words[1] == "angle" else stack[0].swapaxes(0, 1)
        return np.block([list(row) for row in rows])
    names = [w for w in words if w != "widefield"]
    names = names if "z" in names else ["z", *names]
    axes = [("z", "angle", "phase").index(name) for name in names]
    frames = stack.transpose(*axes, 3, 4)
    if "widefield" in words:
        blocks = list(frames.reshape(len(stack), -1, SIZE, SIZE))
        light = stack.mean((1, 2))
        plain = [np.random.default_rng(0).poisson(p)[None] for p in light]
        pairs = (
            zip(plain, blocks, strict=True)
            if words[0] == "widefield"
            else zip(blocks, plain, strict=True)
        )
        return np.concatenate([part for pair in pairs for part in pair])
    return frames.reshape(-1, SIZE, SIZE)


def case(order: str, phases: int) -> tuple[np.ndarray, np.ndarray, SimSettings]:
    """Return the frames as written, as they were, and the settings."""
    stack = planes(4 if "z" in order.split("-") else 1, phases)
    return written(stack, order), stack, SETTINGS.model_copy(update={"phases": phases})


def found(raw: np.ndarray, settings: SimSettings) -> FrameOrder:
    return run(find_order(raw, settings))


@pytest.mark.parametrize("phases", [3, 5])
@pytest.mark.parametrize("order", ORDERS)
def test_sorting_undoes_each_order(order: str, phases: int) -> None:
    raw, stack, settings = case(order, phases)
    expected = stack.reshape(-1, 3 * phases, SIZE, SIZE)
    sorted_frames = arrange(raw, order, settings)
    assert np.array_equal(sorted_frames, expected if len(stack) > 1 else expected[0])


@pytest.mark.parametrize(
    ("order", "phases"),
    [*((order, 3) for order in ORDERS), *((o, 5) for o in ORDERS if "angle-z" in o or "wide" in o)],
)
def test_the_order_is_found_at_moderate_dose(order: str, phases: int) -> None:
    """30 photons per pixel, modulation 0.6."""
    raw, _, settings = case(order, phases)
    result = found(raw, settings)
    assert result.order == order
    assert not result.confidence.startswith("not clear")


def test_planes_or_times_may_be_slowest_without_being_named() -> None:
    raw = written(planes(4), "phase-angle")
    assert arrange(raw, "phase-angle", SETTINGS).shape == (4, 9, SIZE, SIZE)
    assert found(raw, SETTINGS).order == "phase-angle"


def test_a_time_lapse_of_two_is_not_taken_for_planes_of_each_angle() -> None:
    """Sorted as planes of each angle, its planes show three pure patterns each, but others."""
    patterns = default_patterns(SETTINGS, 5, 0.6)
    sample = filaments((2 * SIZE, 2 * SIZE), seed=5)
    times = [
        simulate(np.roll(sample, time, 0), SETTINGS, 30, 500 + time, patterns) for time in range(2)
    ]
    result = found(np.concatenate(times), SETTINGS)
    assert result.order == "angle-phase"
    assert result.confidence == "clear"


def test_a_lead_is_clear_only_if_it_is_a_good_part_of_the_score() -> None:
    def entry(order: str, evidence: float) -> Scored:
        return Scored(order, Score(evidence, 1.0, 1.0, 3), 1)

    table = [entry("angle-phase", 2000.0), entry("angle-z-phase", 1960.0)]
    assert _confidence(table, 3).startswith("likely")
    assert _confidence([table[0], entry("angle-z-phase", 1500.0)], 3) == "clear"


def test_axes_in_front_of_the_frames_stay() -> None:
    raw = np.zeros((2, 5, 9, 12, 10))
    assert arrange(raw, "phase-angle", SETTINGS).shape == (2, 5, 9, 12, 10)
    assert arrange(raw.reshape(2, 5, 3, 3, 12, 10), "angle-phase", SETTINGS).shape == raw.shape
    assert arrange(np.zeros((2, 36, 30)), "montage-angle-phase", SETTINGS).shape == (2, 9, 12, 10)


def test_frames_without_a_pattern_give_no_confidence() -> None:
    rng = np.random.default_rng(1)
    light = 100 + 60 * filaments((SIZE, SIZE), seed=4)
    result = found(rng.poisson(np.broadcast_to(light, (9, SIZE, SIZE))).astype(np.uint16), SETTINGS)
    assert result.confidence.startswith("not clear")


def test_only_orders_that_fit_the_shape_are_tried() -> None:
    assert candidates((9, 80, 80), SETTINGS) == ["angle-phase", "phase-angle"]
    assert candidates((10, 80, 80), SETTINGS) == [n for n in ORDERS if "wide" in n]
    assert candidates((240, 300), SETTINGS) == ["montage-angle-phase", "montage-phase-angle"]
    wide = SETTINGS.model_copy(update={"phases": 5})
    assert candidates((240, 500), wide) == ["montage-angle-phase"]
    assert "angle-z-phase" in candidates((27, 80, 80), SETTINGS)
    with pytest.raises(UserError, match="no 3 angles x 3 phases"):
        found(np.zeros((7, 80, 80)), SETTINGS)


def test_the_table_and_the_spectra_let_one_look() -> None:
    raw, _, settings = case("phase-angle", 3)
    result = found(raw, settings)
    assert [entry.order for entry in result.table] == ["phase-angle", "angle-phase"]
    assert result.metrics["phase-angle"] > result.metrics["angle-phase"]
    assert "next angle-phase" in result.summary
    (spectra,) = result.outputs()
    assert spectra.data.shape == (3, SIZE, SIZE)


@pytest.mark.parametrize("order", [o for o in ORDERS if "montage" in o or "widefield" in o])
def test_one_plane_in_any_order_can_be_reconstructed(order: str) -> None:
    raw, stack, settings = case(order, 5)
    taken = ingest(raw, settings.model_copy(update={"order": order}))
    assert np.array_equal(taken.by_angle(taken.order), stack[0])


def test_auto_reconstructs_planes_in_any_order() -> None:
    raw, stack, _ = case("angle-z-phase", 3)
    settings = SETTINGS.model_copy(update={"method": "wiener", "zoom": 1})
    result = run(reconstruct(raw, settings))
    assert result.image.shape == (4, SIZE, SIZE)
    assert "Frame order angle-z-phase (clear)" in result.summary
    alone = run(reconstruct(stack[1].reshape(9, SIZE, SIZE), settings))
    same = np.corrcoef(result.image[1].ravel(), alone.image.ravel())[0, 1]
    others = np.corrcoef(result.image[3].ravel(), alone.image.ravel())[0, 1]
    assert same > 0.98
    assert others < same


def test_what_does_not_divide_is_refused_in_words() -> None:
    with pytest.raises(UserError, match="no multiple of 9"):
        arrange(np.zeros((10, 8, 8)), "angle-phase", SETTINGS)
    with pytest.raises(UserError, match="no montage of 3 x 3"):
        arrange(np.zeros((80, 90)), "montage-angle-phase", SETTINGS)
    several = SETTINGS.model_copy(update={"order": "angle-z-phase"})
    with pytest.raises(UserError, match="4 planes of 9 frames"):
        ingest(written(planes(4), "angle-z-phase"), several)
    with pytest.raises(UserError, match="begins with 'montage'"):
        ingest(np.zeros((240, 240)), SETTINGS)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("tirf_rzcao_microtubules/rzcao_TIRF_MT_raw9_APyx.tif", (1.49, 660, 86.67)),
        ("tirf_rdl_microtubules/rDL_TIRF_MT_raw9_APyx.tif", (1.41, 525, 62.6)),
        ("biosr_mt_levels/BioSR_MT_cell001_level09_crop007_raw9.tif", (1.41, 525, 62.6)),
    ],
)
@pytest.mark.parametrize("order", ["angle-phase", "phase-angle", "montage-phase-angle"])
def test_measured_stacks_are_sorted_back(
    data: Path, name: str, settings: tuple[float, float, float], order: str
) -> None:
    frames = tifffile.imread(data / "sim" / name)
    stack = frames.reshape(1, 3, 3, *frames.shape[1:])
    raw = frames.reshape(3, 3, *frames.shape[1:]).swapaxes(0, 1)
    if order == "angle-phase":
        raw = frames
    elif order == "phase-angle":
        raw = raw.reshape(frames.shape)
    else:
        raw = np.block([list(row) for row in stack[0].swapaxes(0, 1)])
    na, wavelength, pixel = settings
    microscope = SimSettings(na=na, wavelength_nm=wavelength, pixel_size_nm=pixel)
    assert found(raw, microscope).order == order
