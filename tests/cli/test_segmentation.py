"""Models made and applied without a window."""

from __future__ import annotations

import csv
import json
import signal
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
import torch
from drawn_bars import dark_table, micrograph
from PIL import Image as Pixels

from napari_physgen import cli
from napari_physgen.backend import Progress, run
from napari_physgen.cli.pictures import files, read
from napari_physgen.io import Image, read_record, read_stack, write_ome_tiff
from napari_physgen.recipe import TOOLS, Tool
from napari_physgen.segmentation import (
    PredictSettings,
    SegmentationModel,
    SegmentationSettings,
    load,
    predict,
)
from napari_physgen.segmentation.look_alike import LookAlike
from napari_physgen.segmentation.model import Design
from napari_physgen.segmentation.prepare import normalised
from napari_physgen.synthesis import PhaseFieldSettings

if TYPE_CHECKING:
    from pathlib import Path

    from napari_physgen.segmentation import LabourFreeSettings
    from napari_physgen.segmentation.labour_free import Store
    from napari_physgen.segmentation.prepare import Prepared

QUICK = ["--no-flips", "--device", "cpu", "--precision", "32-true"]
TINY = [
    *("--preset", "quick", "--simulations", "2", "--trials", "1", "--pictures", "4"),
    *("--training-steps", "8", "--self-training", "0", "--device", "cpu", "--precision", "32-true"),
]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = "napari_physgen.segmentation.settings:PredictSettings"
    job = "napari_physgen.segmentation.apply:segment"
    monkeypatch.setitem(TOOLS, "segment", Tool(settings, job, inputs=("image",)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model, two images and their masks."""
    torch.manual_seed(0)
    net = Design(2, 4).build(1)
    model = SegmentationModel(net.eval(), Design(2, 4), ("matrix", "particles"), 10.0)
    model.save(tmp_path / "m.safetensors")
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for name, seed in (("a", 0), ("b", 1)):
        picture = micrograph((96, 128), seed)
        Pixels.fromarray(picture).save(tmp_path / f"images/{name}.png")
        Pixels.fromarray((picture < 115).astype(np.uint8)).save(tmp_path / f"masks/{name}.png")
    return tmp_path


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main([str(argument) for argument in arguments])
    return int(caught.value.code or 0)


def main(*arguments: object) -> None:
    cli.main([str(argument) for argument in arguments])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_labels_are_those_of_predict_with_pixel_size_and_record(folder: Path) -> None:
    out = folder / "out"
    main("segment", folder / "m.safetensors", folder / "images", "-o", out, *QUICK,
         "--pixel-size-nm", 10)  # fmt: skip
    assert names(out) == ["a_labels.ome.tif", "b_labels.ome.tif"]
    settings = PredictSettings(flips=False, device="cpu", precision="32-true")
    model = load(folder / "m.safetensors")
    direct = run(predict(model, micrograph((96, 128)), settings, pixel_size_nm=10.0))
    saved = read_stack(out / "a_labels.ome.tif")
    np.testing.assert_array_equal(saved.data.squeeze(), direct.labels)
    assert saved.pixel_size_nm == pytest.approx(10)
    record = read_record(out / "a_labels.ome.tif")
    assert record is not None
    assert (record.tool, record.inputs[0].source) == ("segment", "a.png")
    assert not record.settings["flips"]


def test_everything_that_was_asked_for_is_saved(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "out"
    main("segment", folder / "m.safetensors", folder / "images/a.png", "-o", out, *QUICK,
         "--truth", folder / "masks/a.png",
         "--particles", "--probabilities", "--uncertainty")  # fmt: skip
    assert names(out) == [
        "a_labels.ome.tif",
        "a_particles.csv",
        "a_particles.ome.tif",
        "a_probabilities.ome.tif",
        "a_scores.json",
        "a_uncertainty.ome.tif",
    ]
    shares = read_stack(out / "a_probabilities.ome.tif").data.squeeze()
    assert shares.shape == (2, 96, 128)
    np.testing.assert_allclose(shares.sum(0), 1, atol=1e-5)
    scores = json.loads((out / "a_scores.json").read_text())
    with (out / "a_particles.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == read_stack(out / "a_particles.ome.tif").data.max()
    printed = capsys.readouterr().out
    assert "no pixel size" in printed
    line = next(text for text in printed.splitlines() if text.startswith("a.png  "))
    assert float(line.split()[1]) == pytest.approx(scores["iou"], abs=1e-3)


def test_a_folder_of_masks_is_matched_by_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main("segment", folder / "m.safetensors", folder / "images", "-o", folder / "out", *QUICK,
         "--truth", folder / "masks")  # fmt: skip
    table = capsys.readouterr().out.splitlines()[-3:]
    values = [[float(value) for value in line.split()[1:]] for line in table]
    assert [line.split()[0] for line in table] == ["a.png", "b.png", "mean"]
    assert values[2] == pytest.approx(np.mean(values[:2], 0), abs=1e-3)


def test_stacks_and_time_lapses_keep_their_axes(folder: Path) -> None:
    planes = np.stack([micrograph((64, 80), seed) for seed in range(3)])
    movie = Image("movie", planes, ("t", "y", "x"), {"y": (0.01, "um"), "x": (0.01, "um")})
    write_ome_tiff(folder / "movie.ome.tif", [movie])
    main("segment", folder / "m.safetensors", folder / "movie.ome.tif", "-o", folder / "out",
         *QUICK, "--probabilities")  # fmt: skip
    with tifffile.TiffFile(folder / "out/movie_labels.ome.tif") as tif:
        assert tif.series[0].axes == "TYX"
    assert read_stack(folder / "out/movie_labels.ome.tif").pixel_size_nm == pytest.approx(10)
    assert read_stack(folder / "out/movie_probabilities.ome.tif").data.shape == (2, 3, 64, 80)


def test_an_image_that_fails_is_reported_and_the_others_still_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Pixels.fromarray(np.full((80, 80), 9, np.uint8)).save(folder / "images/aa_flat.png")
    (folder / "images/damaged.tif").write_bytes(b"II*")
    assert call("segment", folder / "m.safetensors", folder / "images", "-o", folder / "out",
                *QUICK) == 2  # fmt: skip
    assert names(folder / "out") == ["a_labels.ome.tif", "b_labels.ome.tif"]
    errors = capsys.readouterr().err
    assert "aa_flat.png: The image is flat" in errors
    assert "damaged.tif: " in errors
    assert "Traceback" not in errors


def test_ctrl_c_leaves_out_the_rest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("napari_physgen.segmentation.apply")

    plain = module.segment

    def interrupted(image, settings, **more):  # type: ignore[no-untyped-def]
        signal.raise_signal(signal.SIGINT)
        return plain(image, settings, **more)

    monkeypatch.setattr(module, "segment", interrupted)
    out = folder / "out"
    assert call("segment", folder / "m.safetensors", folder / "images", "-o", out, *QUICK) == 2
    assert names(out) == []


def test_a_folder_gives_its_images_but_no_results_of_before(folder: Path) -> None:
    (folder / "images/a_labels.ome.tif").write_bytes(b"")
    (folder / "images/notes.txt").write_text("x")
    assert [path.name for path in files([folder / "images"])] == ["a.png", "b.png"]


def test_colours_and_single_planes_are_read_as_grey_pictures(tmp_path: Path) -> None:
    grey = micrograph((64, 64))
    Pixels.fromarray(np.repeat(grey[..., None], 3, 2)).save(tmp_path / "c.tif")
    tifffile.imwrite(tmp_path / "s.tif", grey[None, None], metadata={"axes": "ZCYX"})
    for name in ("c.tif", "s.tif"):
        stack = read(tmp_path / name, 5.0)
        np.testing.assert_array_equal(stack.data, grey)
        assert (stack.axes, stack.pixel_size_nm) == (("y", "x"), 5.0)


@pytest.fixture
def made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look-alikes that need no simulation, and a small network."""
    module = import_module("napari_physgen.segmentation.labour_free")

    def look_step(prepared: Prepared, settings: LabourFreeSettings, store: Store):  # type: ignore[no-untyped-def]
        yield Progress(0, 1, "simulating")
        pictures = tuple(normalised(micrograph((256, 256), seed)) for seed in range(9, 13))
        masks = tuple((picture < 0.5).astype(np.uint8) for picture in pictures)
        phases = tuple(np.zeros(image.shape, np.uint8) for image in prepared.images)
        return LookAlike(pictures, masks, phases, PhaseFieldSettings(), 20.0, "Drawn.")

    small = partial(SegmentationSettings, features=4, crop=32, batch=2)
    monkeypatch.setattr(module, "look_step", look_step)
    monkeypatch.setattr(module, "SegmentationSettings", small)


@pytest.fixture
def real(tmp_path: Path, made_at_once: None) -> Path:
    folder = tmp_path / "real"
    folder.mkdir()
    Pixels.fromarray(dark_table(micrograph((256, 256)))).save(folder / "a.png")
    Pixels.fromarray(micrograph((256, 256), 1)).save(folder / "b.png")
    return folder


def test_a_model_is_made_from_images_alone(
    real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made"
    main("labour-free", real, "-o", out / "alloy", *TINY, "--labels", out / "labels",
         "--report", out / "report", "--pixel-size-nm", 12)  # fmt: skip
    assert names(out) == ["alloy.recipe.yaml", "alloy.safetensors", "labels", "report"]
    assert names(out / "labels") == ["a_labels.ome.tif", "b_labels.ome.tif"]
    assert any(name.endswith(".html") for name in names(out / "report"))
    model = load(out / "alloy.safetensors")
    assert model.pixel_size_nm == 12
    assert read_stack(out / "labels/a_labels.ome.tif").data.squeeze().shape == (279, 256)
    printed = capsys.readouterr().out
    assert "a.png: a bar or frame of 23 rows at the bottom was cut off" in printed
    assert "look-alikes: Drawn." in printed
    assert "tool: labour-free" in (out / "alloy.recipe.yaml").read_text()
    assert "training_steps: 8" in (out / "alloy.recipe.yaml").read_text()


def test_recipes_run_again_with_the_same_result(real: Path, tmp_path: Path) -> None:
    main("labour-free", real, "-o", tmp_path / "m", *TINY)
    main("run", tmp_path / "m.recipe.yaml", real, "-o", tmp_path / "again")
    first, again = (tmp_path / f"{part}m.safetensors" for part in ("", "again/"))
    weights = [load(path).net.state_dict() for path in (first, again)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])

    main("segment", first, real, "-o", tmp_path / "out", *QUICK)
    main("run", tmp_path / "out/a_labels.ome.tif", real, "-o", tmp_path / "labels")
    labels = [read_stack(tmp_path / f"{part}/b_labels.ome.tif").data for part in ("out", "labels")]
    np.testing.assert_array_equal(*labels)


def test_finished_steps_are_kept_in_the_project(real: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    main("labour-free", real, "-o", tmp_path / "m.safetensors", *TINY, "--project", project)
    kept = (project / "model.safetensors").read_bytes()
    (tmp_path / "m.safetensors").unlink()
    main("labour-free", real, "-o", tmp_path / "m.safetensors", *TINY, "--project", project)
    assert (project / "model.safetensors").read_bytes() == kept
    assert (tmp_path / "m.safetensors").exists()


def test_ctrl_c_ends_the_running_step_and_keeps_the_model(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module("napari_physgen.segmentation.labour_free")

    plain = module.train

    def interrupted(*inputs, **more):  # type: ignore[no-untyped-def]
        signal.raise_signal(signal.SIGINT)
        return (yield from plain(*inputs, **more))

    monkeypatch.setattr(module, "train", interrupted)
    main("labour-free", real, "-o", tmp_path / "m", *TINY[:8], "--training-steps", "500",
         "--device", "cpu")  # fmt: skip
    assert "stopped early" in load(tmp_path / "m.safetensors").summary


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["segment", "absent.safetensors", "{images}", "-o", "{out}"], "no readable model"),
        (["segment", "{images}/a.png", "{images}", "-o", "{out}"], "is not a model file"),
        (["segment", "{model}", "{empty}", "-o", "{out}"], "holds no images"),
        (["segment", "{model}", "{images}", "{images}/a.png", "-o", "{out}"], "the same name"),
        (["segment", "{model}", "{images}", "-o", "{out}", "--tile", "3"], "Tile (tile)"),
        (
            ["segment", "{model}", "{images}", "-o", "{out}", "--truth", "{masks}/a.png"],
            "1 masks for 2 images",
        ),
        (["segment", "{model}", "{images}", "-o", "{out}", "--truth", "{empty}"], "no images"),
        (["labour-free", "{empty}", "-o", "{out}/m"], "holds no images"),
        (["labour-free", "{images}"], "--out"),
        (["labour-free", "{images}", "-o", "{out}/m", "--preset", "slow"], "known: quick"),
        (["labour-free", "{images}", "-o", "{out}/m", "--pictures", "1"], "Pictures (pictures)"),
        (["labour-free", "absent.png", "-o", "{out}/m"], "There is no file absent.png."),
        (["labour-free", "{flat}", "-o", "{out}/m"], "The image is flat"),
    ],
)
def test_wrong_input_gives_one_line_and_exit_code_2(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    (folder / "empty").mkdir()
    Pixels.fromarray(np.full((80, 80), 9, np.uint8)).save(folder / "flat.png")
    places = {
        **{name: folder / name for name in ("images", "masks", "out", "empty")},
        "model": folder / "m.safetensors",
        "flat": folder / "flat.png",
    }
    assert call(*(text.format(**places) for text in arguments)) == 2
    errors = capsys.readouterr().err.strip()
    assert sentence.lower() in errors.lower()
    assert len(errors.splitlines()) == 1
