"""One network for many stacks: what it sees, what it learns from, where it is refused."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import sim_sample as sample
import torch

from napari_physgen.backend import run
from napari_physgen.backend.job import Progress, Stop
from napari_physgen.errors import UserError
from napari_physgen.sim import pretrain, reconstruct
from napari_physgen.sim.amortised import AFTER, FIRST, fold_views, new_network, whole_view
from napari_physgen.sim.case import Case
from napari_physgen.sim.curriculum import exercise
from napari_physgen.sim.familiarity import Seen
from napari_physgen.sim.infer import turned
from napari_physgen.sim.linear import linear_images, set_gains
from napari_physgen.sim.model import SimModel, load
from napari_physgen.sim.scene import local_brightness
from napari_physgen.sim.train_model import train_model
from napari_physgen.sim.training_settings import SimTrainingSettings

CPU = torch.device("cpu")
PATTERNS = replace(sample.PATTERNS, order="angle-phase")


def case(photons: float = 60, seed: int = 1, **changes: object) -> Case:
    frames = sample.recorded(sample.expected(photons), seed)
    settings = sample.SETTINGS.model_copy(update=changes)
    return Case(frames, PATTERNS, sample.OTF, sample.CAMERA, settings)


def test_linear_images_end_where_the_gradient_is_zero() -> None:
    """After many iterations the normal equations hold; each image explains the frames better."""
    measurement = sample.measured(sample.expected(200))
    operator = sample.physics().requires_grad_(False)
    brightness = local_brightness(operator.canvas, measurement)
    images = linear_images(operator, measurement, brightness, (1, 3, 8, 20))
    misfits = [float(measurement.misfit(operator(brightness * v))) for v in images]
    assert misfits == sorted(misfits, reverse=True)
    assert misfits[-1] < 0.6 * int(measurement.fitted.sum())


def test_gains_of_the_angles_are_those_of_the_light() -> None:
    y = torch.linspace(0, 2 * np.pi, sample.SIZE)
    slope = 0.2 * torch.cos(y)[:, None].expand(sample.SIZE, sample.SIZE)
    log_gain = torch.stack([slope, -slope, 0 * slope])[:, None]
    measurement = sample.measured(sample.expected(300, gain=log_gain.exp()))
    operator = sample.physics()
    set_gains(operator, measurement)
    inner = slice(12, -12)
    error = (operator.gain().log() - log_gain)[..., inner, inner]
    assert float(error.detach().square().mean().sqrt()) < 0.04
    dark = sample.measured(sample.expected(0.5))
    set_gains(operator, dark)
    assert float(operator.gain().log().detach().abs().mean()) < 0.06


def test_an_untrained_network_shows_the_linear_image() -> None:
    view = whole_view(case(), CPU)
    images = linear_images(view.operator, view.measurement, view.brightness, AFTER)
    expected = view.brightness * images[FIRST].clamp_min(0.02)
    torch.testing.assert_close(view.rho(new_network(0)), expected, rtol=1e-4, atol=1e-3)


def test_a_view_does_not_depend_on_the_pixels_of_its_fold() -> None:
    plain = case()
    whole = whole_view(plain, CPU)
    view = fold_views(plain, whole)[0]
    frames = whole.measurement.frames
    dazzled = torch.where(view.fold > 0, frames + 1e4, frames)
    spoilt = replace(whole, measurement=replace(whole.measurement, frames=dazzled))
    again = fold_views(plain, spoilt)[0]
    torch.testing.assert_close(again.features, view.features)
    torch.testing.assert_close(again.u, view.u)


def test_exercises_are_reproducible_and_hold_their_dose() -> None:
    first, again, other = exercise(3, 64), exercise(3, 64), exercise(4, 64)
    assert np.array_equal(first.case.frames, again.case.frames)
    assert not np.array_equal(first.case.frames, other.case.frames)
    photons = Seen.of(first.case).photons[0]
    assert 2 < photons < 350
    assert float(first.truth.min()) >= 0


def test_simulated_stacks_can_be_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of them, by heart; what 1000 teach is tested with the shipped network."""
    monkeypatch.setattr(pretrain, "TESTS", 3)
    made = run(pretrain.simulate_sheets(50, 3, CPU, size=64))
    assert made is not None
    sheets = [*made[0], *made[0]]
    result = run(pretrain.learn_sheets(new_network(0), sheets, sample.SETTINGS, 40))
    assert result.best_score < 0.9 * dict(result.history["held-out"])[0]


@pytest.fixture(scope="module")
def learned() -> SimModel:
    settings = SimTrainingSettings.parse(
        sample.SETTINGS.model_dump() | {"start": "nothing", "learning_steps": 30}
    )
    stacks = [case(60, seed).frames for seed in (1, 2)]
    return run(train_model(stacks, settings, [PATTERNS] * 2))


def test_physics_alone_teaches_a_network_that_helps_on_a_new_stack(learned: SimModel) -> None:
    """Without any truth: the held-out misfit of a stack that it has not seen falls."""
    assert learned.metrics["chi2"] < learned.metrics["chi2_before"]
    view = whole_view(case(60, seed=9), CPU)
    with torch.no_grad():
        assert float(view.chi2(learned.net)) < float(view.chi2(new_network(0)))


def test_a_saved_model_reconstructs_as_before(learned: SimModel, tmp_path: Path) -> None:
    learned.save(tmp_path / "cells.safetensors")
    again = load(tmp_path / "cells.safetensors")
    assert asdict(again.seen) == asdict(learned.seen)
    settings = sample.SETTINGS.model_copy(
        update={"method": "trained", "model": tmp_path / "cells.safetensors"}
    )
    frames = case(60, seed=9).frames
    plain = run(reconstruct(frames, settings, PATTERNS, sample.OTF))
    assert plain.stage == "trained"
    assert plain.std is not None
    assert "New to the model" not in plain.summary
    adapting = settings.model_copy(update={"adaptation": 10})
    adapted = run(reconstruct(frames, adapting, PATTERNS, sample.OTF))
    assert adapted.chi2 <= plain.chi2 * 1.002
    assert "after adapting" in adapted.summary


def test_another_kind_of_file_is_no_model(tmp_path: Path) -> None:
    from napari_physgen.backend import save_model

    save_model(tmp_path / "other.safetensors", {"a": torch.zeros(1)}, {"kind": "prior"})
    with pytest.raises(UserError, match="no SIM model"):
        load(tmp_path / "other.safetensors")


def test_a_model_says_what_is_new_to_it_and_refuses_another_resolution() -> None:
    seen = Seen.joined([Seen.of(case(60)), Seen.of(case(90))])
    assert seen.check(case(75)) == ""
    assert "photons per pixel" in seen.check(case(6))
    with pytest.raises(UserError, match="change the zoom"):
        seen.check(case(75, zoom=4))


def test_the_shipped_network_beats_every_linear_image_on_an_unseen_stack() -> None:
    """By 2 dB at 13 photons per pixel; 8 dB were measured on larger fields."""
    task = exercise(3_000_000, 64)
    view = whole_view(task.case, CPU)
    with torch.no_grad():
        image = turned(load().net, view)
    linear = view.brightness * linear_images(
        view.operator, view.measurement, view.brightness, AFTER
    )
    canvas = view.operator.canvas
    truth = canvas.crop(task.truth, 2)
    errors = [float((canvas.crop(x, 2) - truth).square().mean()) for x in (*linear, image)]
    assert 10 * np.log10(min(errors[:-1]) / errors[-1]) > 2


def test_a_stop_while_patterns_are_looked_for_ends_the_training() -> None:
    settings = SimTrainingSettings.parse(
        sample.SETTINGS.model_dump() | {"start": "nothing", "learning_steps": 50}
    )
    job = train_model([case(200, seed).frames for seed in (1, 2)], settings)
    messages = []

    def stop_at_once(progress: Progress) -> Stop | None:
        messages.append(progress.message)
        return Stop() if len(messages) == 1 else None

    model = run(job, stop_at_once)
    assert "stopped early" in model.summary
    assert not any(message.startswith("learning") for message in messages)


def test_training_on_from_a_model_leaves_the_model_as_it_is() -> None:
    before = {name: t.clone() for name, t in load().net.state_dict().items()}
    settings = SimTrainingSettings.parse(sample.SETTINGS.model_dump() | {"learning_steps": 2})
    run(train_model([case(60).frames], settings, [PATTERNS]))
    after = load().net.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
