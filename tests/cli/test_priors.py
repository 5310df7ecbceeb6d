"""Priors taught and used without a window."""

from __future__ import annotations

import signal
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from PIL import Image as Pixels
from scipy.ndimage import gaussian_filter

from napari_physgen import cli
from napari_physgen.backend import run
from napari_physgen.generative import (
    GenerateSettings,
    GenerativeSettings,
    RestoreSettings,
    load,
    restore,
)
from napari_physgen.generative.generate import sample
from napari_physgen.io import Image, read_record, read_stack, write_ome_tiff
from napari_physgen.recipe import TOOLS, Recipe
from napari_physgen.segmentation import SegmentationSettings
from napari_physgen.segmentation import train as train_segmentation

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIZE = 48
COUNT = 6
TINY = ("--steps", 12, "--features", 4, "--levels", 2, "--crop", 24, "--batch", 4)
CPU = ("--device", "cpu")
FEW = ("--samples", 2, "--steps", 3, *CPU)


def mask(seed: int) -> NDArray[np.uint8]:
    blurred = gaussian_filter(np.random.default_rng(seed).normal(size=(SIZE, SIZE)), 3)
    return (blurred > 0).astype(np.uint8)


def clean(seed: int) -> NDArray[np.float32]:
    return np.where(mask(seed), 400, 300).astype(np.float32)


def noisy(seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng([seed, 1])
    return (clean(seed) + rng.normal(0, 20, (SIZE, SIZE))).astype(np.float32)


def main(*arguments: object) -> None:
    cli.main([str(argument) for argument in arguments])


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main(*arguments)
    return int(caught.value.code or 0)


def write(folder: Path, name: str, data: NDArray[np.generic], axes: str = "YX") -> Path:
    image = Image(name, data, tuple(axes.lower()), dict.fromkeys("yx", (0.05, "um")))
    return write_ome_tiff(folder / f"{name}.ome.tif", [image])


def series(path: Path) -> dict[str, NDArray[np.generic]]:
    """Return the images of a file by name; those that became channels of one part again."""
    found: dict[str, NDArray[np.generic]] = {}
    with tifffile.TiffFile(path) as tif:
        for one in tif.series:
            names = one.name.split(" + ")
            data = one.asarray()
            parts = [data] if len(names) == 1 else list(data)
            found |= dict(zip(names, parts, strict=True))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clean and noisy images, masks, and a prior of each kind."""
    place: Path = tmp_path_factory.mktemp("priors")
    for name in ("clean", "noisy", "masks"):
        (place / name).mkdir()
    for seed in range(COUNT):
        write(place / "clean", f"a{seed}", clean(seed))
        write(place / "noisy", f"a{seed}", noisy(seed))
        Pixels.fromarray(mask(seed)).save(place / f"masks/a{seed}.png")
    learn = ("prior", "train", place / "clean", *TINY, *CPU)
    main(*learn, "-o", place / "plain.safetensors")
    main(*learn, "-o", place / "pairs", "--pairs", place / "noisy")
    main(*learn, "-o", place / "follow", "--masks", place / "masks")
    return place


# ---- prior ------------------------------------------------------------------------------------


def test_a_prior_knows_its_kind_its_pixels_and_its_record(folder: Path) -> None:
    plain, pairs, follow = (load(folder / f"{n}.safetensors") for n in ("plain", "pairs", "follow"))
    assert [model.learned for model in (plain, pairs, follow)] == ["images", "pairs", "masks"]
    assert (plain.pixel_size_nm, follow.classes) == (pytest.approx(50), 2)
    assert pairs.condition_scale is not None
    assert plain.record["tool"] == "prior"
    assert plain.record["inputs"][0]["shape"] == [SIZE, SIZE]
    assert plain.settings["steps"] == 12


def test_a_recipe_gives_the_same_prior_again(folder: Path, tmp_path: Path) -> None:
    recipe = folder / "pairs.recipe.yaml"
    assert Recipe.load(recipe).tool == "prior"
    main("run", recipe, folder / "clean", "--pairs", folder / "noisy", "-o", tmp_path)
    first, again = (load(path / "pairs.safetensors") for path in (folder, tmp_path))
    for one, other in zip(first.net.parameters(), again.net.parameters(), strict=True):
        np.testing.assert_array_equal(one.numpy(force=True), other.numpy(force=True))


def test_a_prior_learns_from_noisy_images_alone(folder: Path, tmp_path: Path) -> None:
    main("prior", "train", folder / "noisy", "-o", tmp_path / "n", "--conditional", "noisy",
         *TINY, *CPU)  # fmt: skip
    model = load(tmp_path / "n.safetensors")
    assert model.learned == "noisy"
    assert model.noise_level > 0


def test_volumes_are_learned_as_volumes(folder: Path, tmp_path: Path) -> None:
    volume = np.stack([clean(seed) for seed in range(8)])
    write(tmp_path, "v", np.concatenate([volume, volume[::-1]]), "ZYX")
    main("prior", "train", tmp_path / "v.ome.tif", "-o", tmp_path / "v", "--volumes",
         *TINY[:2], *TINY[2:6], "--crop", 16, "--batch", 2, *CPU)  # fmt: skip
    assert load(tmp_path / "v.safetensors").design.dimensions == 3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("plain", ["learned from images, 12 steps", "restore (denoise, deconvolve", "50 nm"]),
        ("pairs", ["noisy images with their clean partners", "restore (denoise)\n"]),
        ("follow", ["2 classes (0 to 1)", "generate, also following masks"]),
    ],
)
def test_info_says_what_a_prior_learned_and_is_good_for(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, words: list[str]
) -> None:
    capsys.readouterr()
    main("prior", "info", folder / f"{name}.safetensors")
    text = capsys.readouterr().out
    for part in [*words, "edm, diffusion", "a0.ome.tif, a1.ome.tif", "300 to 400, linear"]:
        assert part in text


def test_ctrl_c_keeps_the_best_network_so_far(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module = import_module("napari_physgen.generative.train")
    plain = module.fit

    def interrupted(*inputs, **options):  # type: ignore[no-untyped-def]
        signal.raise_signal(signal.SIGINT)
        return (yield from plain(*inputs, **options))

    monkeypatch.setattr(module, "fit", interrupted)
    main("prior", "train", folder / "clean", "-o", tmp_path / "p", "--steps", 10_000, *TINY[2:],
         *CPU)  # fmt: skip
    assert "stopped early" in capsys.readouterr().out
    (intervention,) = load(tmp_path / "p.safetensors").record["interventions"]
    assert intervention.startswith("stopped at learning")


def test_a_distilled_prior_makes_images_in_two_steps(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main("prior", "distill", folder / "plain.safetensors", folder / "clean",
         "-o", tmp_path / "quick", "--steps", 4, "--batch", 2, "--crop", 24, *CPU)  # fmt: skip
    quick = tmp_path / "quick.safetensors"
    assert load(quick).consistency
    main("prior", "info", quick)
    assert "consistency model" in capsys.readouterr().out
    main("generate", "--prior", quick, "-o", tmp_path, "--count", 1, "--size", 32, *CPU)
    assert "in 2 steps each" in capsys.readouterr().out


# ---- restore ----------------------------------------------------------------------------------


def test_the_image_is_that_of_the_job_with_pixel_size_and_record(
    folder: Path, tmp_path: Path
) -> None:
    prior = folder / "plain.safetensors"
    main("restore", folder / "noisy/a0.ome.tif", "--prior", prior, "-o", tmp_path, *CPU)
    settings = RestoreSettings(model=str(prior), pixel_size_nm=50.0, device="cpu")
    direct = run(restore(noisy(0), settings=settings))
    path = tmp_path / "a0_restored.ome.tif"
    images = series(path)
    assert list(images) == ["restored", "uncertainty", "residual", "not sure"]
    np.testing.assert_array_equal(images["restored"], direct.mean)
    np.testing.assert_array_equal(images["uncertainty"], direct.std)
    np.testing.assert_array_equal(images["residual"], direct.residual)
    assert read_stack(path).pixel_size_nm == pytest.approx(50)
    record = read_record(path)
    assert record is not None
    assert (record.tool, record.inputs[0].source) == ("restore", "a0.ome.tif")
    assert record.settings == settings.model_dump(mode="json")


def test_a_recipe_restores_the_same_pixels_again(folder: Path, tmp_path: Path) -> None:
    image = folder / "noisy/a0.ome.tif"
    main("restore", image, "--prior", folder / "pairs.safetensors", "-o", tmp_path, *CPU)
    recipe = tmp_path / "a0_restored.recipe.yaml"
    assert Recipe.load(recipe).tool == "restore"
    main("run", recipe, image, "-o", tmp_path / "again")
    first, again = (series(p / "a0_restored.ome.tif") for p in (tmp_path, tmp_path / "again"))
    np.testing.assert_array_equal(first["restored"], again["restored"])


def test_without_a_prior_the_noisy_image_teaches(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = folder / "noisy/a0.ome.tif"
    main("restore", image, "-o", tmp_path, "--learning-steps", 5, *CPU)
    assert series(tmp_path / "a0_restored.ome.tif")["restored"].shape == (SIZE, SIZE)
    text = capsys.readouterr().out
    assert "a0.ome.tif: Restored in one evaluation" in text
    assert "read noise" in text


def test_time_points_are_restored_together_and_channels_by_themselves(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    movie = np.stack([[noisy(0), noisy(1)], [noisy(2), noisy(3)], [noisy(4), noisy(5)]])
    write(tmp_path, "movie", movie, "TCYX")
    main("restore", tmp_path / "movie.ome.tif", "--prior", folder / "plain.safetensors",
         "-o", tmp_path, "--read-noise", 20, "--camera-gain", 0, "--camera-offset", 0,
         *CPU)  # fmt: skip
    with tifffile.TiffFile(tmp_path / "movie_restored.ome.tif") as tif:
        assert (tif.series[0].axes, tif.series[0].shape) == ("CTYX", (2, 3, SIZE, SIZE))
        found = tif.series[0].asarray()
    settings = RestoreSettings(read_noise=20, camera_gain=0, camera_offset=0, device="cpu")
    model = load(folder / "plain.safetensors")
    direct = run(restore(movie[:, 1], model, settings))
    np.testing.assert_array_equal(found[1], direct.mean)
    text = capsys.readouterr().out
    assert "movie.ome.tif c 1: Restored" in text
    assert "movie.ome.tif c 2: Restored" in text


def test_samples_and_finer_pixels_are_saved_with_their_size(folder: Path, tmp_path: Path) -> None:
    main("restore", folder / "noisy/a0.ome.tif", "--prior", folder / "plain.safetensors",
         "-o", tmp_path, "--task", "super-resolve", "--pixel-size-nm", 100, *FEW)  # fmt: skip
    path = tmp_path / "a0_restored.ome.tif"
    images = series(path)
    assert images["samples"].shape == (2, 2 * SIZE, 2 * SIZE)
    assert images["residual"].shape == (SIZE, SIZE)
    assert read_stack(path).pixel_size_nm == pytest.approx(50)


def test_the_mask_says_where_the_gaps_are(folder: Path, tmp_path: Path) -> None:
    main("restore", folder / "noisy/a0.ome.tif", "--prior", folder / "plain.safetensors",
         "-o", tmp_path, "--task", "inpaint", "--mask", folder / "masks/a1.png", *FEW)  # fmt: skip
    record = read_record(tmp_path / "a0_restored.ome.tif")
    assert record is not None
    assert [item.source for item in record.inputs] == ["a0.ome.tif", "a1.png"]


def test_ctrl_c_keeps_the_planes_that_are_there(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module = import_module("napari_physgen.generative.restore")
    plain, planes = module._solve, []

    def interrupted(*inputs):  # type: ignore[no-untyped-def]
        planes.append(plain(*inputs))
        if len(planes) == 2:
            raise module.Stopped
        return planes[-1]

    monkeypatch.setattr(module, "_solve", interrupted)
    write(tmp_path, "movie", np.stack([noisy(seed) for seed in range(4)]), "TYX")
    main("restore", tmp_path / "movie.ome.tif", "--prior", folder / "plain.safetensors",
         "-o", tmp_path, *CPU)  # fmt: skip
    assert "Stopped after 1 of 4 planes." in capsys.readouterr().out
    assert series(tmp_path / "movie_restored.ome.tif")["restored"].shape[-2:] == (SIZE, SIZE)


def test_an_image_that_fails_is_reported_and_the_others_still_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "dark.npy", noisy(0) - 5000)
    assert call("restore", tmp_path / "dark.npy", folder / "noisy/a0.ome.tif", "--prior",
                folder / "plain.safetensors", "-o", tmp_path / "out", *CPU) == 2  # fmt: skip
    errors = capsys.readouterr().err
    assert "dark.npy: The image's grey levels" in errors
    assert "Traceback" not in errors
    assert (tmp_path / "out/a0_restored.ome.tif").exists()


# ---- generate ---------------------------------------------------------------------------------


def test_images_are_those_of_the_job_one_file_each(folder: Path, tmp_path: Path) -> None:
    prior = folder / "plain.safetensors"
    few = ("--count", 2, "--size", 32, "--steps", 3, "--seed", 5, *CPU)
    main("generate", "--prior", prior, "-o", tmp_path, *few)
    settings = GenerateSettings(count=2, size=32, steps=3, seed=5, device="cpu")
    direct = run(sample(load(prior), settings=settings))
    assert (tmp_path / "generate.recipe.yaml").exists()
    paths = sorted((tmp_path / "images").iterdir())
    assert [path.name for path in paths] == ["0001.ome.tif", "0002.ome.tif"]
    for path, picture in zip(paths, direct.images, strict=True):
        np.testing.assert_array_equal(series(path)["images"], picture)
        assert read_stack(path).pixel_size_nm == pytest.approx(50)
    main("run", tmp_path / "generate.recipe.yaml", "-o", tmp_path / "again")
    again = series(tmp_path / "again/images/0002.ome.tif")
    np.testing.assert_array_equal(again["images"], direct.images[1])


def test_images_follow_masks_and_teach_a_segmentation(folder: Path, tmp_path: Path) -> None:
    given = [folder / f"masks/a{seed}.png" for seed in range(COUNT)]
    main("generate", "--prior", folder / "follow.safetensors", "-o", tmp_path, "--steps", 3, *CPU,
         "--masks", *given)  # fmt: skip
    made = [
        [read_stack(path).data.squeeze() for path in sorted((tmp_path / name).iterdir())]
        for name in ("images", "masks")
    ]
    for seed, labels in enumerate(made[1]):
        np.testing.assert_array_equal(labels, mask(seed))
    settings = SegmentationSettings(steps=1, crop=32, features=4, batch=2, device="cpu")
    assert len(run(train_segmentation(*made, settings)).classes) == 2
    main("prior", "train", tmp_path / "images", "--masks", tmp_path / "masks",
         "-o", tmp_path / "p", *TINY, *CPU)  # fmt: skip


def test_masks_are_taken_from_samples_of_a_data_set(folder: Path, tmp_path: Path) -> None:
    main("dataset", "--preset", "spinodal", "--size", 32, "--duration", 2, "--noise", 0.1,
         "--spread", 0, "--count", 2, "-o", tmp_path / "data")  # fmt: skip
    main("generate", "--prior", folder / "follow.safetensors", "-o", tmp_path, "--steps", 3, *CPU,
         "--masks", tmp_path / "data")  # fmt: skip
    for index in range(2):
        wanted = series(tmp_path / f"data/sample_{index:05}.ome.tif")["labels"]
        made = series(tmp_path / f"masks/{index + 1:04}.ome.tif")["masks"]
        np.testing.assert_array_equal(made, wanted)


# ---- wrong input ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["prior", "train", "{clean}"], "--out"),
        (["prior", "train", "absent.tif", "-o", "{out}"], "There is no file absent.tif."),
        (["prior", "train", "{clean}", "-o", "{out}", "--preset", "gan"], "Model (preset)"),
        (["prior", "train", "{clean}", "-o", "{out}", "--steps", "0"], "Training steps (steps)"),
        (
            ["prior", "train", "{clean}", "-o", "{out}", "--conditional", "pairs"],
            "To learn from pairs, give --pairs beside the images.",
        ),
        (
            ["prior", "train", "{clean}", "-o", "{out}", "--pairs", "{noisy}", "--conditional",
             "images"],
            "and --conditional pairs.",
        ),
        (
            ["prior", "train", "{clean}", "-o", "{out}", "--masks", "{one}"],
            "There are 1 masks for 6 images",
        ),
        (
            ["prior", "train", "{clean}", "-o", "{out}", "--pairs", "{masks}"],
            "There is no partner with the name of a0.ome.tif",
        ),
        (["prior", "train", "{clean}", "-o", "{out}", "--masks", "{noisy}"], "is no mask"),
        (
            ["prior", "train", "{clean}", "-o", "{out}", "--preset", "ddpm",
             "--poisson-dimensions", "6"],
            "Poisson dimensions do not allow",
        ),
        (["prior", "info", "absent.safetensors"], "absent.safetensors"),
        (["prior", "paint"], "paint"),
        (["restore", "{one}", "-o", "{out}", "--prior", "{one}"], "a0"),
        (["restore", "{one}", "-o", "{out}", "--task", "deconvolve"], "This task needs a prior"),
        (["restore", "{one}", "-o", "{out}", "--samples", "3"], "makes no samples"),
        (["restore", "{one}", "-o", "{out}", "--read-noise", "-1"], "Read noise (read_noise)"),
        (
            ["restore", "{one}", "-o", "{out}", "--prior", "{plain}", "--pixel-size-nm", "80"],
            "The prior learned pixels of 50 nm",
        ),
        (
            ["restore", "{one}", "-o", "{out}", "--prior", "{plain}", "--task", "inpaint"],
            "To fill gaps, say where they are",
        ),
        (["generate", "-o", "{out}"], "--prior"),
        (["generate", "--prior", "{pairs}", "-o", "{out}"], "This prior only removes noise"),
        (
            ["generate", "--prior", "{plain}", "-o", "{out}", "--masks", "{masks}"],
            "This prior knows no masks",
        ),
        (["run", "{recipe}", "-o", "{out}"], "name at least one file"),
        (["run", "{nothing}", "-o", "{out}"], "The recipe names no prior"),
        (["run", "{simulate}", "--masks", "{masks}", "-o", "{out}"], "neither masks nor pairs"),
    ],
)  # fmt: skip
def test_wrong_input_gives_one_line_and_exit_code_2(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    places = {name: folder / name for name in ("clean", "noisy")}
    places["masks"] = tmp_path / "other"
    places["masks"].mkdir()
    Pixels.fromarray(mask(0)).save(places["masks"] / "other.png")
    places |= {"out": tmp_path / "out", "one": folder / "noisy/a0.ome.tif"}
    places |= {name: folder / f"{name}.safetensors" for name in ("plain", "pairs")}
    places |= {"recipe": folder / "plain.recipe.yaml"}
    for tool, name in (("generate", "nothing"), ("simulate", "simulate")):
        places[name] = Recipe(tool=tool, settings={}).save(tmp_path / f"{name}.yaml")
    capsys.readouterr()
    assert call(*(argument.format(**places) for argument in arguments)) == 2
    errors = capsys.readouterr().err.strip()
    assert sentence in errors
    assert len(errors.splitlines()) == 1


def test_channels_are_not_mixed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = write(tmp_path, "both", np.stack([clean(0), noisy(0)]), "CYX")
    assert call("prior", "train", folder / "clean", both, "-o", tmp_path / "p", *TINY) == 2
    assert "both.ome.tif holds 2 channels" in capsys.readouterr().err


def test_images_of_different_pixel_sizes_are_not_mixed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = Image("b", clean(0), ("y", "x"), dict.fromkeys("yx", (0.08, "um")))
    other = write_ome_tiff(tmp_path / "b.ome.tif", [image])
    assert call("prior", "train", folder / "clean", other, "-o", tmp_path / "p", *TINY) == 2
    assert "pixels of 50 to 80 nm, but a prior learns one size" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "model"),
    [
        (["prior", "train"], GenerativeSettings),
        (["restore"], RestoreSettings),
        (["generate"], GenerateSettings),
    ],
)
def test_help_shows_every_setting_and_loads_no_torch(command: list[str], model: type) -> None:
    code = (
        "import sys\nfrom napari_physgen.cli import main\n"
        f"main({[*command, '--help']})\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    names = [name for name in model.model_fields if (name, model) not in FILES]  # type: ignore[attr-defined]
    assert [name for name in names if f"--{name.replace('_', '-')}" not in done.stdout] == []


FILES = {("model", RestoreSettings), ("model", GenerateSettings)}
"""Settings that are given as a file (--prior)."""


@pytest.mark.parametrize("tool", ["prior", "restore", "generate"])
def test_the_defaults_survive_a_recipe(tmp_path: Path, tool: str) -> None:
    settings = TOOLS[tool].settings_class()()
    recipe = Recipe(tool=tool, settings=settings.model_dump(mode="json"))
    assert Recipe.load(recipe.save(tmp_path / "r.yaml")).parse() == settings
