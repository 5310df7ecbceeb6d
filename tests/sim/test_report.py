"""The quality report blames what is wrong, and nothing where nothing is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from scipy.ndimage import gaussian_filter

from napari_physgen import cli
from napari_physgen.backend import run
from napari_physgen.errors import UserError
from napari_physgen.physics.noise import Camera
from napari_physgen.physics.optics import Otf
from napari_physgen.sim import (
    Patterns,
    QualityReport,
    Reconstruction,
    SimSettings,
    check,
    reconstruct,
)
from napari_physgen.sim._report_artefacts import spots
from napari_physgen.sim._report_patterns import contrast
from napari_physgen.sim._report_raw import decay, shifts
from napari_physgen.sim._report_residual import parts
from napari_physgen.sim._report_resolution import Reach, halves
from napari_physgen.sim.case import Case
from napari_physgen.sim.forward import Canvas, SimOperator
from napari_physgen.sim.light import speckle
from napari_physgen.sim.reconstruct import prepare
from napari_physgen.sim.simulate import CAMERA, default_patterns, filaments

SIZE = 96
DAMPING = 0.3
SETTINGS = SimSettings(
    na=1.4,
    wavelength_nm=525,
    pixel_size_nm=80,
    method="wiener",
    camera_offset=CAMERA.offset,
    camera_gain=CAMERA.gain,
    otf_damping=DAMPING,
)
PATTERNS = default_patterns(SETTINGS, 3)
COARSE = replace(PATTERNS, wavevectors=PATTERNS.wavevectors * 0.65 / 0.9)


def light(patterns: Patterns = PATTERNS, shift: list[list[float]] | None = None) -> np.ndarray:
    """Return expected photons (angle, phase, y, x), mean 150."""
    canvas = Canvas.around((SIZE, SIZE), 2, 24)
    otf = Otf.ideal(SETTINGS.na, SETTINGS.wavelength_nm, DAMPING)
    operator = SimOperator.sinusoidal(patterns, otf, canvas)
    truth = torch.from_numpy(filaments((2 * SIZE, 2 * SIZE), 3))
    with torch.no_grad():
        if shift is not None:
            operator.shift.copy_(torch.tensor(shift))
        frames = operator(canvas.pad(truth, 2)).clamp_min(0).numpy()
    return np.asarray(frames * (150 / frames.mean()))


def recorded(photons: np.ndarray) -> np.ndarray:
    """Return grey levels (frame, y, x)."""
    rng = np.random.default_rng(3)
    grey = CAMERA.offset + CAMERA.gain * rng.poisson(photons)
    grey = grey + CAMERA.read_noise * rng.standard_normal(grey.shape)
    return np.asarray(np.rint(grey), np.uint16).reshape(9, SIZE, SIZE)


def before(
    photons: np.ndarray, patterns: Patterns = PATTERNS, otf: Otf | None = None
) -> QualityReport:
    """Report on raw frames."""
    return run(check(recorded(photons), SETTINGS, patterns, otf=otf))


def after(photons: np.ndarray, patterns: Patterns = PATTERNS) -> QualityReport:
    """Report on raw frames and their Wiener image."""
    raw = recorded(photons)
    return run(check(raw, SETTINGS, result=run(reconstruct(raw, SETTINGS, patterns))))


def truth_as_result(patterns: Patterns = PATTERNS) -> Reconstruction:
    """The sample itself in grey levels, given out as the image that somebody reconstructed."""
    image = filaments((2 * SIZE, 2 * SIZE), 3)
    image = image * (150 * CAMERA.gain / image.mean())
    widefield = recorded(light()).mean(0, dtype=np.float32) - np.float32(CAMERA.offset)
    return Reconstruction(
        image=image.astype(np.float32),
        std=(0.1 * image).astype(np.float32),
        widefield=widefield,
        wiener=None,
        residual=np.ones((SIZE, SIZE), np.float32),
        chi2=1.0,
        patterns=patterns,
        stage="variational",
    )


def judged(patterns: Patterns = PATTERNS, otf: Otf | None = None) -> QualityReport:
    """Report on the sample itself as the result."""
    return run(check(recorded(light()), SETTINGS, result=truth_as_result(patterns), otf=otf))


def off(degrees: float, patterns: Patterns) -> Patterns:
    """Return patterns with phases off by this much, up or down."""
    signs = np.random.default_rng(5).choice([-1, 1], patterns.phases.shape)
    return replace(patterns, phases=patterns.phases + np.radians(degrees) * signs)


@pytest.fixture(scope="module")
def clean() -> QualityReport:
    return judged()


def test_a_clean_stack_is_good_before_and_after(clean: QualityReport) -> None:
    # The sample itself is finer than what half of the light shows.
    assert clean.named("unknown") == ["resolution, decorrelation"]
    assert clean.named("fair") == clean.named("poor") == []
    assert clean.summary.startswith("Good")
    assert {c.name for c in clean.checks if c.after} == {
        "held-out misfit",
        "residual",
        "resolution, ring correlation",
        "resolution, decorrelation",
        "stripes",
        "standard deviation",
    }
    assert clean["standard deviation"].value == pytest.approx(10, abs=0.1)
    assert after(light()).named("poor") == []


def flickering(photons: np.ndarray) -> np.ndarray:
    """Return photons of a stack of which every third frame has three tenths less light."""
    scale = np.ones((3, 3, 1, 1))
    scale[:, 1] = 0.7
    return photons * scale


DEFECTS: dict[str, tuple[str, Callable[[], QualityReport]]] = {
    "drift of half a pixel": (
        "motion",
        lambda: before(light(shift=[[0, 0], [0.25, 0], [0.5, 0]])),
    ),
    "bleaching": (
        "bleaching",
        lambda: before(light() * np.exp(np.log(0.65) * np.arange(9) / 8).reshape(3, 3, 1, 1)),
    ),
    "dark angle": (
        "light of the angles",
        lambda: before(light() * np.array([1, 0.5, 1]).reshape(3, 1, 1, 1)),
    ),
    "flicker": ("flicker", lambda: before(flickering(light()))),
    "low modulation": (
        "modulation",
        lambda: before(
            light(replace(PATTERNS, modulation=np.full(3, 0.1))),
            replace(PATTERNS, modulation=np.full(3, 0.1)),
        ),
    ),
    "no photons": ("modulation contrast", lambda: before(light() / 100)),
    "haze": ("background", lambda: before(light() + 3000)),
    "wrong phases": ("patterns against frames", lambda: before(light(), off(40, PATTERNS))),
    "wrong period": (
        "patterns against frames",
        lambda: before(light(), replace(PATTERNS, wavevectors=PATTERNS.wavevectors * 1.02)),
    ),
    "wrong OTF": (
        "OTF",
        lambda: before(light(), otf=Otf.ideal(SETTINGS.na, SETTINGS.wavelength_nm, 0.08)),
    ),
    "wrong NA of the OTF": (
        "OTF",
        lambda: before(light(), otf=Otf.ideal(1.1, SETTINGS.wavelength_nm, DAMPING)),
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_is_called_by_its_name(defect: str) -> None:
    name, made = DEFECTS[defect]
    report = made()
    assert report[name].verdict == "poor"
    assert report[name].advice
    assert name in report.summary
    assert (report["motion"].verdict == "poor") == (name == "motion")


def test_stripes_show_in_an_image_of_wrong_phases_only() -> None:
    photons = light(COARSE)
    right, wrong = after(photons, COARSE), after(photons, off(40, COARSE))
    assert right["stripes"].verdict == "good"
    assert wrong["stripes"].verdict == "poor"


def test_a_lattice_in_the_sample_is_no_stripe_unless_it_is_the_pattern() -> None:
    """Spots elsewhere, of the same period too, do not count."""
    y, x = np.mgrid[:128, :128] * 0.04
    rng = np.random.default_rng(0)
    image = gaussian_filter(rng.random((128, 128)), 1)

    def lattice(k: tuple[float, float]) -> np.ndarray:
        return (image + 0.1 * np.cos(2 * np.pi * (k[0] * y + k[1] * x))).astype(np.float32)

    wave = np.array([[0.0, 5.0]])
    assert spots(lattice((0.0, 5.0)), wave, 0.04)[0] > 20
    assert spots(lattice((5.0, 0.0)), wave, 0.04)[0] < 3
    assert spots(lattice((0.0, 3.0)), wave, 0.04)[0] < 3


def test_what_is_left_over_names_its_cause() -> None:
    ideal = Otf.ideal(SETTINGS.na, SETTINGS.wavelength_nm, 1.0)
    for report, words in (
        (judged(off(40, PATTERNS)), "changes with the phase"),
        (judged(otf=ideal), "alike in all frames"),
    ):
        assert report["residual"].verdict == "poor"
        assert words in report["residual"].words


@pytest.mark.parametrize("name", ["common", "angle", "phase"])
def test_what_is_left_over_is_split_by_what_shares_it(name: str) -> None:
    """White noise has no excess in any part; one unit more goes where it belongs."""
    rng = np.random.default_rng(1)
    rest = rng.standard_normal((3, 5, 64, 64))
    extra = rng.standard_normal(
        (*{"common": (1, 1), "angle": (3, 1), "phase": (3, 5)}[name], 64, 64)
    )
    if name == "phase":
        extra -= extra.mean(1, keepdims=True)
    more = parts((rest + extra).astype(np.float32))
    plain = parts(rest.astype(np.float32))
    assert all(abs(value) < 0.02 for value in plain.values())
    gained = {key: more[key] - plain[key] for key in more}
    assert gained[name] > 0.6
    assert sum(gained.values()) == pytest.approx(np.mean(extra**2), rel=0.05)


def test_halves_add_up_and_share_no_noise() -> None:
    """Also where read noise, which cannot be divided, is as strong as photon noise."""
    camera = Camera(0.0, 2.0, 12.0)
    rng = np.random.default_rng(2)
    signal = 2 * rng.poisson(72, (300, 300)) + 12 * rng.standard_normal((300, 300))
    first, second = halves(signal.astype(np.float32), camera, 0)
    np.testing.assert_allclose(first + second, signal, rtol=1e-5)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.01
    assert first.mean() == pytest.approx(signal.mean() / 2, rel=0.005)
    assert first.var() == pytest.approx(signal.var() / 2, rel=0.02)


def test_nothing_finer_than_the_pattern_allows_is_claimed(clean: QualityReport) -> None:
    reach = Reach.of(5.0, 4.0)
    assert reach.capped(50.0) == pytest.approx(1000 / 9)
    assert reach.capped(130.0) == 130
    finest = 1000 / (SETTINGS.cutoff + np.hypot(*PATTERNS.wavevectors[0]))
    for name in ("ring correlation", "decorrelation"):
        assert clean[f"resolution, {name}"].value >= finest - 1e-6


def test_an_exponential_loss_is_found_and_steps_between_angles_are_none() -> None:
    angle_of = np.repeat(np.arange(3), 3)
    fading = np.exp(-0.05 * np.arange(9))
    for steps in (np.ones(3), np.array([0.7, 1.0, 0.8])):
        lost, fitted = decay(fading * steps[angle_of], angle_of)
        assert lost == pytest.approx(1 - np.exp(-0.4))
        np.testing.assert_allclose(fitted / fitted[0], fading)


def test_shifts_are_found_to_a_fiftieth_of_a_pixel() -> None:
    moved = [[0.0, 0.0], [0.3, -0.2], [-0.7, 1.4]]
    images = light(replace(PATTERNS, modulation=np.zeros(3)), moved).mean(1)
    found, error = shifts(images.astype(np.float32), np.full(3, 1.0), SETTINGS.cutoff * 0.08)
    np.testing.assert_allclose(found, -np.array(moved), atol=0.02)
    assert error.max() < 0.02


def test_modulation_contrast_of_noise_alone_is_one() -> None:
    rng = np.random.default_rng(4)
    frames = (100 + 2 * rng.poisson(50, (3, 3, SIZE, SIZE))).astype(np.float32)
    otf = Otf.ideal(SETTINGS.na, SETTINGS.wavelength_nm)
    case = Case(frames, PATTERNS, otf, Camera(100, 2, 0.1), SETTINGS)
    assert contrast(case, PATTERNS).mean() == pytest.approx(1, abs=0.03)


def test_the_report_is_written_as_page_picture_and_figures(
    clean: QualityReport, tmp_path: Path
) -> None:
    clean = replace(clean, pictures=clean.pictures[1:3], curves=clean.curves[:1])
    page = clean.write(tmp_path / "r.html").read_text("utf-8")
    assert clean.summary in page
    assert all(c.name in page for c in clean.checks)
    assert "<svg" in page
    assert "src=" not in page, "nothing is loaded from elsewhere"
    plain = json.loads(clean.write(tmp_path / "r.json").read_text())
    assert plain["checks"][0]["name"] == clean.checks[0].name
    assert plain["verdict"] == clean.verdict
    assert clean.write(tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match="change the ending"):
        clean.write(tmp_path / "r.pdf")


def test_maps_lie_on_the_sample(clean: QualityReport) -> None:
    maps = {output.name: output for output in clean.outputs()}
    assert maps["modulation contrast"].data.shape == (SIZE // 8, SIZE // 8)
    assert maps["modulation contrast"].translation == (3.5, 3.5)
    assert maps["residual"].data.shape == (SIZE, SIZE)
    assert maps["residual autocorrelation"].translation[1] > SIZE


def test_known_frames_are_checked_as_far_as_they_go() -> None:
    frames = PATTERNS.illumination((SIZE, SIZE), 2)
    report = run(check(recorded(light()), SETTINGS, frames))
    assert report.named("poor") == []
    assert "modulation" not in [c.name for c in report.checks]


def test_the_command_writes_reports_beside_each_other(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    tifffile.imwrite(tmp_path / "cell.tif", recorded(light()), photometric="minisblack")
    words = "--na 1.4 --wavelength-nm 525 --pixel-size-nm 80 --method wiener -o"
    cli.main(["sim-check", str(tmp_path / "cell.tif"), *words.split(), str(tmp_path / "out")])
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == ["cell_check.html", "cell_check.json", "cell_check.png"]
    assert "cell.tif:" in capsys.readouterr().out


def numbered(count: int) -> np.ndarray:
    """Return frames (frame, y, x) that tell their place."""
    noise = np.random.default_rng(0).integers(0, 3, (count, 64, 64))
    return np.asarray(100 * np.arange(1, count + 1)[:, None, None] + noise, np.float32)


@pytest.mark.parametrize(
    ("order", "shape"),
    [
        ("angle-phase", (12, 64, 64)),
        ("phase-angle", (12, 64, 64)),
        ("phase-angle-z", (12, 64, 64)),
        ("auto", (4, 3, 64, 64)),
        ("widefield-phase-angle", (13, 64, 64)),
        ("montage-phase-angle", (256, 192)),
    ],
)
def test_the_light_that_a_result_keeps_meets_the_frames_it_was_given_for(
    order: str, shape: tuple[int, ...]
) -> None:
    settings = SETTINGS.model_copy(update={"order": order, "phases": 4, "zoom": 1})
    light = numbered(12)
    raw = light
    if order.startswith("widefield"):
        raw = np.concatenate([numbered(1), raw])
    if order.startswith("montage"):
        raw = raw.reshape(4, 3, 64, 64).swapaxes(1, 2)
    raw = raw.reshape(shape)
    made = run(prepare(raw, settings, light)).case
    again = run(prepare(raw, settings, light=made.illumination)).case
    np.testing.assert_array_equal(again.frames, made.frames)
    np.testing.assert_allclose(again.illumination, made.illumination, rtol=1e-5)
    assert isinstance(again.illumination, np.ndarray)
    ratio = again.frames.mean((2, 3)).ravel() / again.illumination.mean((1, 2))
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)


@pytest.mark.parametrize("pattern", ["given", "speckle"])
def test_a_report_is_made_with_the_light_of_the_result(pattern: str) -> None:
    changes = {"pattern": pattern, "order": "phase-angle", "iterations": 3}
    settings = SETTINGS.model_copy(update=changes)
    count = {"given": 20, "speckle": 50}[pattern]
    canvas = Canvas.around((64, 64), 2, 24)
    seen = speckle((128, 128), settings, count, 0)
    operator = SimOperator.given(
        seen, 1, Otf.ideal(1.4, 525, DAMPING), canvas, settings.pixel_size_nm
    )
    with torch.no_grad():
        truth = torch.from_numpy(filaments((128, 128), 3))
        photons = operator(canvas.pad(truth, 2)).clamp_min(0)[0].numpy()
    photons *= 400 / photons.mean()
    rng = np.random.default_rng(1)
    raw = CAMERA.offset + CAMERA.gain * rng.poisson(photons) + rng.normal(0, 1, photons.shape)
    result = replace(
        truth_as_result(),
        image=truth.numpy(),
        std=None,
        residual=np.ones((64, 64), np.float32),
        patterns=seen,
    )
    report = run(check(raw, settings, result=result))
    assert {c.name: c for c in report.checks}["residual"].verdict == "good"


def test_a_frame_of_plain_light_is_left_out_as_in_the_reconstruction() -> None:
    raw = recorded(light())
    plain = raw.mean(0, keepdims=True).astype(raw.dtype)
    report = run(check(np.concatenate([raw, plain]), SETTINGS))
    assert report.summary == run(check(raw, SETTINGS)).summary


def test_the_command_checks_what_the_reconstruction_takes(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    raw = recorded(light())
    np.save(tmp_path / "cell.npy", np.stack([raw, raw]))
    words = "--na 1.4 --wavelength-nm 525 --pixel-size-nm 80 --method wiener -o"
    cli.main(["sim-check", str(tmp_path / "cell.npy"), *words.split(), str(tmp_path)])
    told = capsys.readouterr().out
    assert "cell.npy_1:" in told
    assert "cell.npy_2:" in told
    assert f"saved as {tmp_path / 'cell_check_2.html'}" in told
    assert (tmp_path / "cell_check_2.html").exists()
