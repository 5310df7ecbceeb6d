"""SIM as an inverse problem: an exact adjoint, honest units, and a job that says what is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sim_sample import CAMERA, OTF, PATTERNS, SIZE, expected, physics, recorded, truth

from napari_physgen.backend import run
from napari_physgen.backend.job import Job, Stop
from napari_physgen.errors import UserError
from napari_physgen.generative import RestoreSettings, restore, structured
from napari_physgen.generative._restore_checks import fitted_scale
from napari_physgen.generative.model import Design, GenerativeModel
from napari_physgen.generative.priors import GaussianPrior
from napari_physgen.generative.scale import Scale
from napari_physgen.generative.solve import Problem
from napari_physgen.generative.structured import set_up_sim, sim_setup, structured_light
from napari_physgen.generative.tasks import Setup
from napari_physgen.physics.noise import Camera
from napari_physgen.physics.operator import Identity, LinearMap

torch.set_num_threads(1)

SETTINGS = RestoreSettings(
    task="sim",
    na=1.4,
    wavelength_nm=525,
    pixel_size_nm=80,
    camera_offset=CAMERA.offset,
    camera_gain=CAMERA.gain,
    read_noise=CAMERA.read_noise,
    device="cpu",
)


def operator(double: bool = True) -> LinearMap:
    """A forward model away from its start: with gains and shifts."""
    microscope = physics(margin=structured.MARGIN)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part, size in ((microscope.shift, 0.7), (microscope.log_gain, 0.3)):
            part.copy_(size * torch.randn(part.shape, generator=draw))
    return structured_light(microscope.double() if double else microscope)


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(("double", "tolerance"), [(True, 1e-10), (False, 1e-5)])
def test_adjoint_is_exact(double: bool, tolerance: float) -> None:
    dtype = torch.float64 if double else torch.float32
    A = operator(double)
    x = normal(3, *A.shape, seed=1, dtype=dtype)
    y = normal(3, 1, 9, SIZE, SIZE, seed=2, dtype=dtype)
    forward, back = A(x), A.adjoint(y)
    assert forward.shape == y.shape
    assert back.shape == x.shape
    scale = float(forward.norm() * y.norm())
    assert abs(float((forward * y).sum() - (x * back).sum())) < tolerance * scale


def test_images_of_a_batch_are_recorded_one_by_one() -> None:
    A = operator()
    x = normal(2, *A.shape, seed=1)
    torch.testing.assert_close(A(x)[1:], A(x[1:]), rtol=1e-12, atol=0)
    torch.testing.assert_close(A(x[:1] - 2 * x[1:]), A(x)[:1] - 2 * A(x)[1:])


def test_an_image_of_another_size_is_refused() -> None:
    A = operator(double=False)
    with pytest.raises(UserError, match="forward model has the shape"):
        A(torch.zeros(1, 1, 20, 20))


def problem(count: float, scale: Scale | None = None) -> Problem:
    """A known microscope, and the true image as what the prior expects on average."""
    microscope = physics(margin=structured.MARGIN)
    frames = recorded(expected(count))
    setup = sim_setup(microscope, frames, CAMERA)
    model = GenerativeModel(Design(4, 1).build(), Design(4, 1), "edm", Scale(), 0.5)
    denoiser = GaussianPrior(torch.zeros(1), torch.ones(1, 1))
    assert setup.camera is not None
    own = scale or Scale(low=0.0, high=2 * count)
    return Problem(model, denoiser, own, setup, setup.camera, 1.0, torch.device("cpu"))


def test_units_are_those_of_the_image_whatever_its_scale() -> None:
    """The true object, put into network units, explains the frames up to their noise."""
    light = 300.0
    own = problem(light, Scale(low=-20.0, high=900.0))
    microscope = physics(margin=structured.MARGIN)
    canvas = microscope.canvas
    grey = canvas.pad(torch.from_numpy(truth()), 2)
    with torch.no_grad():
        grey *= CAMERA.gain * light / microscope(grey).mean()
        units = (grey - own.scale.low) / own.scale.unit - 1
        predicted = own.setup.operator(units[None, None])
    left = (own._data() - predicted) / own._variance(predicted).sqrt()
    assert float(left[..., 4:-4, 4:-4].square().mean()) == pytest.approx(1, abs=0.05)
    picture = own.picture(units[None, None])
    np.testing.assert_allclose(picture, canvas.crop(grey, 2), rtol=1e-4, atol=1e-2)
    residual = own.residual(picture)[:, 4:-4, 4:-4]
    assert float((residual**2).mean()) == pytest.approx(1, abs=0.05)


def test_setup_finds_patterns_and_brightness() -> None:
    raw = recorded(expected(300.0)).reshape(9, SIZE, SIZE)
    setup = run(set_up_sim(raw, SETTINGS))
    assert setup.data.shape == (9, SIZE, SIZE)
    assert setup.zoom == structured.ZOOM
    assert setup.camera is not None
    assert (setup.camera.offset, setup.camera.gain) == (0.0, CAMERA.gain)
    assert setup.guess is not None
    model = GenerativeModel(Design(4, 1).build(), Design(4, 1), "edm", Scale(), 0.5)
    scale = fitted_scale(model, SETTINGS, [setup.guess], setup.camera)
    unit = CAMERA.gain * 300 / truth().mean()
    low, high = unit * np.percentile(truth(), (0.1, 99.9))
    assert scale.low == pytest.approx(low, abs=0.15 * (high - low))
    assert scale.high == pytest.approx(high, abs=0.15 * (high - low))


def test_known_frames_of_light_need_no_estimate() -> None:
    raw = recorded(expected(300.0)).reshape(9, SIZE, SIZE)
    light = PATTERNS.illumination((SIZE, SIZE), 2)
    setup = run(set_up_sim(raw, SETTINGS, light, OTF))
    found = run(set_up_sim(raw, SETTINGS, PATTERNS, OTF))
    assert setup.guess is not None
    assert found.guess is not None
    inner = np.s_[8:-8, 8:-8]
    alike = np.corrcoef(setup.guess[inner].ravel(), found.guess[inner].ravel())[0, 1]
    assert alike > 0.99


def test_restore_gives_mean_and_spread_on_the_fine_grid(
    prior: GenerativeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = recorded(expected(30.0))
    guess = (truth() * CAMERA.gain * 30 / truth().mean()).astype(np.float32)

    def known(*_: object) -> Job[Setup]:
        yield from ()
        return sim_setup(physics(margin=structured.MARGIN), frames, CAMERA, guess)

    monkeypatch.setattr(structured, "set_up_sim", known)
    settings = SETTINGS.model_copy(update={"samples": 2, "steps": 3})
    raw = frames.reshape(9, SIZE, SIZE)
    result = run(restore(raw, replace(prior, pixel_size_nm=None), settings))
    assert result.mean.shape == result.std.shape == (2 * SIZE, 2 * SIZE)
    assert result.zoom == 2
    assert result.residual.shape == raw.shape
    assert np.isfinite(result.mean).all()
    assert (result.std > 0).all()
    assert {output.data.shape[-2:] for output in result.outputs()} >= {(2 * SIZE, 2 * SIZE)}


def test_the_last_level_gives_the_posterior_mean_and_no_less_than_its_spread() -> None:
    """Independent pixels of variance 1/4 and noise as strong: mean y / 2, variance 1/8.

    At the last level, as strong again, the prior alone leaves 1/8 and the means differ by 1/24.
    """
    prior = GaussianPrior(torch.zeros(64), torch.eye(64) / 4)
    y = np.random.default_rng(0).normal(0, 0.7, (8, 8)).astype(np.float32)
    setup = Setup(Identity(), y, last=1.0)
    model = GenerativeModel(Design(4, 1).build(), Design(4, 1), "edm", Scale(), 0.5)
    camera = Camera(0.0, 0.0, 0.5)
    posed = Problem(model, prior, Scale(), setup, camera, 1.0, torch.device("cpu"))
    found = posed.sampled("mmps", 64, 12, 0, lambda *_: None)
    np.testing.assert_allclose(found.mean, y / 2, atol=0.12)
    assert float((found.std**2).mean()) == pytest.approx(1 / 8 + 1 / 24, rel=0.1)
    assert float(found.samples.var(0).mean()) == pytest.approx(1 / 8, rel=0.1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pixel_size_nm": None}, "pixel size"),
        ({"pixel_size_nm": 200.0}, "too coarse"),
        ({"angles": 5}, "frames"),
    ],
)
def test_bad_input_is_explained(changes: dict[str, object], words: str) -> None:
    raw = np.random.default_rng(0).poisson(100, (9, SIZE, SIZE))
    with pytest.raises(UserError, match=words):
        run(set_up_sim(raw, SETTINGS.model_copy(update=changes)))


def test_patterns_of_another_stack_are_refused() -> None:
    raw = np.random.default_rng(0).poisson(100, (9, SIZE, SIZE))
    with pytest.raises(UserError, match="illumination has the shape"):
        run(set_up_sim(raw, SETTINGS, np.ones((9, 10, 10)), OTF))


def test_a_stop_before_the_first_image_says_so() -> None:
    raw = recorded(expected(300.0)).reshape(9, SIZE, SIZE)
    with pytest.raises(UserError, match="nothing was changed"):
        run(set_up_sim(raw, SETTINGS), lambda _: Stop())
