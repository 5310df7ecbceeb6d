"""Region maps made without a window."""

from __future__ import annotations

import csv
import json
import re
import signal
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from vendor_files import write_nsid

from napari_physgen import cli
from napari_physgen.backend import run
from napari_physgen.io import Image, read_record, read_stack
from napari_physgen.outputs import Output
from napari_physgen.recipe import Recipe
from napari_physgen.regions import RegionSettings, map_regions

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FAST = ("--method", "fast", "--regions", "2", "--wall-cost", "2.5")
SIZE = 24
SPECTRA = 16


def halves() -> NDArray[np.uint16]:
    """Counts (energy, y, x) of two compounds, side by side."""
    energy = np.arange(SPECTRA)[:, None, None]
    right = np.indices((SIZE, SIZE))[1] >= 10
    lines = np.exp(-0.5 * (energy - np.where(right, 4, 11)) ** 2)
    return np.random.default_rng(0).poisson(8 * lines + 0.5).astype(np.uint16)


def write_map(path: Path, height_nm: float = 2.0) -> None:
    """An EDS map (y, x, energy), pixels 2 nm wide, after a picture of the same place."""
    y, x = height_nm * np.arange(SIZE), 2.0 * np.arange(SIZE)
    space = [("y", "nm", "spatial", y), ("x", "nm", "spatial", x)]
    energy = ("energy", "eV", "spectral", 100.0 + 10 * np.arange(SPECTRA))
    write_nsid(path, halves().sum(0).astype(np.float32), space, "overview")
    write_nsid(path, np.moveaxis(halves(), 0, -1), [*space, energy], "EDS")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_map(tmp_path / "a.h5")
    return tmp_path


def main(*arguments: object) -> None:
    cli.main([str(argument) for argument in arguments])


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main(*arguments)
    return int(caught.value.code or 0)


def ome(path: Path) -> str:
    with tifffile.TiffFile(path) as tif:
        return tif.ome_metadata or ""


def test_the_map_is_that_of_the_job_with_pixel_size_and_record(folder: Path) -> None:
    main("regions", folder / "a.h5", "-o", folder / "out", *FAST)
    settings = RegionSettings(method="fast", regions=2, wall_cost=2.5, signal_axis="first")
    direct = run(map_regions(halves(), settings))
    stack = read_stack(folder / "out/a_regions.ome.tif")
    np.testing.assert_array_equal(stack.data.squeeze(), direct.labels)
    assert stack.pixel_size_nm == pytest.approx(2.0)
    record = read_record(folder / "out/a_regions.ome.tif")
    assert record is not None
    assert (record.tool, record.inputs[0].source) == ("regions", "a.h5: EDS")
    assert record.settings["pixel_size_nm"] == 2.0


def test_images_tables_report_and_recipe_are_saved(folder: Path) -> None:
    out = folder / "out"
    main("regions", folder / "a.h5", "-o", out, *FAST)
    assert sorted(path.name for path in out.iterdir()) == [
        "a_interfaces.csv",
        "a_regions.csv",
        "a_regions.ome.tif",
        "a_regions.recipe.yaml",
        "a_report.json",
        "a_walls.csv",
    ]
    names = re.findall(r'<Image [^>]*Name="([^"]+)"', ome(out / "a_regions.ome.tif"))
    held = {name for group in names for name in group.split(" + ")}
    assert held == {"regions", "probabilities", "entropy", "latent maps"}  # lines are in a table
    with (out / "a_interfaces.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert float(row["length_nm"]) == pytest.approx(2.0 * SIZE, rel=0.1)
    assert json.loads((out / "a_report.json").read_text("utf-8"))["choices"]["kind"] == "spectra"


def test_a_recipe_gives_the_same_map_again(folder: Path) -> None:
    main("regions", folder / "a.h5", "-o", folder / "out", *FAST)
    recipe = folder / "out/a_regions.recipe.yaml"
    assert Recipe.load(recipe).tool == "regions"
    main("run", recipe, folder / "a.h5", "-o", folder / "again")
    first, second = (read_stack(folder / f"{name}/a_regions.ome.tif") for name in ("out", "again"))
    np.testing.assert_array_equal(first.data, second.data)


def test_pixels_that_are_no_squares_keep_their_height(folder: Path) -> None:
    write_map(folder / "b.h5", height_nm=4.0)
    main("regions", folder / "b.h5", "-o", folder / "out", *FAST)
    pixels = ome(folder / "out/b_regions.ome.tif")
    assert 'PhysicalSizeX="0.002"' in pixels
    assert 'PhysicalSizeY="0.004"' in pixels
    report = json.loads((folder / "out/b_report.json").read_text("utf-8"))
    assert report["wall_length"] == pytest.approx(4.0 * SIZE, rel=0.1)


def test_a_given_pixel_size_counts_and_the_difference_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main("regions", folder / "a.h5", "-o", folder / "out", *FAST, "--pixel-size-nm", 5)
    assert read_stack(folder / "out/a_regions.ome.tif").pixel_size_nm == pytest.approx(5.0)
    assert "pixels of 5 nm as given, not 2 nm as in the file" in capsys.readouterr().out


def test_a_list_of_the_data_sets_needs_no_folder(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main("regions", folder / "a.h5", "--list")
    text = capsys.readouterr().out
    assert "1  EDS: 16 energy x 24 y x 24 x, pixels of 2 x 2 nm" in text
    assert "2  overview: 24 y x 24 x" in text


@pytest.mark.parametrize("dataset", ["overview", "2"])
def test_a_data_set_is_chosen_by_name_or_number(folder: Path, dataset: str) -> None:
    main("regions", folder / "a.h5", "-o", folder / "out", *FAST, "--dataset", dataset)
    record = read_record(folder / "out/a_regions.ome.tif")
    assert record is not None
    assert record.inputs[0].source == "a.h5: overview"


def test_there_is_no_map_outside_of_the_mask(folder: Path) -> None:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[4:20, 4:20] = 1
    tifffile.imwrite(folder / "mask.tif", mask)
    main("regions", folder / "a.h5", "-o", folder / "out", *FAST, "--mask", folder / "mask.tif")
    labels = read_stack(folder / "out/a_regions.ome.tif").data.squeeze()
    np.testing.assert_array_equal(labels > 0, mask > 0)


def test_a_tiff_stack_is_read_as_channels(folder: Path) -> None:
    tifffile.imwrite(
        folder / "c.tif", halves()[3:12:4].astype(np.float32), photometric="minisblack"
    )
    main("regions", folder / "c.tif", "-o", folder / "out", *FAST)
    report = json.loads((folder / "out/c_report.json").read_text("utf-8"))
    assert report["choices"]["kind"] == "channels"


def test_choices_are_printed_with_what_was_tried(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main("regions", folder / "a.h5", "-o", folder / "out", "--method", "fast", "--most-regions", 3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("a.h5: 2 kinds of region")
    assert lines[1] == "  kind spectra, grid step 1 px, wall cost 2.5"
    assert [line.split()[:2] for line in lines if line.startswith("  *")] == [
        ["*", "2"],
        ["*", "2.5"],
    ]


def test_ctrl_c_keeps_the_map_so_far(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("napari_physgen.regions.vae")
    plain = module.dense_vae

    def interrupted(*inputs):  # type: ignore[no-untyped-def]
        signal.raise_signal(signal.SIGINT)
        return (yield from plain(*inputs))

    monkeypatch.setattr(module, "dense_vae", interrupted)
    main("regions", folder / "a.h5", "-o", folder / "out", *FAST[2:])
    report = json.loads((folder / "out/a_report.json").read_text("utf-8"))
    assert report["summary"].startswith("Stopped early.")
    assert len(report["regions"]) == 2


def test_a_file_that_fails_is_reported_and_the_others_still_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(folder / "flat.npy", np.ones((16, 16)))
    (folder / "damaged.dm4").write_bytes(b"no such thing")
    assert call("regions", folder / "flat.npy", folder / "damaged.dm4", folder / "a.h5",
                "-o", folder / "out", *FAST) == 2  # fmt: skip
    errors = capsys.readouterr().err
    assert "flat.npy: All points have the same value" in errors
    assert "damaged.dm4: damaged.dm4 could not be read" in errors
    assert "Traceback" not in errors
    assert (folder / "out/a_regions.ome.tif").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{a}"], "Name a folder for the results"),
        (["absent.npy", "-o", "{out}"], "There is no file"),
        (["notes.txt", "-o", "{out}"], "is of an unknown format"),
        (["{a}", "{a}", "-o", "{out}"], "the same name"),
        (["{a}", "-o", "{out}", "--dataset", "none"], "known: 'EDS', 'overview'"),
        (["{a}", "-o", "{out}", "--regions", "0"], "greater than or equal to 1"),
        (["{a}", "-o", "{out}", "--kind", "lattice"], "cannot be lattice"),
        (["{a}", "-o", "{out}", "--mask", "{small}"], "take one of the same size"),
        (["{a}", "-o", "{out}", "--window", "99", "--kind", "channels"], "choose a smaller one"),
        (["{single}", "-o", "{out}"], "is a single spectrum"),
        (["{series}", "-o", "{out}"], "a map needs an image"),
    ],
)
def test_wrong_input_gives_one_line_and_exit_code_2(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    tifffile.imwrite(folder / "small.tif", np.ones((8, 8), np.uint8))
    tifffile.imwrite(folder / "series.tif", np.ones((2, 3, 16, 16), np.uint8), imagej=True)
    np.save(folder / "single.npy", np.ones(64))
    places = {
        "a": "a.h5",
        "out": "out",
        "small": "small.tif",
        "series": "series.tif",
        "single": "single.npy",
    }
    full = {name: str(folder / place) for name, place in places.items()}
    assert call("regions", *(argument.format(**full) for argument in arguments)) == 2
    errors = capsys.readouterr().err.strip()
    assert sentence in errors
    assert len(errors.splitlines()) == 1


def test_lines_of_walls_are_no_images() -> None:
    walls = Output("walls", np.zeros((3, 2, 2), np.float32), "vectors")
    labels = Output("regions", np.ones((4, 4), np.uint8), "labels")
    assert [image.name for image in Image.kept([labels, walls], 1.0)] == ["regions"]
