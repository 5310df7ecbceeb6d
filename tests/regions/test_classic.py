"""The classic shift/rotation VAE: its physics term, its invariances, its answers as a job."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from napari_physgen.backend import Command, Progress, Stop, Tune, run
from napari_physgen.errors import UserError
from napari_physgen.networks.vae import PoseVAE
from napari_physgen.regions._classic_samples import Windows
from napari_physgen.regions._classic_walls import latent_length, stiffness
from napari_physgen.regions.classic import ClassicResult, classic, manifold
from napari_physgen.regions.features import Features
from napari_physgen.regions.settings import RegionSettings

CPU = torch.device("cpu")
PERIOD, WINDOW, STEP = 8.0, 16, 4
QUICK = RegionSettings(
    method="classic", regions=2, perimeter="modica-mortola", steps=200, restarts=2, device="cpu"
)


def lattice(
    shape: tuple[int, int], centring: np.ndarray | float, angle: float = 0.1, noise: float = 0.2
) -> np.ndarray:
    """Return atoms on a square lattice with fainter ones in the middle of its cells."""
    y, x = np.indices(shape) / PERIOD
    u, v = np.cos(angle) * y + np.sin(angle) * x, np.cos(angle) * x - np.sin(angle) * y

    def atoms(at: float) -> np.ndarray:
        far = [(axis - at + 0.5) % 1 - 0.5 for axis in (u, v)]
        return np.exp(-(far[0] ** 2 + far[1] ** 2) / (2 * 0.15**2))

    scatter = noise * np.random.default_rng(0).standard_normal(shape)
    return (atoms(0.0) + centring * atoms(0.5) + scatter).astype(np.float32)[None]


def nodes(shape: tuple[int, int], window: int = WINDOW, step: int = STEP) -> Features:
    count = [(size - window) // step + 1 for size in shape]
    return Features(
        values=np.zeros((1, *count), np.float32),
        family="gaussian",
        evidence=min(1.0, 4 * (step / window) ** 2),
        valid=np.ones(count, bool),
        step=(step, step),
        start=((window - 1) / 2,) * 2,
        window=window,
    )


def two_halves(size: int = 80) -> tuple[np.ndarray, Features, np.ndarray]:
    """Return an image of two phases, its grid and the phase of every node."""
    left = np.arange(size) < size // 2
    image, features = lattice((size, size), np.where(left, 0.9, 0.0)[None]), nodes((size, size))
    middle = features.start[1] + STEP * np.arange(features.shape[1])
    return image, features, np.broadcast_to(middle >= size // 2, features.shape)


def solved(
    image: np.ndarray | None, features: Features, regions: int = 2, **changes: object
) -> ClassicResult:
    settings = RegionSettings.parse(QUICK.model_dump() | changes)
    return run(classic(image, features, settings, regions=regions, device=CPU, period=PERIOD))


def explained(latent: np.ndarray, phase: np.ndarray) -> float:
    """Share of the variance of the leading map that lies between two phases."""
    lead = latent[latent.std((1, 2)).argmax()]
    within = sum(lead[phase == k].var() * (phase == k).mean() for k in (0, 1))
    return 1 - within / lead.var()


@pytest.fixture(scope="module")
def free() -> ClassicResult:
    return solved(*two_halves()[:2], wall_cost=0.0, seed=1)


@pytest.fixture(scope="module")
def walled() -> ClassicResult:
    return solved(*two_halves()[:2], wall_cost=1.0, seed=1)


def test_wall_cost_shortens_discontinuities_at_nearly_the_same_error(
    free: ClassicResult, walled: ClassicResult
):
    assert walled.length < 0.85 * free.length
    assert walled.error < 1.05 * free.error


def test_wall_cost_makes_the_latents_follow_the_phases(free: ClassicResult, walled: ClassicResult):
    phase = two_halves()[2]
    assert explained(walled.latent, phase) > explained(free.latent, phase)
    assert explained(walled.latent, phase) > 0.7
    labels = walled.q.argmax(0)
    agree = (labels == phase).mean()
    assert max(agree, 1 - agree) > 0.9


@pytest.mark.parametrize("perimeter", ["crofton", "tv", "modica-mortola", "mumford-shah"])
def test_the_wall_length_reaches_the_encoder_with_its_true_gradient(perimeter: str):
    """Against finite differences, in the first and in the last layer of the encoder."""
    draw = torch.Generator().manual_seed(0)
    model = PoseVAE((1, 8, 8), 2, generator=draw).double()
    windows = torch.randn(36, 1, 8, 8, generator=draw, dtype=torch.float64)
    valid = torch.ones(6, 6, dtype=torch.bool)

    def length() -> torch.Tensor:
        content = model.posterior(windows)[0].double()[:, :2]
        return latent_length(perimeter, content.T.reshape(2, 6, 6), content, (1, 1), valid)

    for layer in (model.encoder[1], model.encoder[5]):
        weight = layer.weight
        (gradient,) = torch.autograd.grad(length(), weight)
        step = 1e-3 * gradient / gradient.norm()
        with torch.no_grad():
            weight += step
            above = length()
            weight -= 2 * step
            below = length()
            weight += step
        assert gradient.norm() > 1e-3
        slope = float((above - below) / (2 * step.norm()))
        assert slope == pytest.approx(float(gradient.norm()), rel=0.02)


def test_shrinking_the_maps_shortens_no_wall():
    maps = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(8, 8, dtype=torch.bool)
    lengths = [
        latent_length("crofton", scale * maps, scale * maps.flatten(1).T, (1, 1), valid)
        for scale in (1.0, 0.1)
    ]
    torch.testing.assert_close(*lengths, rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("perimeter", "share"), [("crofton", 0.76), ("tv", 0.76), ("mumford-shah", 0.98)]
)
def test_a_wall_between_two_equal_parts_costs_what_it_says(perimeter: str, share: float):
    """Maps of one standard deviation on both sides: tanh(1) = 0.76 of a step between phases."""
    maps = torch.zeros(1, 40, 40)
    maps[:, :, 20:] = 0.3
    valid = torch.ones(40, 40, dtype=torch.bool)
    length = latent_length(perimeter, maps, maps.flatten(1).T, (1, 1), valid)
    # Eight neighbours see walls along an axis 5 % too short.
    assert float(length) == pytest.approx(40 * share, rel=0.07)


def test_walls_are_stiff_at_first_only():
    for perimeter in ("crofton", "tv", "modica-mortola", "mumford-shah"):
        factors = [stiffness(perimeter, progress) for progress in np.linspace(0, 1, 11)]
        assert factors[0] >= 5
        assert factors[5:] == [1] * 6
        assert all(later <= sooner for sooner, later in pairwise(factors))


def patches(angles: np.ndarray, shifts: np.ndarray) -> tuple[np.ndarray, Features]:
    """Return one lattice, turned and shifted anew (y, x) in every window of a 16 x 16 mosaic."""
    y, x = (np.indices((WINDOW, WINDOW)) - (WINDOW - 1) / 2)[:, None]
    y, x = y - shifts[:, 0, None, None], x - shifts[:, 1, None, None]
    cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    far = [(axis / PERIOD + 0.5) % 1 - 0.5 for axis in (cos * y + sin * x, cos * x - sin * y)]
    windows = np.exp(-(far[0] ** 2 + far[1] ** 2) / (2 * 0.15**2))
    windows = windows + 0.05 * np.random.default_rng(0).standard_normal(windows.shape)
    image = windows.reshape(16, 16, WINDOW, WINDOW).swapaxes(1, 2).reshape(1, 16 * WINDOW, -1)
    return image.astype(np.float32), nodes(image.shape[1:], step=WINDOW)


def test_turned_windows_collapse_to_one_content_and_their_angles_are_found():
    angles = np.random.default_rng(0).uniform(-0.7, 0.7, 256)
    image, features = patches(angles, np.zeros((256, 2)))
    able = solved(image, features, 1, wall_cost=0.0, invariances="rotation")
    unable = solved(image, features, 1, wall_cost=0.0, invariances="none")
    assert able.error < 1.3 * unable.error
    assert told(able) < 0.2 * told(unable)
    # Up to quarter turns, and up to how the upright window is turned.
    apart = able.angle.ravel() - angles
    assert np.abs(np.exp(4j * apart).mean()) > 0.9


def test_shifts_explain_windows_whose_content_must_not_change():
    """The wall cost is what keeps shifts out of the content."""
    shifts = np.random.default_rng(0).uniform(-2.5, 2.5, (256, 2))
    image, features = patches(np.zeros(256), shifts)
    able = solved(image, features, 1, wall_cost=30.0)
    unable = solved(image, features, 1, wall_cost=30.0, invariances="none")
    assert able.error < 0.3 * unable.error
    # Up to whole periods, and up to what the upright window is centred on.
    apart = able.shift.reshape(2, -1) - shifts.T
    assert (np.abs(np.exp(2j * np.pi * apart / PERIOD).mean(1)) > 0.9).all()


def told(result: ClassicResult) -> float:
    """Return nats that the content tells of a window: KL of its posterior from their mean."""
    ratio = 1 + (result.latent.var((1, 2)) / (result.sigma**2).mean((1, 2)))
    return float(0.5 * np.log(ratio).sum())


def test_latents_of_spectra_separate_what_they_are_of():
    rng = np.random.default_rng(0)
    energy = np.arange(40)
    spectra = [1 + 3 * np.exp(-((energy - at) ** 2) / 20) for at in (12, 28)]
    phase = np.indices((20, 20))[1] >= 9
    rates = np.stack([60 * one / one.sum() for one in spectra])[phase.astype(int)]
    counts = rng.poisson(rates).astype(np.float32).transpose(2, 0, 1)
    features = Features(counts, "counts", 1.0, np.ones((20, 20), bool))
    result = solved(None, features, wall_cost=0.3)
    agree = (result.q.argmax(0) == phase).mean()
    assert max(agree, 1 - agree) > 0.97
    assert result.manifold.shape == (81, 40)
    np.testing.assert_allclose(result.manifold.sum(1), 1, rtol=1e-4)
    assert (result.shift == 0).all()


def test_nodes_without_data_have_no_influence():
    values = np.random.default_rng(0).normal(size=(6, 12, 12)).astype(np.float32)
    valid = np.indices((12, 12)).sum(0) > 6
    features = Features(values, "gaussian", 1.0, valid)
    other = replace(features, values=np.where(valid, values, 100).astype(np.float32))
    results = [solved(None, one, wall_cost=1.0, steps=10) for one in (features, other)]
    np.testing.assert_array_equal(results[0].latent[:, valid], results[1].latent[:, valid])
    np.testing.assert_array_equal(results[0].q[:, valid], results[1].q[:, valid])


def test_windows_lie_around_their_nodes_and_inside_of_the_image():
    image = np.random.default_rng(0).normal(size=(2, 40, 30)).astype(np.float32)
    image[0, 0, 0] = np.nan
    features = replace(nodes((40, 30), 9, 7), start=(4.0, 1.0))
    windows = Windows(image, features, CPU).at(torch.tensor([1, 2]), torch.tensor([0, 2]))
    assert windows.shape == (4, 2, 9, 9)
    seen = torch.from_numpy((image[1] - image[1].mean()) / image[1].std())
    torch.testing.assert_close(windows[0, 1], seen[7:16, 0:9])
    torch.testing.assert_close(windows[3, 1], seen[14:23, 11:20])
    assert windows.isfinite().all()


def test_large_windows_are_sampled_down_and_keep_their_mean():
    image = np.random.default_rng(0).normal(size=(1, 64, 64)).astype(np.float32)
    windows = Windows(image, nodes((64, 64), 48, 16), CPU)
    small = windows.at(torch.tensor([0]), torch.tensor([0]))
    assert small.shape == (1, 1, 24, 24)
    standard = (image - image.mean()) / image.std()
    assert small.mean().item() == pytest.approx(standard[0, :48, :48].mean(), abs=1e-5)


@pytest.mark.parametrize("latent", [1, 2, 3])
def test_the_picture_of_the_latent_space_has_nine_tiles_along_each_variable(latent: int):
    model = PoseVAE((2, 8, 8), latent)
    content = np.random.default_rng(0).normal(size=(latent, 50)).astype(np.float32)
    picture = manifold(model, content)
    assert picture.shape == (2 * 72, 72 if latent > 1 else 8)
    middle = model.decode(torch.from_numpy(content.mean(1))[None]).detach()[0, 0]
    tile = picture[32:40, 32:40] if latent > 1 else picture[32:40]
    np.testing.assert_allclose(tile, middle, atol=1e-5)


def test_same_seed_same_result_and_another_seed_another():
    image, features, _ = two_halves(48)
    one, two, other = (solved(image, features, steps=5, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.latent, two.latent)
    np.testing.assert_array_equal(one.q, two.q)
    assert (one.latent != other.latent).any()


def test_stop_keeps_what_is_there_and_a_new_wall_cost_is_taken():
    image, features, _ = two_halves(48)
    settings = RegionSettings.parse(QUICK.model_dump() | {"steps": 40})

    def commands(wanted: dict[int, Command]) -> ClassicResult:
        def answer(progress: Progress) -> Command | None:
            return wanted.get(progress.step)

        job = classic(image, features, settings, regions=2, device=CPU, period=PERIOD)
        return run(job, answer)

    stopped = commands({3: Stop()})
    assert len(stopped.history["loss"]) == 3
    assert np.isfinite(stopped.latent).all()
    assert stopped.q.shape == (2, *features.shape)
    stiffer = commands({10: Tune(wall_cost=100.0), 12: Stop()})
    alike = commands({12: Stop()})
    assert stiffer.history["loss"][:10] == alike.history["loss"][:10]
    assert stiffer.history["loss"][10][1] > alike.history["loss"][10][1]


def test_preview_and_outputs_lie_on_the_scan(walled: ClassicResult):
    image, features, _ = two_halves()
    first = next(classic(image, features, QUICK, regions=2, device=CPU, period=PERIOD))
    for output in (*first.preview(), walled.outputs()[0]):
        assert output.data.shape == (2, *features.shape)
        assert output.zoom == 1 / STEP
        assert output.translation == features.start
    assert [one.name for one in walled.outputs()] == ["latent", "shift", "angle", "latent space"]
    assert set(walled.metrics) == {"error", "latent_length"}
    assert "2 latent maps" in walled.summary


def test_what_cannot_be_mapped_is_said_in_a_sentence():
    image, features, _ = two_halves(48)
    for wrong, words in (
        (replace(features, valid=np.zeros(features.shape, bool)), "No point"),
        (replace(features, window=64), "larger than the image"),
    ):
        with pytest.raises(UserError, match=words):
            solved(image, wrong)
