"""Label files with a model, save what was found, and score it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_physgen.cli.pictures import by_name, files, read
from napari_physgen.cli.terminal import Interrupts, bar, each, make, stem
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from napari_physgen.io import Stack
    from napari_physgen.recipe import Finished
    from napari_physgen.segmentation import (
        Evaluation,
        Prediction,
        PredictSettings,
        SegmentationModel,
    )

# Outputs that may be saved, and what their files are called.
_FILES = {
    "labels": "labels",
    "separate particles": "particles",
    "probabilities": "probabilities",
    "uncertainty": "uncertainty",
}
_COLUMNS = (("IoU", "iou"), ("BF1", "boundary_f1"), ("BF1 2 px", "boundary_f1_2px"))


def label(
    settings: PredictSettings,
    paths: Sequence[Path],
    out: Path,
    *,
    pixel_size_nm: float | None = None,
    truth: Sequence[Path] | None = None,
    more: Collection[str] = (),
) -> None:
    """Label files, save the labels and the outputs named `more`, and score them."""
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
        each(paths, one)
    finally:
        if scores:
            _table(scores)


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
