"""A data set grows sample by sample, and each of them is what it would be alone."""

from __future__ import annotations

import errno
import importlib
import json
import shutil
import sys
from collections import namedtuple
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import tifffile

from napari_physgen.backend.job import Stop, run
from napari_physgen.errors import UserError
from napari_physgen.io import read_record, read_stack
from napari_physgen.recipe import Recipe, start
from napari_physgen.synthesis import PhaseFieldSettings, dataset, make_dataset, simulate
from napari_physgen.synthesis.dataset_files import RECIPE, TABLE, open_dataset
from napari_physgen.synthesis.dataset_settings import VARIED, DatasetSettings

TINY = PhaseFieldSettings(material="spinodal", size=32, duration=4, noise=0.1, seed=5)
COUNT = 4


def make(folder, count=COUNT, on_progress=None, settings=TINY, **options):
    return run(make_dataset(settings, count, folder, **options), on_progress)


def pictures(folder):
    return [(sample.field, sample.labels) for sample in open_dataset(folder)]


def assert_same(first, second):
    assert len(first) == len(second) > 0
    for ours, theirs in zip(first, second, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])


def stop_after(finished):
    return lambda progress: Stop() if progress.metrics and progress.step >= finished else None


@pytest.fixture(autouse=True, scope="module")
def frequent_reports():
    """Report every few time steps of so small a grid, not every thousand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module(simulate.__module__), "WORK", 20_000)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A data set that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    return make(folder)


# ---- the samples ------------------------------------------------------------------------------


def test_each_sample_is_what_its_settings_give_alone(whole):
    wanted = DatasetSettings(simulation=TINY, count=COUNT)
    for index, (field, labels) in enumerate(pictures(whole.folder)):
        alone = run(simulate(wanted.sample(index)))
        np.testing.assert_array_equal(field, alone.field)
        np.testing.assert_array_equal(labels, alone.labels)


def test_samples_do_not_depend_on_how_many_are_simulated_side_by_side(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "batch_size", lambda *_: 3)
    make(tmp_path)
    pairs = zip(pictures(tmp_path), pictures(whole.folder), strict=True)
    for (field, labels), (field_alone, labels_alone) in pairs:
        # Vector instructions round differently at the ends of arrays of other lengths.
        np.testing.assert_allclose(field, field_alone, atol=1e-6)
        np.testing.assert_array_equal(labels, labels_alone)


def test_one_file_is_enough_to_make_its_sample_again(whole):
    path = whole.folder / "sample_00002.ome.tif"
    recipe = Recipe.load(path)
    again = run(start(recipe.tool, recipe.parse(), {})).result
    np.testing.assert_array_equal(tifffile.TiffFile(path).series[0].asarray(), again.field)
    assert read_record(path).seed == recipe.settings["seed"] != TINY.seed


def test_the_table_has_parameters_seed_and_figures_of_every_sample(whole):
    samples = open_dataset(whole.folder)
    assert len(samples) == whole.count == COUNT
    for number, sample in enumerate(samples):
        record = read_record(whole.folder / f"sample_{number:05}.ome.tif")
        about = sample.parameters
        assert about["sample"] == number
        assert about["seed"] == record.seed
        for name in ("fraction", "duration"):
            assert about[name] == record.settings[name]
        assert about["end_time"] == pytest.approx(record.settings["duration"])
        assert about["phase_fraction"] == pytest.approx(sample.labels.mean(), abs=1e-6)


def test_the_files_carry_the_pixel_size(whole):
    assert read_stack(whole.folder / "sample_00000.ome.tif").pixel_size_nm == pytest.approx(5)


def test_a_polycrystal_has_its_boundaries_as_a_third_picture(tmp_path):
    grains = PhaseFieldSettings(material="grains", size=48, duration=1, grains=9)
    make(tmp_path, 1, settings=grains)
    with tifffile.TiffFile(tmp_path / "sample_00000.ome.tif") as tif:
        assert [series.name for series in tif.series] == ["field", "labels", "boundaries"]
        assert set(np.unique(tif.series[2].asarray())) == {0, 1}


def test_a_volume_gives_every_nth_plane_as_a_picture(tmp_path):
    settings = TINY.model_copy(update={"depth": 8})
    made = make(tmp_path, 1, settings=settings, slice_every=3)
    wanted = DatasetSettings(simulation=settings, count=1, slice_every=3)
    volume = run(simulate(wanted.sample(0))).field
    samples = open_dataset(tmp_path)
    assert [sample.parameters["plane"] for sample in samples] == [1, 4, 7]
    np.testing.assert_array_equal([sample.field for sample in samples], volume[1::3])
    assert made.outputs()[0].data.shape == (3, 32, 32)
    with tifffile.TiffFile(tmp_path / "sample_00000.ome.tif") as tif:
        assert 'PhysicalSizeZ="0.015"' in tif.ome_metadata


# ---- going on ---------------------------------------------------------------------------------


def test_a_stopped_data_set_continues_to_the_same_pixels_and_keeps_its_files(whole, tmp_path):
    part = make(tmp_path, on_progress=stop_after(2))
    assert 2 <= part.count < COUNT
    assert "run it again to continue" in part.summary
    before = {path: path.stat() for path in tmp_path.glob("*.tif")}
    assert len(before) == part.count
    done = make(tmp_path)
    assert done.count == COUNT
    assert_same(pictures(tmp_path), pictures(whole.folder))
    for path, stat in before.items():
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns)


def test_of_a_stopped_batch_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "batch_size", lambda *_: COUNT)
    made = make(tmp_path, on_progress=lambda progress: Stop())
    assert made.count == 0
    assert made.outputs() == []
    assert not list(tmp_path.glob("*.tif"))


def test_more_samples_are_added_to_those_there(whole, tmp_path):
    make(tmp_path, 2)
    make(tmp_path, COUNT)
    assert_same(pictures(tmp_path), pictures(whole.folder))


def test_a_line_cut_off_by_a_crash_is_made_again(whole, tmp_path):
    make(tmp_path)
    text = (tmp_path / TABLE).read_text()
    (tmp_path / TABLE).write_text(text[:-20])
    (tmp_path / "sample_00003.ome.tif").write_bytes(b"half")
    assert open_dataset(tmp_path).numbers == (0, 1, 2)
    make(tmp_path)
    assert (tmp_path / TABLE).read_text() == text
    assert_same(pictures(tmp_path), pictures(whole.folder))


def test_a_job_given_up_leaves_a_data_set_that_continues(whole, tmp_path):
    job = make_dataset(TINY, COUNT, tmp_path)
    while next(job).step < 2:
        pass
    job.close()
    make(tmp_path)
    assert_same(pictures(tmp_path), pictures(whole.folder))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"spread": 0.3}, "spread"),
        ({"vary": {"noise": (0.01, 0.02)}}, "vary"),
        ({"format": "zarr"}, "format"),
        ({"settings": TINY.model_copy(update={"seed": 6})}, "seed"),
    ],
)
def test_another_data_set_in_the_folder_is_not_touched(tmp_path, change, name):
    make(tmp_path, 1)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match=f"another {name}: choose another folder"):
        make(tmp_path, 1, **change)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_recipe_in_the_folder_makes_the_data_set(whole, tmp_path):
    recipe = Recipe.load(whole.folder / RECIPE)
    finished = run(start(recipe.tool, recipe.parse(), {}, folder=tmp_path))
    assert finished.record.seed == TINY.seed
    assert finished.record.metrics["samples"] == COUNT
    assert_same(pictures(tmp_path), pictures(whole.folder))


def test_progress_counts_samples_and_tells_the_pace(tmp_path):
    seen = []
    make(tmp_path, on_progress=seen.append)
    steps = [progress.step for progress in seen]
    assert all(a <= b for a, b in pairwise(steps))
    assert {progress.total for progress in seen} == {COUNT}
    assert seen[-1].metrics["samples/min"] > 0
    assert seen[0].preview()[0].name == "field"


# ---- what goes wrong --------------------------------------------------------------------------


def test_a_sample_that_fails_is_reported_left_out_and_not_tried_again(tmp_path, monkeypatch):
    calls = []

    def unstable(batch):
        samples = yield from simulate_batch(batch)
        calls.append(len(batch))
        if len(calls) == 2:
            metrics = samples[0].metrics | {"time": 1.0}
            samples[0] = replace(samples[0], metrics=metrics, summary="It got unstable.")
        return samples

    simulate_batch = dataset.simulate_batch
    monkeypatch.setattr(dataset, "simulate_batch", unstable)
    made = make(tmp_path)
    assert made.problems == {1: "It got unstable."}
    assert made.count == COUNT - 1
    assert "1 could not be simulated" in made.summary
    assert open_dataset(tmp_path).numbers == (0, 2, 3)
    make(tmp_path)
    assert len(calls) == COUNT


@pytest.mark.parametrize("batch", [1, 3])
def test_a_sample_that_cannot_start_spoils_no_other(whole, tmp_path, monkeypatch, batch):
    refused = DatasetSettings(simulation=TINY).sample(1)

    def picky(settings):
        if refused in settings:
            raise UserError("This one does not fit.")
        return (yield from simulate_batch(settings))

    simulate_batch = dataset.simulate_batch
    monkeypatch.setattr(dataset, "simulate_batch", picky)
    monkeypatch.setattr(dataset, "batch_size", lambda *_: batch)
    made = make(tmp_path)
    assert made.problems == {1: "This one does not fit."}
    assert_same(pictures(tmp_path)[1:2], pictures(whole.folder)[2:3])


def test_too_little_memory_ends_the_job_and_blames_no_sample(tmp_path, monkeypatch):
    def large(settings):
        raise UserError("This computer has not enough memory for this image.")
        yield

    monkeypatch.setattr(dataset, "simulate_batch", large)
    with pytest.raises(UserError, match="not enough memory"):
        make(tmp_path)
    assert len(open_dataset(tmp_path)) == 0


def test_a_picture_of_one_phase_is_no_sample():
    blank = run(simulate(TINY.model_copy(update={"fraction": 0.01, "noise": 0.0})))
    assert "one phase" in dataset.problem_of(blank)


def test_a_disk_without_room_is_noticed_before_the_first_sample(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 10**8))
    with pytest.raises(UserError, match=r"need up to 4.8 GB and .* has 0.1 GB free"):
        make(tmp_path, 1_000_000)
    assert not list(tmp_path.glob("*.tif"))


@pytest.mark.parametrize("kind", ["tiff", "zarr"])
def test_a_full_disk_keeps_the_finished_samples(whole, tmp_path, monkeypatch, kind):
    with monkeypatch.context() as patch:
        fill_the_disk(patch, after=2)
        with pytest.raises(UserError, match="disk is full") as caught:
            make(tmp_path, format=kind)
    assert "2 finished samples are kept" in str(caught.value)
    assert len(open_dataset(tmp_path)) == 2
    assert not list(tmp_path.glob(".sample*"))
    make(tmp_path, format=kind)
    assert_same(pictures(tmp_path), pictures(whole.folder))


def fill_the_disk(patch, after):
    """Let the pixels of sample `after` find no room."""
    import zarr

    def full(original):
        def write(self, *arguments, **options):
            if fill_the_disk.written >= 2 * after:
                raise OSError(errno.ENOSPC, "No space left on device")
            fill_the_disk.written += 1
            return original(self, *arguments, **options)

        return write

    fill_the_disk.written = 0
    patch.setattr(tifffile.TiffWriter, "write", full(tifffile.TiffWriter.write))
    patch.setattr(zarr.Array, "__setitem__", full(zarr.Array.__setitem__))


def test_a_folder_that_cannot_be_made_or_holds_no_data_set_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        make(tmp_path / "file")
    with pytest.raises(UserError, match="holds no data set"):
        open_dataset(tmp_path)


# ---- one OME-Zarr -----------------------------------------------------------------------------


def test_an_ome_zarr_holds_the_same_pixels_and_says_what_they_are(whole, tmp_path):
    make(tmp_path, 2, format="zarr")
    make(tmp_path, format="zarr")
    assert_same(pictures(tmp_path), pictures(whole.folder))
    root = json.loads((tmp_path / "dataset.zarr/zarr.json").read_text())
    ome = root["attributes"]["ome"]
    (image,) = ome["multiscales"]
    assert ome["version"] == "0.5"
    assert [axis["name"] for axis in image["axes"]] == ["sample", "y", "x"]
    assert image["axes"][1] == {"name": "y", "type": "space", "unit": "nanometer"}
    (level,) = image["datasets"]
    assert level["coordinateTransformations"] == [{"type": "scale", "scale": [1.0, 5.0, 5.0]}]
    array = json.loads((tmp_path / "dataset.zarr" / level["path"] / "zarr.json").read_text())
    assert array["shape"] == [COUNT, 32, 32]
    assert array["dimension_names"] == ["sample", "y", "x"]
    labels = json.loads((tmp_path / "dataset.zarr/labels/zarr.json").read_text())
    assert labels["attributes"]["ome"]["labels"] == ["labels"]
    one = json.loads((tmp_path / "dataset.zarr/labels/labels/zarr.json").read_text())
    assert one["attributes"]["ome"]["image-label"] == {"source": {"image": "../../"}}


def test_without_zarr_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(UserError, match=r"napari-physgen\[zarr\]"):
        make(tmp_path, format="zarr")


# ---- reading ----------------------------------------------------------------------------------


def test_a_data_set_is_a_sequence_and_shows_its_first_pictures(whole, monkeypatch):
    samples = open_dataset(whole.folder)
    np.testing.assert_array_equal(samples[-1].field, samples[COUNT - 1].field)
    assert len(samples[1:3]) == 2
    with pytest.raises(IndexError):
        samples[COUNT]
    monkeypatch.setattr(dataset, "SHOWN", 3)
    field, labels = whole.outputs()
    assert field.data.shape == labels.data.shape == (3, 32, 32)
    assert (field.axes, labels.kind) == (("sample", "y", "x"), "labels")


# ---- ranges -----------------------------------------------------------------------------------


@pytest.mark.parametrize("material", VARIED)
def test_drawn_parameters_fill_their_ranges(material):
    settings = DatasetSettings(simulation=PhaseFieldSettings(material=material), spread=0.3)
    samples = [settings.sample(i) for i in range(200)]
    for name, (low, high) in settings.ranges.items():
        values = np.array([getattr(sample, name) for sample in samples])
        assert low <= values.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < values.max() <= high
        # The mean of 200 uniform numbers is within 4 standard errors of the middle.
        assert abs(values.mean() - (low + high) / 2) < 4 * (high - low) / np.sqrt(12 * 200)
    assert len({sample.seed for sample in samples}) == 200


def test_a_given_range_takes_the_place_of_the_spread_and_changes_nothing_else():
    plain = DatasetSettings(simulation=TINY)
    wide = DatasetSettings(simulation=TINY, vary={"fraction": (0.2, 0.8), "noise": (0.02, 0.02)})
    first, second = plain.sample(3), wide.sample(3)
    assert second.noise == 0.02
    same = {"fraction", "noise"}
    assert first.model_dump(exclude=same) == second.model_dump(exclude=same)


def test_combinations_that_exclude_each_other_are_drawn_again():
    """100 nuclei per 100 x 100 cells of radius 3.5 fill 38 %, more than many of the fractions."""
    vary = {"nuclei": (5, 100), "fraction": (0.2, 0.6)}
    settings = DatasetSettings(simulation=PhaseFieldSettings(), vary=vary)
    samples = [settings.sample(i) for i in range(50)]
    assert max(s.nuclei for s in samples) > 80
    assert min(s.fraction for s in samples) < 0.25
    assert all(s.nuclei * np.pi * 0.035**2 < s.fraction for s in samples)


def test_no_spread_leaves_only_the_seed_to_chance():
    settings = DatasetSettings(simulation=TINY, spread=0)
    assert settings.ranges == {}
    only_seed = {"seed"}
    assert settings.sample(0).model_dump(exclude=only_seed) == TINY.model_dump(exclude=only_seed)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"vary": {"fraction": (0.6, 0.4)}}, "runs from 0.6 to 0.4"),
        ({"vary": {"fraction": (0.6, 1.4)}}, "less than 1"),
        ({"vary": {"grains": (1, 4)}}, "means nothing for the material spinodal"),
        ({"vary": {"second_time": (0.5, 0.9)}}, "(means nothing|must be the same)"),
        ({"vary": {"size": (32, 64)}}, "must be the same in all samples"),
        ({"vary": {"material": (1, 2)}}, "must be the same in all samples"),
        ({"vary": {"colour": (1, 2)}}, "no setting 'colour'"),
        ({"vary": {"gradient_energy": (0.1, 2)}}, "too coarse a grid"),
        ({"spread": 2}, "Spread"),
        ({"count": 0}, "Samples"),
        ({"simulation": {"fraction": 3}}, r"Fraction \(fraction\)"),
    ],
)
def test_an_impossible_data_set_is_refused_in_one_sentence(values, sentence):
    plain = {"simulation": TINY.model_dump(), "count": 2}
    with pytest.raises(UserError, match=sentence) as caught:
        DatasetSettings.parse(plain | values)
    assert "\n" not in str(caught.value)
