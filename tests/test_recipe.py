"""Recipes are files that any job can be run from again; `start` keeps the record."""

from __future__ import annotations

from dataclasses import replace

import fake_tool
import numpy as np
import pytest
import yaml
from fake_tool import FakeSettings

from napari_physgen.backend.job import Stop, Tune, run
from napari_physgen.errors import UserError
from napari_physgen.io import Image, write_imagej_tiff, write_ome_tiff
from napari_physgen.provenance import Input
from napari_physgen.recipe import TOOLS, Recipe, start
from napari_physgen.settings import Settings
from napari_physgen.sim.settings import SimSettings

RAW = np.random.default_rng(0).poisson(50, (9, 8, 6)).astype(np.uint16)
SIM = {"na": 1.49, "wavelength_nm": 660.0, "pixel_size_nm": 86.67}


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    monkeypatch.setitem(TOOLS, "fake", fake_tool.TOOL)


def finished(on_progress=None, **settings):
    job = start("fake", FakeSettings(na=1, **settings), {"raw": RAW}, sources={"raw": "cell.tif"})
    return run(job, on_progress)


def test_the_record_says_what_was_done_to_what():
    record = finished(seed=4).record
    assert record.tool == "fake"
    assert record.settings == FakeSettings(na=1, seed=4).model_dump()
    assert record.seed == 4
    assert record.inputs == (Input.of("raw", RAW, "cell.tif"),)
    assert record.metrics == {"steps": 5}
    assert record.device == "cpu"
    assert 0 <= record.duration_s < 5
    assert record.interventions == ()


def test_a_recipe_from_a_record_gives_the_same_pixels():
    first = finished(seed=7, gain=2.5)
    again = run(start("fake", Recipe.of(first.record).parse(), {"raw": RAW}))
    np.testing.assert_array_equal(again.result.image, first.result.image)


def test_progress_of_the_tool_passes_through():
    steps = []
    finished(lambda progress: steps.append((progress.step, progress.message)))
    assert steps == [(n, "averaging") for n in range(1, 6)]


def test_a_stop_reaches_the_tool_and_the_record():
    done = finished(lambda progress: Stop() if progress.step == 2 else None)
    assert done.result.steps == 2
    assert done.record.interventions == ("stopped at averaging 2/5",)


def test_a_tuned_setting_reaches_the_tool_and_the_record():
    done = finished(lambda progress: Tune(gain=3.0) if progress.step == 2 else None)
    assert done.record.settings["gain"] == 3.0
    assert done.record.interventions == ("gain = 3.0 at averaging 2/5",)
    np.testing.assert_array_equal(done.result.image, finished(gain=3.0).result.image)


def test_giving_up_a_job_closes_the_tool(monkeypatch):
    closed = []

    def reconstruct(raw, settings):
        try:
            yield from fake_tool.reconstruct(raw, settings)
        finally:
            closed.append(True)

    monkeypatch.setattr(fake_tool, "reconstruct_and_tell", reconstruct, raising=False)
    monkeypatch.setitem(
        TOOLS, "fake", replace(fake_tool.TOOL, job="fake_tool:reconstruct_and_tell")
    )
    job = start("fake", FakeSettings(na=1), {"raw": RAW})
    next(job)
    job.close()
    assert closed == [True]


def test_an_error_of_the_tool_comes_through():
    with pytest.raises(UserError, match="8 frames"):
        run(start("fake", FakeSettings(na=1), {"raw": RAW[:8]}))


@pytest.mark.parametrize("name", ["r.yaml", "r.yml"])
def test_a_recipe_survives_as_yaml(tmp_path, name):
    recipe = Recipe(tool="sim", settings=SIM | {"otf": "Mikroskop/µ.tif"})
    assert Recipe.load(recipe.save(tmp_path / name)) == recipe


def test_a_saved_recipe_names_the_tool_first_and_reads_like_a_form(tmp_path):
    path = Recipe(tool="sim", settings=SIM).save(tmp_path / "r.yaml")
    assert list(yaml.safe_load(path.read_text())) == ["tool", "version", "settings"]
    assert "  na: 1.49\n  wavelength_nm: 660.0\n" in path.read_text()


def test_a_recipe_is_read_from_a_record_and_from_an_exported_file(tmp_path):
    record = finished(gain=2.0).record
    image = Image("SIM", np.ones((8, 6), np.float32), ("y", "x"), record=record)
    (tmp_path / "a.json").write_text(record.to_json())
    write_ome_tiff(tmp_path / "a.ome.tif", [image])
    write_imagej_tiff(tmp_path / "a.tif", [image])
    for path in tmp_path.iterdir():
        assert Recipe.load(path) == Recipe.of(record)


def test_parse_returns_the_tool_s_settings():
    assert Recipe(tool="sim", settings=SIM).parse() == SimSettings(**SIM)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("tool: sim\nsettings: {na: 1.49}\ncolour: red", "unknown field 'colour'"),
        ("tool: sim\nsettings: {na: 1.49, colour: red}", "no setting 'colour'"),
        ("tool: sum\nsettings: {}", "no tool 'sum'"),
        ("settings: {}", "field 'tool' is missing"),
        ("tool: sim\nsettings: 3", "settings: "),
        ("- a\n- b", "no recipe"),
        ("", "no recipe"),
        ("a: [", "not valid YAML"),
        ("tool: sim\nsettings: {na: 1.49, wavelength_nm: 0.66, pixel_size_nm: 86}", "micrometres"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_a_wrong_recipe_is_said_in_one_sentence(tmp_path, text, sentence):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(UserError, match=sentence) as caught:
        Recipe.load(tmp_path / "r.yaml")
    assert "\n" not in str(caught.value)


def test_a_missing_or_binary_recipe_is_said(tmp_path):
    with pytest.raises(UserError, match="no recipe"):
        Recipe.load(tmp_path / "absent.yaml")
    (tmp_path / "r.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        Recipe.load(tmp_path / "r.yaml")


def test_a_tiff_of_another_program_holds_no_recipe(tmp_path):
    write_ome_tiff(tmp_path / "a.tif", [Image("a", np.ones((4, 4)), ("y", "x"))])
    with pytest.raises(UserError, match="no record"):
        Recipe.load(tmp_path / "a.tif")


def test_a_recipe_is_not_saved_into_a_missing_folder(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        Recipe(tool="sim", settings=SIM).save(tmp_path / "absent" / "r.yaml")


def test_a_tool_that_makes_something_from_nothing_has_a_record_too():
    settings = {"material": "spinodal", "size": 32, "duration": 1, "seed": 9}
    recipe = Recipe(tool="simulate", settings=settings)
    done = run(start("simulate", recipe.parse(), {}))
    assert done.record.inputs == ()
    assert done.record.seed == 9
    assert done.record.device == done.result.device
    again = run(start("simulate", Recipe.of(done.record).parse(), {}))
    np.testing.assert_array_equal(again.result.field, done.result.field)


def test_a_recipe_that_holds_a_simulation_names_the_wrong_setting_in_it():
    with pytest.raises(UserError, match=r"Fraction \(fraction\)"):
        Recipe(tool="dataset", settings={"simulation": {"fraction": 2}}).parse()


@pytest.mark.parametrize("name", list(TOOLS))
def test_every_tool_is_where_the_registry_says(name):
    assert issubclass(TOOLS[name].settings_class(), Settings)
    assert callable(TOOLS[name].job_function())
