"""The cross-fitted network: where it starts, what it may see, what its spread means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
import torch
from sim_sample import SETTINGS, expected, measured, physics

from napari_physgen.backend import run
from napari_physgen.backend.job import Progress, Stop
from napari_physgen.sim import pinn
from napari_physgen.sim.measurement import Measurement
from napari_physgen.sim.pinn import FOLDS, Refinement, refine
from napari_physgen.sim.scene import Scene, first_guess
from napari_physgen.sim.variational import Solution, solve
from napari_physgen.sim.views import View, _turns

QUICK = SETTINGS.model_copy(update={"network_steps": 10})


@dataclass(frozen=True)
class Solved:
    scene: Scene
    measurement: Measurement
    solution: Solution

    def refined(self, **changes: object) -> Refinement | None:
        settings = QUICK.model_copy(update=changes)
        return run(refine(self.scene, self.measurement, self.solution, settings))

    def views(self) -> list[View]:
        weight = self.solution.regularisation
        views = run(pinn._fold_views(self.scene, self.measurement, weight, QUICK))
        assert views is not None
        return views


@pytest.fixture(scope="module", autouse=True)
def short_refits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pinn, "REFIT", 12)
        yield


def solved(photons: float) -> Solved:
    measurement = measured(expected(photons))
    scene = first_guess(physics(), measurement)
    return Solved(scene, measurement, run(solve(scene, measurement, SETTINGS)))


@pytest.fixture(scope="module")
def bright() -> Solved:
    return solved(300)


@pytest.fixture(scope="module")
def views(bright: Solved) -> list[View]:
    return bright.views()


@pytest.fixture(scope="module")
def refined(bright: Solved) -> Refinement:
    result = bright.refined()
    assert result is not None
    return result


def test_step_0_is_the_variational_image_to_the_bit(bright: Solved) -> None:
    scene = bright.scene
    whole = pinn._view(scene, bright.measurement, bright.measurement, bright.measurement.fitted)
    for member in range(3):
        net = pinn._network(whole.features, QUICK, member)
        assert torch.equal(whole.rho(net), scene.rho())


def test_folds_share_no_pixel_and_cover_what_was_fitted(bright: Solved, views: list[View]) -> None:
    folds = torch.stack([view.fold for view in views])
    assert len(folds) == FOLDS
    assert set(folds.unique().tolist()) == {0, 1}
    assert torch.equal(folds.sum(0), bright.measurement.fitted)
    share = folds.mean((1, 2, 3, 4))
    torch.testing.assert_close(share, torch.full_like(share, 0.9 / FOLDS), rtol=0.05, atol=0)


def test_a_view_does_not_depend_on_the_pixels_of_its_fold(
    bright: Solved, views: list[View]
) -> None:
    """Huge values there change nothing that the network sees or corrects."""
    fold = views[0].fold
    frames = bright.measurement.frames
    spoilt = replace(bright.measurement, frames=torch.where(fold > 0, frames + 1e5, frames))
    seen, other, *_ = replace(bright, measurement=spoilt).views()
    assert torch.equal(seen.fold, fold)
    assert torch.equal(seen.features, views[0].features)
    assert torch.equal(seen.u, views[0].u)
    assert torch.equal(seen.brightness, views[0].brightness)
    assert not torch.equal(other.features, views[1].features)


def test_the_brightness_of_the_scene_does_not_show_through_a_view(
    bright: Solved, views: list[View]
) -> None:
    """It holds the fold's pixels; each view has its own from the pixels that it may see."""
    scene = bright.scene
    dazzled = Scene(scene.operator, scene.rho(), 3 * scene.brightness)
    for seen, view in zip(replace(bright, scene=dazzled).views(), views, strict=True):
        torch.testing.assert_close(seen.brightness, view.brightness)
        assert float((seen.features - view.features).abs().mean()) < 1e-3


def test_no_view_depends_on_held_out_pixels(bright: Solved, views: list[View]) -> None:
    frames, fitted = bright.measurement.frames, bright.measurement.fitted
    spoilt = replace(bright.measurement, frames=torch.where(fitted > 0, frames, frames + 1e5))
    for seen, view in zip(replace(bright, measurement=spoilt).views(), views, strict=True):
        assert torch.equal(seen.features, view.features)


def test_network_never_ends_worse_than_it_began(bright: Solved, refined: Refinement) -> None:
    assert refined.chi2 <= bright.solution.chi2 * (1 + 1e-6)
    found = bright.measurement.chi2(bright.scene.operator(refined.rho))
    assert float(found) == pytest.approx(refined.chi2)


def test_standard_deviation_is_more_than_what_new_noise_changes(
    bright: Solved, refined: Refinement
) -> None:
    """By what the solve takes from the sample each time; positive wherever there is light."""
    assert (refined.std > 0).all()
    measurement = measured(expected(300), seed=2)
    again = first_guess(physics(), measurement)
    run(solve(again, measurement, SETTINGS))
    difference = (again.image() - bright.scene.image()).square().mean().sqrt() / 2**0.5
    field = bright.scene.operator.canvas.crop(refined.std, 2)
    assert 1 < float(field.square().mean().sqrt() / difference) < 4


def test_less_light_gives_a_larger_relative_spread(refined: Refinement) -> None:
    dim = solved(20).refined()
    assert dim is not None

    def relative(result: Refinement) -> float:
        return float(result.std.mean() / result.rho.mean())

    assert relative(dim) > 1.5 * relative(refined)


def test_every_network_gets_each_fold_as_often_as_the_others() -> None:
    turns = _turns(FOLDS, QUICK, 0)
    for _ in range(3):
        assert sorted(next(turns) for _ in range(FOLDS)) == list(range(FOLDS))


def test_same_seed_same_pixels_and_another_seed_other_pixels(
    bright: Solved, refined: Refinement
) -> None:
    again, other = bright.refined(), bright.refined(seed=1)
    assert again is not None
    assert other is not None
    assert torch.equal(again.rho, refined.rho)
    assert torch.equal(again.std, refined.std)
    assert not torch.equal(other.std, refined.std)


def test_stop_before_the_network_gives_none_and_during_it_what_is_there(bright: Solved) -> None:
    def stop_at(word: str):
        def listener(progress: Progress) -> Stop | None:
            return Stop() if word in progress.message and progress.step % 12 == 3 else None

        return listener

    settings = QUICK.model_copy(update={"members": 3})
    job = refine(bright.scene, bright.measurement, bright.solution, settings)
    assert run(job, stop_at("leaving out part 2")) is None
    job = refine(bright.scene, bright.measurement, bright.solution, settings)
    early = run(job, stop_at("network 2 of 3"))
    assert early is not None
    assert len(early.networks) == 2
    assert torch.isfinite(early.rho).all()
    assert (early.std > 0).all()
