"""Fields in tiles: the image of the whole field, without a seam, under the same commands."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sim_sample import CAMERA, SETTINGS

from napari_physgen.backend import Job, run
from napari_physgen.backend.job import Progress, Stop, Tune
from napari_physgen.metrics.image import compare
from napari_physgen.physics.optics import Otf
from napari_physgen.sim import (
    Reconstruction,
    SimSettings,
    illumination,
    pinn,
    reconstruct,
    speckle,
    variational,
)
from napari_physgen.sim.case import Case
from napari_physgen.sim.infer import Inference
from napari_physgen.sim.light import speckle as random_light
from napari_physgen.sim.measurement import Measurement
from napari_physgen.sim.model import SimModel
from napari_physgen.sim.mosaic import HALO, Mosaic, cut, finer
from napari_physgen.sim.scene import first_guess
from napari_physgen.sim.simulate import default_patterns, filaments, simulate
from napari_physgen.sim.tiled import SMALLEST, TILE, WHOLE, tile_size
from napari_physgen.sim.views import View

SHAPE = 64, 160
TILES = 3
PATTERNS = default_patterns(SETTINGS, 3)


def using(**changes: object) -> SimSettings:
    """Tiles of 128 px: three of 64 x 118."""
    return SETTINGS.model_copy(update={"tile": 128, "iterations": 24, **changes})


@pytest.fixture(scope="module", autouse=True)
def quick_networks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pinn, "REFIT", 5)
        patch.setattr("napari_physgen.sim.tiled.TEACHERS", (1.0,))
        yield


@pytest.fixture(scope="module")
def raw() -> np.ndarray:
    return simulate(filaments((128, 320), seed=4), SETTINGS, 100, 4, PATTERNS)


@pytest.fixture(scope="module")
def whole(raw: np.ndarray) -> Reconstruction:
    return run(reconstruct(raw, using(tile=None), PATTERNS))


@pytest.fixture(scope="module")
def tiled(raw: np.ndarray) -> Reconstruction:
    return run(reconstruct(raw, using(), PATTERNS))


def test_tiles_cover_every_pixel_once_and_are_about_equal() -> None:
    for shape, size in (((64, 160), 128), ((2048, 2048), 512), ((769, 300), 512), ((100, 97), 96)):
        covered = np.zeros(shape, int)
        tiles = cut(shape, size)
        for tile in tiles:
            covered[tile.place] += 1
            assert all(part.stop - part.start <= size for part in tile.read)
        assert (covered == 1).all()
        heights = [tile.place[0].stop - tile.place[0].start for tile in tiles]
        assert max(heights) - min(heights) <= len(tiles)


def test_blended_parts_of_a_picture_are_the_picture() -> None:
    picture = np.random.default_rng(0).random((2 * 130, 2 * 200), np.float32)
    mosaic = Mosaic((130, 200), 2)
    for tile in cut((130, 200), 96):
        y, x = (finer(part, 2) for part in tile.read)
        mosaic.add(tile, picture[y, x])
    np.testing.assert_allclose(mosaic.image(), picture, rtol=1e-5)


def test_what_lies_at_the_edge_of_a_tile_is_not_used() -> None:
    """Within 16 raw px of a neighbour's side nothing shows, at the ends of the field it does."""
    mosaic = Mosaic((64, 160), 1)
    left = cut((64, 160), 128)[0]
    bright = np.ones((64, left.read[1].stop), np.float32)
    bright[:, -16:] = 1e6
    mosaic.add(left, bright)
    assert mosaic.image().max() == pytest.approx(1, rel=1e-5)
    assert (mosaic.image()[:, :8] == 1).all()


def test_the_light_of_a_tile_is_that_of_its_part_of_the_field() -> None:
    """Phase kept exactly: frames of a tile are the cut frames of the whole field."""
    otf = Otf.ideal(SETTINGS.na, SETTINGS.wavelength_nm)
    frames = np.zeros((3, 3, 96, 128), np.float32)
    case = Case(frames, PATTERNS, otf, CAMERA, SETTINGS)
    part = case.cropped(slice(17, 81), slice(30, 101))
    cpu = torch.device("cpu")
    rho = torch.zeros(case.operator(cpu).canvas.fine_size)
    corner = np.array(case.operator(cpu).canvas.corner) * 2
    middle = corner + np.array([98, 130])
    rho[middle[0] : middle[0] + 3, middle[1] : middle[1] + 2] = 1
    operator = part.operator(cpu)
    moved = torch.zeros(operator.canvas.fine_size)
    place = middle - corner - (34, 60) + np.array(operator.canvas.corner) * 2
    moved[place[0] : place[0] + 3, place[1] : place[1] + 2] = 1
    with torch.no_grad():
        expected = case.operator(cpu)(rho)[..., 17:81, 30:101]
        found = operator(moved)
    # the rest is light from beyond the tile's canvas that wraps around
    assert float((found - expected).abs().max()) < 2e-3 * float(expected.max())


def test_tiled_image_is_that_of_the_whole_field(
    whole: Reconstruction, tiled: Reconstruction
) -> None:
    """To within a fraction of the noise, after few iterations."""
    difference = tiled.image - whole.image
    assert difference.std() < 0.025 * whole.image.std()
    assert compare(tiled.image, whole.image).psnr > 50
    assert tiled.chi2 == pytest.approx(whole.chi2, rel=0.02)
    assert f"in {TILES} tiles" in tiled.summary
    assert tiled.stage == "variational"
    np.testing.assert_allclose(tiled.residual.mean(), whole.residual.mean(), rtol=0.01)


def test_no_seam_shows(whole: Reconstruction, tiled: Reconstruction) -> None:
    """Steps across the borders of the tiles are no larger than elsewhere."""
    steps = np.abs(np.diff(tiled.image - whole.image, axis=1)).mean(0)
    borders = [2 * tile.place[1].start for tile in cut(SHAPE, 128)[1:]]
    seams = np.concatenate([steps[b - 2 : b + 2] for b in borders])
    assert seams.mean() < 2 * steps.mean()


def test_known_frames_are_cut_with_the_tiles(raw: np.ndarray) -> None:
    few = using(iterations=10)
    given = run(reconstruct(raw, few, PATTERNS.illumination(SHAPE, 2)))
    estimated = run(reconstruct(raw, few, PATTERNS))
    assert compare(given.image, estimated.image).psnr > 40


def test_the_smoothness_is_chosen_once_for_all_tiles(
    raw: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first tile takes more iterations than were asked for, the others do not."""
    for name, steps in {"APPROACH": 6, "PROBE": 4, "POLISH": 5, "REFINE": 2}.items():
        monkeypatch.setattr(variational, name, steps)
    last: dict[str, int] = {}
    settings = using(regularisation=None, iterations=13)
    job = reconstruct(raw, settings, PATTERNS)
    run(job, lambda p: last.update({p.message: p.total // TILES}))
    first, *others = (last[message] for message in last if message.startswith("tile"))
    assert len(others) == TILES - 1
    assert first > 6 + 3 * 4
    assert set(others) == {13}


def test_stop_keeps_the_solved_tiles_and_takes_the_quick_image_for_the_rest(
    raw: np.ndarray,
) -> None:
    seen: set[str] = set()

    def listener(progress: Progress) -> Stop | None:
        if progress.message.startswith("tile"):
            seen.add(progress.message)
        return Stop() if len(seen) == 2 else None

    result = run(reconstruct(raw, using(iterations=20), PATTERNS), listener)
    assert "1 of them are the Wiener image" in result.summary
    assert result.wiener is not None
    left = [i for i in range(TILES) if f"tile {i + 1} of {TILES}: variational" not in seen]
    place = cut(SHAPE, 128)[left[0]].place[1]
    inner = slice(2 * place.start + 40, 2 * place.stop - 40)
    np.testing.assert_allclose(result.image[:, inner], result.wiener[:, inner], rtol=1e-4, atol=0.1)
    assert (result.image != result.wiener).mean() > 0.5


def test_after_a_stop_the_misfit_is_that_of_the_solved_tiles(
    raw: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However badly the quick image fits that stands for the others."""
    module = importlib.import_module("napari_physgen.sim.reconstruct")
    monkeypatch.setattr(module, "wiener", lambda *_: np.full((128, 320), 1e4, np.float32))

    def listener(progress: Progress) -> Stop | None:
        if not progress.message.startswith("tile"):
            return None
        return Stop() if progress.step % (progress.total // TILES) == 20 else None

    result = run(reconstruct(raw, using(), PATTERNS), listener)
    assert f"{TILES - 1} of them are the Wiener image" in result.summary
    assert result.residual.max() > 100
    assert result.chi2 < 5


def test_tuning_starts_the_tiles_again_so_that_all_are_equally_smooth(raw: np.ndarray) -> None:
    smooth = run(reconstruct(raw, using(regularisation=1.0, iterations=10), PATTERNS))
    sent = False

    def listener(progress: Progress) -> Tune | None:
        nonlocal sent
        late = progress.message.startswith("tile") and progress.step % 10 == 0
        if late and not sent and progress.step:
            sent = True
            return Tune(regularisation=1.0)
        return None

    tuned = run(reconstruct(raw, using(iterations=10), PATTERNS), listener)
    assert sent
    assert compare(tuned.image, smooth.image).psnr > 40


def test_the_preview_shows_the_tiles_in_their_places(raw: np.ndarray) -> None:
    shapes = set()

    def listener(progress: Progress) -> Stop | None:
        if progress.message.startswith("tile") and progress.preview is not None:
            (shown,) = progress.preview()
            shapes.add(shown.data.shape)
            return Stop()
        return None

    run(reconstruct(raw, using(), PATTERNS), listener)
    assert shapes == {(128, 320)}


def test_networks_learn_on_some_tiles_and_are_judged_on_all(raw: np.ndarray) -> None:
    told: list[str] = []
    settings = using(method="pinn", network_steps=10, iterations=10)
    result = run(reconstruct(raw, settings, PATTERNS), lambda p: told.append(p.message))
    assert result.stage in ("variational", "pinn")
    assert result.std is not None
    assert (result.std > 0).all()
    assert result.image.shape == result.std.shape == (128, 320)
    assert "misfit" in result.summary
    assert sum(message.startswith("network 1 of 1") for message in told) == 11
    assert {m for m in told if "leaving out part 1" in m} == {
        f"tile {i} of {TILES}: network: leaving out part 1 of 4" for i in range(1, TILES + 1)
    }


def test_other_methods_run_tile_by_tile(raw: np.ndarray) -> None:
    quick = run(reconstruct(raw, using(method="wiener"), PATTERNS))
    assert quick.wiener is not None
    assert quick.summary.startswith(f"Wiener image in {TILES} tiles: held-out misfit ")
    np.testing.assert_allclose(quick.image, quick.wiener, rtol=1e-4, atol=0.05)


def test_a_trained_network_says_how_all_tiles_fit_and_what_is_new_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With an image from nowhere: the words are those of the field, not those of a tile."""

    def quick(case: Case, _: SimModel, device: torch.device) -> Job[Inference]:
        yield Progress(0, 1, "trained network")
        measurement = Measurement.of(case.frames, case.camera, 0, device)
        scene = first_guess(case.operator(device), measurement)
        view = View(scene.operator, measurement, *4 * (scene.u,))
        return Inference(view, scene.rho(), scene.rho(), "Trained network: misfit 1.234. New: 5.")

    module = importlib.import_module("napari_physgen.sim.reconstruct")
    monkeypatch.setattr(module, "infer", quick)
    bright = simulate(filaments((128, 320), seed=4), SETTINGS, 2000, 4, PATTERNS)
    result = run(reconstruct(bright, using(method="trained"), PATTERNS))
    assert result.summary.startswith(
        f"Trained network in {TILES} tiles: held-out misfit {result.chi2:.3f} (1 = noise). New to "
        "the model: photons per pixel of 2e+03 instead of"
    )
    assert result.summary.count("New") == 1


def test_unknown_speckle_is_found_in_every_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Image and light, from few frames and in few steps."""
    monkeypatch.setattr(illumination, "FEWEST", 6)
    for stage in ("DECONVOLVE", "LIGHT", "TOGETHER"):
        monkeypatch.setattr(speckle, stage, 4)
    settings = using(pattern="speckle", angles=1, phases=6)
    light = random_light((128, 320), settings, 6, 1)
    raw = simulate(filaments((128, 320), seed=4), settings, 100, 4, light)
    told: list[str] = []
    result = run(reconstruct(raw, settings), lambda p: told.append(p.message))
    assert {m for m in told if "speckle" in m} == {
        f"tile {i} of {TILES}: speckle (experimental)" for i in range(1, TILES + 1)
    }
    assert result.summary.startswith(
        f"Experimental, the light was unknown. Variational image in {TILES} tiles: held-out misfit"
    )
    found = result.patterns
    assert isinstance(found, np.ndarray)
    assert found.shape == light.shape
    for tile in cut(SHAPE, 128):
        y, x = (finer(part, 2) for part in tile.place)
        assert np.corrcoef(found[:, y, x].ravel(), light[:, y, x].ravel())[0, 1] > 0.2


def test_small_frames_are_solved_whole_and_large_ones_in_tiles() -> None:
    assert tile_size((WHOLE, 500), using(tile=None)) == WHOLE
    assert tile_size((2048, 2048), using(tile=None)) == TILE
    assert tile_size((2048, 2048), using(tile=300)) == 300
    assert SMALLEST >= 3 * HALO


def test_a_field_that_does_not_fit_is_solved_in_smaller_tiles(
    raw: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Case.operator

    def operator(case: Case, device: torch.device):  # type: ignore[no-untyped-def]
        if case.shape[1] > 128:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return original(case, device)

    monkeypatch.setattr(Case, "operator", operator)
    told: list[str] = []
    settings = using(tile=224, iterations=10, method="wiener")
    result = run(reconstruct(raw, settings, PATTERNS), lambda p: told.append(p.message))
    assert any("smaller pieces (112 at a time)" in message for message in told)
    assert result.image.shape == (128, 320)
