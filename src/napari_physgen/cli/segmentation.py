"""Commands that segment micrographs: make a model without labels, and apply it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from napari_physgen.cli.labelling import label
from napari_physgen.cli.options import Folder, given, partial
from napari_physgen.cli.pictures import Pictures, PixelSize, by_name, files, read
from napari_physgen.cli.terminal import drained, make
from napari_physgen.errors import UserError
from napari_physgen.segmentation.settings import (
    LabourFreeSettings,
    PredictSettings,
    labour_free_presets,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic import BaseModel as Applying
    from pydantic import BaseModel as Making

    from napari_physgen.io import Stack
    from napari_physgen.segmentation import SegmentationModel
    from napari_physgen.settings import Settings
else:
    Applying = partial(PredictSettings, "model")
    Making = partial(LabourFreeSettings)

TOOLS = ("labour-free", "segment")
_SUFFIX = ".safetensors"


def labour_free(
    images: Pictures,
    *,
    out: Annotated[
        Path, Parameter(name=["--out", "-o"], help="The model to write: MODEL.safetensors.")
    ],
    preset: Annotated[
        str,
        Parameter(help=f"Settings to start from: {', '.join(labour_free_presets)}."),
    ] = "standard",
    pixel_size_nm: PixelSize = None,
    labels: Annotated[
        Path | None, Parameter(help="Folder for the labels of the given images.")
    ] = None,
    report: Annotated[
        Path | None,
        Parameter(help="Folder for a page that says how real the look-alikes are."),
    ] = None,
    project: Annotated[
        Path | None,
        Parameter(help="Folder that keeps finished steps: the same command goes on from there."),
    ] = None,
    settings: Annotated[Making | None, Parameter(name="*")] = None,
) -> None:
    """Make a segmentation model from micrographs without any labels.

    Simulates what the images show, makes the simulations look like them and trains a network on
    these pairs. Saves MODEL.safetensors for `segment` and MODEL.recipe.yaml. Ctrl-C ends the
    running step early and keeps what it reached; a second Ctrl-C in the same step gives up.
    """
    make_model(
        _settings(preset, settings),
        files(images),
        out,
        pixel_size_nm=pixel_size_nm,
        labels=labels,
        report=report,
        project=project,
    )


def segment(
    model: Annotated[Path, Parameter(help="A model (.safetensors) made by `labour-free`.")],
    images: Pictures,
    *,
    out: Folder,
    pixel_size_nm: PixelSize = None,
    truth: Annotated[
        list[Path] | None,
        Parameter(
            negative="",
            help="Masks to compare with: a folder where they have the names of the images, or one "
            "file for each image, in its order.",
        ),
    ] = None,
    probabilities: Annotated[
        bool, Parameter(negative="", help="Also save the probability of every class.")
    ] = False,
    uncertainty: Annotated[
        bool, Parameter(negative="", help="Also save how unsure each pixel is, 0 to 1.")
    ] = False,
    settings: Annotated[Applying | None, Parameter(name="*")] = None,
) -> None:
    """Label micrographs of any size; stacks and time-lapses plane by plane.

    Saves IMAGE_labels.ome.tif, with --particles their numbers and IMAGE_particles.csv, and with
    --truth IMAGE_scores.json. An image that fails is reported and the others still run.
    """
    chosen = PredictSettings.parse(given(settings) | {"model": str(model.resolve())})
    more = {"probabilities"} if probabilities else set()
    more |= {"uncertainty"} if uncertainty else set()
    label(chosen, files(images), out, pixel_size_nm=pixel_size_nm, truth=truth, more=more)


def process(tool: str, settings: Settings, images: Sequence[Path], out: Path, name: str) -> None:
    """Run a recipe of one of these tools; a model is called `name`."""
    if isinstance(settings, LabourFreeSettings):
        make_model(settings, files(images), out / name)
    elif isinstance(settings, PredictSettings):
        label(settings, files(images), out)
    else:
        raise UserError(f"There is no command for '{tool}'.")


def make_model(
    settings: LabourFreeSettings,
    paths: Sequence[Path],
    out: Path,
    *,
    pixel_size_nm: float | None = None,
    labels: Path | None = None,
    report: Path | None = None,
    project: Path | None = None,
) -> None:
    """Make a model and save it with its recipe and whatever else is wanted; see `labour_free`."""
    from napari_physgen.io.recipes import write_recipe

    stacks = {path: read(path, pixel_size_nm) for path in paths}
    target = out if out.suffix == _SUFFIX else Path(f"{out}{_SUFFIX}")
    if labels:
        by_name(paths)
    for folder in filter(None, (target.parent, labels, report)):
        make(folder)
    with _kept(project) as folder:
        model = _made(stacks, settings, folder, report)
    model.save(target)
    recipe = target.with_suffix(".recipe.yaml")
    write_recipe(recipe, "labour-free", settings.model_dump(mode="json"))
    print(f"{target.name}: {model.summary}")
    print(f"  saved as {target}")
    if labels:
        applying = PredictSettings(
            model=str(target.resolve()), device=settings.device, precision=settings.precision
        )
        label(applying, paths, labels, pixel_size_nm=pixel_size_nm)


def _settings(preset: str, options: Making | None) -> LabourFreeSettings:
    if preset not in labour_free_presets:
        known = ", ".join(labour_free_presets)
        raise UserError(f"There is no preset '{preset}' (known: {known}).")
    return LabourFreeSettings.parse(labour_free_presets[preset].model_dump() | given(options))


def _made(
    stacks: Mapping[Path, Stack],
    settings: LabourFreeSettings,
    folder: Path,
    report: Path | None,
) -> SegmentationModel:
    """Run the steps one by one, so that Ctrl-C ends the running one only."""
    from napari_physgen.segmentation.labour_free import (
        Store,
        look_step,
        model_step,
        translation_step,
    )
    from napari_physgen.segmentation.prepare import prepare

    prepared = prepare(**_planes(stacks))
    for note in prepared.notes:
        print(note)
    store = Store(folder)
    look = drained(look_step(prepared, settings, store), "look-alikes")
    print(f"look-alikes: {look.summary}")
    translation = None
    if settings.translation != "none":
        translation = drained(translation_step(prepared, look, settings, store), "translation")
        print(f"translation: {translation.summary}")
    if report:
        from napari_physgen.synthesis import fidelity

        pictures = list(look.pictures)
        best = translation.translate(pictures, list(look.masks)) if translation else pictures
        compared = fidelity(prepared.images, best, pictures if translation else None)
        found = drained(compared, "report")
        print(f"report: {found.summary}")
        print(f"  saved as {found.save_page(report)}")
    model: SegmentationModel = drained(
        model_step(prepared, look, translation, settings, store), "training"
    )
    return model


def _planes(stacks: Mapping[Path, Stack]) -> dict[str, Any]:
    """Return all planes of all files as images with pixel sizes and names."""
    images, sizes, names = [], [], []
    for path, stack in stacks.items():
        planes = stack.data.reshape(-1, *stack.data.shape[-2:])
        images += list(planes)
        sizes += [stack.pixel_size_nm] * len(planes)
        many = len(planes) > 1
        names += [f"{path.name}{f' plane {i + 1}' if many else ''}" for i in range(len(planes))]
    return {"images": images, "pixel_size_nm": sizes, "names": names}


@contextmanager
def _kept(project: Path | None) -> Iterator[Path]:
    """Give the folder for the steps, one that vanishes if none is wanted."""
    if project:
        make(project)
        yield project
        return
    with TemporaryDirectory() as folder:
        yield Path(folder)
