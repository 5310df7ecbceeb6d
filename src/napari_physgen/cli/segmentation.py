"""Commands that segment micrographs: make a model without labels, and apply it."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from napari_physgen.cli.options import Folder, given, partial
from napari_physgen.cli.pictures import Pictures, PixelSize, by_name, files, read
from napari_physgen.cli.terminal import Interrupts, bar, make, stem
from napari_physgen.errors import UserError
from napari_physgen.segmentation.settings import (
    LabourFreeSettings,
    PredictSettings,
    labour_free_presets,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from pydantic import BaseModel as Applying
    from pydantic import BaseModel as Making

    from napari_physgen.backend.job import Job
    from napari_physgen.io import Stack
    from napari_physgen.recipe import Finished
    from napari_physgen.segmentation import Evaluation, Prediction, SegmentationModel
    from napari_physgen.settings import Settings
else:
    Applying = partial(PredictSettings, "model")
    Making = partial(LabourFreeSettings)

TOOLS = ("labour-free", "segment")
_SUFFIX = ".safetensors"
# Outputs that may be saved, and what their files are called.
_FILES = {
    "labels": "labels",
    "separate particles": "particles",
    "probabilities": "probabilities",
    "uncertainty": "uncertainty",
}
_COLUMNS = (("IoU", "iou"), ("BF1", "boundary_f1"), ("BF1 2 px", "boundary_f1_2px"))


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


def label(
    settings: PredictSettings,
    paths: Sequence[Path],
    out: Path,
    *,
    pixel_size_nm: float | None = None,
    truth: Sequence[Path] | None = None,
    more: Collection[str] = (),
) -> None:
    """Label files, save the labels and the outputs named `more`, and score them; see `segment`."""
    from napari_physgen.segmentation import load

    by_name(paths)
    masks = _masks(truth, paths) if truth else {}
    ready = load(settings.model)
    make(out)
    scores: dict[str, Evaluation] = {}

    def one(path: Path, interrupts: Interrupts) -> None:
        stack = read(path, pixel_size_nm)
        found = _one(ready, path, stack, settings, out, interrupts, more)
        if path in masks:
            score = _scored(found, stack, masks[path])
            score.save(out / f"{stem(path)}_scores.json")
            scores[path.name] = score

    try:
        _each(paths, one)
    finally:
        if scores:
            _table(scores)


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
    look = _drain(look_step(prepared, settings, store), "look-alikes")
    print(f"look-alikes: {look.summary}")
    translation = None
    if settings.translation != "none":
        translation = _drain(translation_step(prepared, look, settings, store), "translation")
        print(f"translation: {translation.summary}")
    if report:
        from napari_physgen.synthesis import fidelity

        pictures = list(look.pictures)
        best = translation.translate(pictures, list(look.masks)) if translation else pictures
        compared = fidelity(prepared.images, best, pictures if translation else None)
        found = _drain(compared, "report")
        print(f"report: {found.summary}")
        print(f"  saved as {found.save_page(report)}")
    model: SegmentationModel = _drain(
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


def _each(paths: Sequence[Path], work: Callable[[Path, Interrupts], None]) -> None:
    """Work on each file; those that fail are reported, and the exit code is 2 then."""
    failed = False
    with Interrupts() as interrupts:
        for path in paths:
            if interrupts.count:
                print(f"{path.name}: left out after Ctrl-C", file=sys.stderr)
                failed = True
                continue
            try:
                work(path, interrupts)
            except UserError as error:
                print(f"{path.name}: {error}", file=sys.stderr)
                failed = True
    if failed:
        raise SystemExit(2)


def _one(
    model: SegmentationModel,
    path: Path,
    stack: Stack,
    settings: PredictSettings,
    out: Path,
    interrupts: Interrupts,
    more: Collection[str],
) -> Prediction:
    """Label one file and save what is wanted of the result."""
    from napari_physgen.backend import run
    from napari_physgen.recipe import start

    job = start(
        "segment",
        settings,
        {"image": stack.data},
        sources={"image": path.name},
        model=model,
        pixel_size_nm=stack.pixel_size_nm,
    )
    with bar(path.name, interrupts) as report:
        finished = run(job, report)
    found: Prediction = finished.result
    target = out / stem(path)
    _save(finished, stack, target, {"labels", "separate particles", *more})
    print(f"{path.name}: {found.summary}")
    if found.particles is not None:
        found.particles.save_csv(f"{target}_particles.csv")
    print(f"  saved as {target}_labels.ome.tif")
    return found


def _save(finished: Finished[Any], stack: Stack, target: Path, names: set[str]) -> None:
    """Write outputs into a file each, with the axes of the stack."""
    from dataclasses import replace

    from napari_physgen.io import Image, write_ome_tiff

    for output in finished.result.outputs():
        if output.name in names:
            first = output.axes[: len(output.axes) - len(stack.axes)]
            image = Image.of(
                replace(output, axes=(*first, *stack.axes)), stack.pixel_size_nm, finished.record
            )
            write_ome_tiff(f"{target}_{_FILES[output.name]}.ome.tif", [image])


def _masks(truth: Sequence[Path], paths: Sequence[Path]) -> dict[Path, Path]:
    """Return the mask of each image; images without one in a folder stay unscored."""
    if len(truth) == 1 and truth[0].is_dir():
        found = {stem(path): path for path in files(truth)}
        masks = {path: found[stem(path)] for path in paths if stem(path) in found}
        if not masks:
            raise UserError(f"No mask in {truth[0]} has the name of an image.")
        return masks
    if len(truth) != len(paths):
        raise UserError(
            f"There are {len(truth)} masks for {len(paths)} images: give one for each, in the same "
            "order, or a folder."
        )
    return dict(zip(paths, truth, strict=True))


def _scored(found: Prediction, stack: Stack, truth: Path) -> Evaluation:
    from napari_physgen.io import read_mask
    from napari_physgen.segmentation import evaluate

    mask = read_mask(truth) if found.labels.ndim == 2 else read(truth, None).data
    return evaluate(found.labels, mask, pixel_size_nm=stack.pixel_size_nm)


def _table(scores: Mapping[str, Evaluation]) -> None:
    """Print the scores of all images, and their mean."""
    from napari_physgen.metrics.segmentation import nan_mean

    width = max(len(name) for name in (*scores, "mean"))
    print("".join([" " * width, *(f"{title:>10}" for title, _ in _COLUMNS)]))
    rows = {name: [getattr(s, key) for _, key in _COLUMNS] for name, s in scores.items()}
    if len(rows) > 1:
        rows["mean"] = [nan_mean(column) for column in zip(*rows.values(), strict=True)]
    for name, values in rows.items():
        print("".join([f"{name:{width}}", *(f"{value:10.3f}" for value in values)]))
    for note in dict.fromkeys(note for score in scores.values() for note in score.notes):
        print(note)


def _drain(job: Job[Any], name: str) -> Any:
    """Run a job with a progress bar; Ctrl-C stops it."""
    from napari_physgen.backend import run

    with Interrupts() as interrupts, bar(name, interrupts) as report:
        return run(job, report)
