"""The command line runs the same jobs as the window and speaks in one line."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace as Namespace
from typing import TYPE_CHECKING

import fake_tool
import numpy as np
import pytest
import tifffile
from fake_tool import FakeSettings
from PIL import Image as Pixels

from napari_physgen import __version__, cli
from napari_physgen.backend.job import run
from napari_physgen.cli.microstructures import simulation
from napari_physgen.cli.options import partial
from napari_physgen.io import read_record, read_stack
from napari_physgen.recipe import TOOLS, Recipe, start
from napari_physgen.sim import SimSettings, simulate
from napari_physgen.sim.simulate import filaments
from napari_physgen.synthesis import PhaseFieldSettings, presets
from napari_physgen.synthesis import simulate as simulate_microstructure
from napari_physgen.synthesis.dataset_files import open_dataset

if TYPE_CHECKING:
    from pathlib import Path

RAW = np.random.default_rng(0).poisson(50, (9, 8, 6)).astype(np.uint16)
RECIPE = Recipe(tool="fake", settings={"na": 1.2, "pixel_size_nm": 80.0, "seed": 3})


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    monkeypatch.setitem(TOOLS, "fake", fake_tool.TOOL)


@pytest.fixture(autouse=True)
def frequent_reports(monkeypatch):
    """Report every few time steps of small grids, which would be done before the first report."""
    monkeypatch.setattr(importlib.import_module(simulate_microstructure.__module__), "WORK", 20_000)


@pytest.fixture
def raw(tmp_path) -> Path:
    tifffile.imwrite(tmp_path / "cell 1.tif", RAW, photometric="minisblack")
    RECIPE.save(tmp_path / "r.yaml")
    return tmp_path / "cell 1.tif"


def call(*arguments) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main([str(argument) for argument in arguments])
    return caught.value.code or 0


def run_recipe(folder, *more) -> int:
    return call("run", folder / "r.yaml", *more, "-o", folder / "out")


def test_a_recipe_makes_the_pixels_that_the_window_makes(raw, tmp_path, capsys):
    cli.main(["run", str(tmp_path / "r.yaml"), str(raw), "-o", str(tmp_path / "out")])
    direct = run(start("fake", FakeSettings(**RECIPE.settings), {"raw": RAW}))
    with tifffile.TiffFile(tmp_path / "out/cell 1_fake.ome.tif") as tif:
        assert [series.name for series in tif.series] == ["SIM", "widefield"]
        np.testing.assert_array_equal(tif.series[0].asarray(), direct.result.image)
    assert "cell 1.tif: done in 5 steps" in capsys.readouterr().out


def test_the_files_carry_pixel_size_record_and_recipe(raw, tmp_path):
    cli.main(["run", str(tmp_path / "r.yaml"), str(raw), "-o", str(tmp_path / "out"), "--imagej"])
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "cell 1_fake.ome.tif",
        "cell 1_fake.recipe.yaml",
        "cell 1_fake_imagej.tif",
    ]
    record = read_record(out / "cell 1_fake.ome.tif")
    assert record.inputs[0].source == "cell 1.tif"
    assert read_record(out / "cell 1_fake_imagej.tif") == record
    assert read_stack(out / "cell 1_fake.ome.tif").pixel_size_nm == pytest.approx(40)
    assert Recipe.load(out / "cell 1_fake.recipe.yaml").settings == record.settings
    assert Recipe.load(out / "cell 1_fake.ome.tif") == Recipe.of(record)


def test_a_time_lapse_is_reconstructed_frame_by_frame(raw, tmp_path):
    movie = np.stack([RAW, RAW * 2, RAW * 3])
    tifffile.imwrite(raw, movie, imagej=True, metadata={"axes": "TZYX"})
    cli.main(["run", str(tmp_path / "r.yaml"), str(raw), "-o", str(tmp_path / "out")])
    with tifffile.TiffFile(tmp_path / "out/cell 1_fake.ome.tif") as tif:
        assert tif.series[0].axes == "TYX"
        last = run(start("fake", FakeSettings(**RECIPE.settings), {"raw": RAW * 3}))
        np.testing.assert_array_equal(tif.series[0].asarray()[2], last.result.image)


def test_a_stack_that_fails_is_named_and_the_others_still_run(raw, tmp_path, capsys):
    np.save(tmp_path / "short.npy", RAW[:8])
    assert run_recipe(tmp_path, tmp_path / "short.npy", raw) == 2
    errors = capsys.readouterr().err
    assert "short.npy: 8 frames are not 9." in errors
    assert "Traceback" not in errors
    assert (tmp_path / "out/cell 1_fake.ome.tif").exists()
    assert not list((tmp_path / "out").glob("short*"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "absent.yaml", "a.tif", "-o", "{out}"], "There is no recipe absent.yaml."),
        (["run", "{recipe}", "a.tif"], "--out"),
        (["run", "{recipe}", "a.tif", "-o", "{out}"], "a.tif: There is no file a.tif."),
        (["run", "{recipe}", "a.tif", "b/a.tif", "-o", "{out}"], "the same name"),
        (["run", "{recipe}", "a.tif", "-o", "{recipe}"], "cannot be made"),
        (["sim", "a.tif", "-o", "{out}", "--na", "9"], "NA (na)"),
        (["sim", "a.tif", "-o", "{out}", "--na", "x"], "NA (na)"),
        (["sim", "a.tif", "-o", "{out}", "--colour", "red"], "--colour"),
        (["sim", "-o", "{out}"], "raw"),
        (["run", "{recipe}", "-o", "{out}"], "r.yaml works on stacks: name at least one file"),
        (["run", "{nothing}", "a.tif", "-o", "{out}"], "needs no files"),
        (["simulate"], "--out"),
        (["simulate", "-o", "{out}", "--preset", "gamma"], "known: gamma_prime, rafted"),
        (["simulate", "-o", "{out}", "--size", "8"], "Size (size)"),
        (["simulate", "-o", "{out}", "--size", "big"], "Size (size)"),
        (["simulate", "-o", "{out}", "--gradient-energy", "0.1"], "too coarse a grid"),
        (["simulate", "-o", "{out}", "--preset", "grains", "--material", "dendrite"], "leave out"),
        (["dataset", "-o", "{out}"], "--count"),
        (["dataset", "-o", "{out}", "--count", "2", "--vary", "fraction", "0.6"], "--vary"),
        (["dataset", "-o", "{out}", "--count", "2", "--vary", "colour", "0", "1"], "'colour'"),
        (["dataset", "-o", "{out}", "--count", "2", "--spread", "-1"], "Spread (spread)"),
        (["pfhub", "9z"], "no problem '9z'"),
        (["calibrate", "a.png", "-o", "{out}"], "There is no file a.png."),
        (["calibrate", "a.png", "-o", "{out}", "--look", "odd"], "Look (look)"),
        (["paint"], "paint"),
    ],
)
def test_wrong_input_gives_one_line_and_exit_code_2(raw, tmp_path, capsys, arguments, sentence):
    places = {
        "out": tmp_path / "out",
        "recipe": tmp_path / "r.yaml",
        "nothing": tmp_path / "n.yaml",
    }
    Recipe(tool="simulate", settings={}).save(places["nothing"])
    assert call(*(text.format(**places) for text in arguments)) == 2
    errors = capsys.readouterr().err.strip()
    assert sentence.lower() in errors.lower()
    assert len(errors.splitlines()) == 1


def test_a_wavelength_in_micrometres_is_explained(raw, tmp_path, capsys):
    flags = ["--na", "1.49", "--wavelength-nm", "0.66", "--pixel-size-nm", "86.67"]
    assert call("sim", raw, "-o", tmp_path / "out", *flags) == 2
    assert "write 660 for 0.66 um" in capsys.readouterr().err


def test_ctrl_c_keeps_the_best_image_so_far_and_leaves_out_the_rest(raw, tmp_path, monkeypatch):
    np.save(tmp_path / "next.npy", RAW)

    quiet = fake_tool.reconstruct

    def interrupted(raw, settings):
        job, command = quiet(raw, settings.model_copy(update={"steps": 100})), None
        while True:
            try:
                progress = job.send(command)
            except StopIteration as end:
                return end.value
            if progress.step == 4:
                signal.raise_signal(signal.SIGINT)
            command = yield progress

    monkeypatch.setattr(fake_tool, "reconstruct", interrupted)
    assert run_recipe(tmp_path, raw, tmp_path / "next.npy") == 2
    record = read_record(tmp_path / "out/cell 1_fake.ome.tif")
    assert record.interventions == ("stopped at averaging 4/100",)
    assert not list((tmp_path / "out").glob("next*"))


def test_a_second_ctrl_c_gives_up_and_saves_nothing(raw, tmp_path, monkeypatch):
    def stubborn(raw, settings):
        for step in range(100):
            signal.raise_signal(signal.SIGINT)
            yield fake_tool.Progress(step, 100, "not listening")

    monkeypatch.setattr(fake_tool, "reconstruct", stubborn)
    before = signal.getsignal(signal.SIGINT)
    assert run_recipe(tmp_path, raw) == 130
    assert list((tmp_path / "out").iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is before


def outside(*arguments, **environment):
    command = [sys.executable, "-m", "napari_physgen", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | environment
    )


def test_the_package_runs_as_a_module():
    assert outside("--version").stdout.strip() == __version__
    failed = outside("run", "absent.yaml", "a.tif", "-o", "out")
    assert failed.returncode == 2
    assert failed.stderr == "There is no recipe absent.yaml.\n"


@pytest.mark.parametrize(
    ("command", "model"),
    [("sim", SimSettings), ("simulate", PhaseFieldSettings), ("dataset", PhaseFieldSettings)],
)
def test_help_shows_every_setting_with_its_description(capsys, command, model):
    cli.main([command, "--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name, field in model.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text
        assert field.description[:25] in text


def test_info_names_versions_device_and_memory(capsys):
    cli.main(["info"])
    text = capsys.readouterr().out
    for word in ("napari-physgen", "torch", "devices", "memory"):
        assert word in text


def test_a_simulated_stack_is_reconstructed_and_repeated_from_its_file(tmp_path):
    """Zoom 2 halves the pixel; the exported file alone is enough to repeat the pixels."""
    settings = SimSettings(na=1.4, wavelength_nm=525, pixel_size_nm=80, method="wiener")
    frames = simulate(filaments((128, 128), seed=0), settings, photons=500, seed=0)
    tifffile.imwrite(tmp_path / "raw.tif", frames, photometric="minisblack")
    flags = ["--na", "1.4", "--wavelength-nm", "525", "--pixel-size-nm", "80", "--method", "wiener"]
    cli.main(["sim", str(tmp_path / "raw.tif"), "-o", str(tmp_path), *flags])
    made = tmp_path / "raw_sim.ome.tif"
    assert read_stack(made).pixel_size_nm == pytest.approx(40)
    assert read_record(made).settings == settings.model_dump(mode="json")
    cli.main(["run", str(made), str(tmp_path / "raw.tif"), "-o", str(tmp_path / "again")])
    first, again = (tifffile.imread(f) for f in (made, tmp_path / "again/raw_sim.ome.tif"))
    assert first.shape[-2:] == (128, 128)
    np.testing.assert_array_equal(again, first)


# ---- from nothing -----------------------------------------------------------------------------

SMALL = ["--preset", "spinodal", "--size", "32", "--duration", "2", "--noise", "0.1"]
TINY = {"material": "spinodal", "size": 32, "duration": 1.0, "noise": 0.1}


def test_a_preset_is_changed_by_the_options_and_repeated_from_its_recipe(tmp_path, capsys):
    cli.main(["simulate", *SMALL, "--seed", "3", "-o", str(tmp_path), "--imagej"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "spinodal_seed3.ome.tif",
        "spinodal_seed3.recipe.yaml",
        "spinodal_seed3_imagej.tif",
    ]
    made = tmp_path / "spinodal_seed3.ome.tif"
    assert read_stack(made).pixel_size_nm == pytest.approx(presets["spinodal"].pixel_size_nm)
    changed = {"size": 32, "duration": 2.0, "noise": 0.1, "seed": 3}
    wanted = presets["spinodal"].model_dump() | changed
    assert read_record(made).settings == wanted
    assert "spinodal_seed3: " in capsys.readouterr().out
    for recipe in (made, tmp_path / "spinodal_seed3.recipe.yaml"):
        cli.main(["run", str(recipe), "-o", str(tmp_path / "again")])
        again = tmp_path / "again" / "spinodal_seed3.ome.tif"
        np.testing.assert_array_equal(tifffile.imread(again), tifffile.imread(made))
        again.unlink()


def test_without_a_preset_a_material_has_its_natural_values():
    assert simulation(None, None) == PhaseFieldSettings()
    options = partial(PhaseFieldSettings)(material="grains", grains=7)
    assert simulation(None, options) == PhaseFieldSettings(material="grains", grains=7)


def test_ctrl_c_keeps_the_material_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setitem(TOOLS, "simulate", replace(TOOLS["simulate"], job="fake_tool:interrupted"))
    monkeypatch.setattr(
        fake_tool,
        "interrupted",
        lambda settings: tell(simulate_microstructure(settings)),
        raising=False,
    )

    def tell(running):
        progress = next(running)
        signal.raise_signal(signal.SIGINT)
        command = yield progress
        with pytest.raises(StopIteration) as end:
            running.send(command)
        return end.value.value

    cli.main(["simulate", "--preset", "spinodal", "--size", "32", "-o", str(tmp_path)])
    record = read_record(tmp_path / "spinodal_seed0.ome.tif")
    assert record.metrics["time"] < presets["spinodal"].duration
    assert "stopped" in record.interventions[0]


def test_a_data_set_is_made_and_continued(tmp_path, capsys):
    command = ["dataset", *SMALL, "--vary", "fraction", "0.4", "0.6", "-o", str(tmp_path)]
    cli.main([*command, "--count", "1"])
    assert f"1 of 1 samples in {tmp_path}." in capsys.readouterr().out
    first = (tmp_path / "sample_00000.ome.tif").read_bytes()
    cli.main([*command, "--count", "2"])
    assert (tmp_path / "sample_00000.ome.tif").read_bytes() == first
    fractions = [sample.parameters["fraction"] for sample in open_dataset(tmp_path)]
    assert len(set(fractions)) == 2
    assert all(0.4 <= fraction <= 0.6 for fraction in fractions)
    cli.main(["run", str(tmp_path / "dataset.recipe.yaml"), "-o", str(tmp_path / "again")])
    assert len(open_dataset(tmp_path / "again")) == 2
    assert call(*command, "--count", "2", "--spread", "0.5") == 2
    assert "another spread" in capsys.readouterr().err


def test_a_micrograph_is_matched_with_its_labels_and_gives_a_recipe(tmp_path, monkeypatch, capsys):
    seen = []

    def calibrate(images, labels, *, pixel_size_nm, settings):
        seen.append((images, labels, pixel_size_nm, settings))
        found = yield from simulate_microstructure(PhaseFieldSettings(**TINY))
        zoom = replace(found.outputs()[0], zoom=0.5)
        return Namespace(settings=found.settings, summary="near", outputs=lambda: [zoom])

    monkeypatch.setattr("napari_physgen.synthesis.calibrate", calibrate)
    picture, mask = np.eye(70, dtype=np.uint8), np.eye(70, dtype=np.uint8)[::-1]
    Pixels.fromarray(picture * 200).save(tmp_path / "sem.png")
    Pixels.fromarray(mask).save(tmp_path / "mask.png")
    flags = ["--pixel-size-nm", "12", "--look", "rafts", "--trials", "3", "-o", str(tmp_path)]
    images = [str(tmp_path / "sem.png"), "--labels", str(tmp_path / "mask.png")]
    cli.main(["calibrate", *images, *flags])
    ((given,), (labels,), sizes, settings) = seen[0]
    np.testing.assert_array_equal(given, picture * 200)
    np.testing.assert_array_equal(labels, mask)
    assert (sizes, settings.look, settings.trials) == ([12.0], "rafts", 3)
    assert "sem: near" in capsys.readouterr().out
    assert read_stack(tmp_path / "sem_match.ome.tif").pixel_size_nm == pytest.approx(24)
    recipe = Recipe.load(tmp_path / "sem_match.recipe.yaml")
    assert recipe.parse() == PhaseFieldSettings(**TINY)


def test_a_benchmark_problem_is_shown_beside_published_values(tmp_path, capsys):
    cli.main(["pfhub", "1a", "--until", "1", "-o", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert "MEUMAPPS" in lines[0]
    time, here, published, difference, _ = lines[1].split()
    assert (time, published) == ("1", "318.83")
    assert float(difference) == pytest.approx(100 * (float(here) / 318.83 - 1), abs=0.02)
    curve = np.loadtxt(tmp_path / "pfhub_1a.csv", delimiter=",", skiprows=1)
    assert curve[-1] == pytest.approx([1, float(here)], abs=0.01)
