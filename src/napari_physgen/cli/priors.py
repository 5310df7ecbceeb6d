"""Commands that teach priors, say what they learned, and make new images with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from napari_physgen.cli.options import Folder, given, partial
from napari_physgen.cli.partners import agreed, masks_of, one_channel, partners, planes
from napari_physgen.cli.pictures import Pictures, files
from napari_physgen.cli.terminal import drained, make, model_file, saved, stem
from napari_physgen.errors import UserError
from napari_physgen.generative.settings import (
    DistillSettings,
    GenerateSettings,
    GenerativeSettings,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel as Distilling
    from pydantic import BaseModel as Learning
    from pydantic import BaseModel as Making

    from napari_physgen.generative import GenerativeModel
    from napari_physgen.generative.results import Generated
    from napari_physgen.recipe import Finished
else:
    Learning = partial(GenerativeSettings)
    Distilling = partial(DistillSettings)
    Making = partial(GenerateSettings, "model")

prior = App(
    name="prior",
    help="Teach a prior what images of one kind look like, for `restore` and `generate`.",
    result_action="return_value",
)

Prior = Annotated[Path, Parameter(help="A prior (.safetensors) made by `prior train`.")]
Target = Annotated[
    Path, Parameter(name=["--out", "-o"], help="The prior to write: PRIOR.safetensors.")
]
Masks = Annotated[
    list[Path] | None,
    Parameter(
        negative="",
        consume_multiple=True,
        help="Masks of whole numbers: one file for each image, in its order, or a folder where "
        "they have the names of the images. Of samples of `dataset`, their labels.",
    ),
]
Pairs = Annotated[
    list[Path] | None,
    Parameter(
        negative="",
        consume_multiple=True,
        help="Noisy partners of the images: one file for each, in its order, or a folder where "
        "they have the names of the images.",
    ),
]


@prior.command
def train(
    images: Pictures,
    *,
    out: Target,
    pairs: Pairs = None,
    masks: Masks = None,
    settings: Annotated[Learning | None, Parameter(name="*")] = None,
) -> None:
    """Learn what images of one kind look like.

    From clean images alone; with --pairs from clean images and their noisy partners, which
    denoises best; with --masks to make images that follow masks; with --conditional noisy from
    noisy images alone. Saves PRIOR.safetensors and PRIOR.recipe.yaml. Ctrl-C ends early and keeps
    the best network so far; a second Ctrl-C gives up.
    """
    chosen = given(settings)
    for kind, paths in (("pairs", pairs), ("masks", masks)):
        if paths:
            chosen.setdefault("conditional", kind)
    learn(GenerativeSettings.parse(chosen), files(images), out, pairs=pairs, masks=masks)


@prior.command
def distill(
    prior: Prior,
    images: Annotated[
        list[Path] | None,
        Parameter(
            negative="",
            help="Images that the prior learned from; without them it makes its own.",
        ),
    ] = None,
    *,
    out: Target,
    masks: Masks = None,
    settings: Annotated[Distilling | None, Parameter(name="*")] = None,
) -> None:
    """Turn a prior into a consistency model, which makes an image in one or two steps.

    Priors that learned with masks need masks, of the images or to make images for. Ctrl-C ends
    early and keeps the network as it is then; a second Ctrl-C gives up.
    """
    from napari_physgen import generative

    chosen = DistillSettings.parse(given(settings))
    model = generative.load(prior)
    paths = files(images) if images else []
    labels = partners(paths, masks, "mask") if masks and paths else files(masks or [])
    job = generative.distill(
        model,
        [one_channel(path, None).data for path in paths] or None,
        chosen,
        [masks_of(path) for path in labels] or None,
    )
    target = model_file(out)
    made = drained(job, target.name)
    made.save(target)
    saved(made.summary, target)


@prior.command
def info(prior: Prior) -> None:
    """Say what a prior learned and what it is good for."""
    from napari_physgen.cli.prior_words import words
    from napari_physgen.generative import load

    print(prior.name)
    for name, text in words(load(prior)):
        print(f"  {name:12} {text}")


def generate(
    *,
    prior: Prior,
    out: Folder,
    masks: Annotated[
        list[Path] | None,
        Parameter(
            negative="",
            consume_multiple=True,
            help="Masks to follow, one image each (files or folders; of samples of `dataset`, "
            "their labels), for priors that learned with masks.",
        ),
    ] = None,
    settings: Annotated[Making | None, Parameter(name="*")] = None,
) -> None:
    """Make new images, on their own or following masks.

    Saves images/0001.ome.tif and so on, their masks as masks/0001.ome.tif, and
    generate.recipe.yaml to run it again. Ctrl-C ends early and keeps the images that are finished;
    a second Ctrl-C gives up.
    """
    chosen = GenerateSettings.parse(given(settings) | {"model": str(prior.resolve())})
    make_images(chosen, out, masks)


def learn(
    settings: GenerativeSettings,
    paths: Sequence[Path],
    out: Path,
    *,
    pairs: Sequence[Path] | None = None,
    masks: Sequence[Path] | None = None,
) -> None:
    """Train a prior and save it with its recipe; see `train`."""
    from napari_physgen.recipe import Recipe, start

    for kind, more in (("pairs", pairs), ("masks", masks)):
        if (settings.conditional == kind) != bool(more):
            raise UserError(
                f"To learn from {kind}, give --{kind} beside the images"
                f"{'' if settings.conditional == kind else f' and --conditional {kind}'}."
            )
    stacks = [one_channel(path, settings.pixel_size_nm) for path in paths]
    inputs: dict[str, Any] = {"images": [stack.data for stack in stacks]}
    if pairs:
        found = partners(paths, pairs, "partner")
        inputs["pairs"] = [one_channel(path, None).data for path in found]
    if masks:
        inputs["masks"] = [masks_of(path) for path in partners(paths, masks, "mask")]
    size = agreed(settings.pixel_size_nm, stacks)
    chosen = settings.model_copy(update={"pixel_size_nm": size})
    sources = {"images": ", ".join(path.name for path in paths)}
    target = model_file(out)
    made: Finished[GenerativeModel] = drained(
        start("prior", chosen, inputs, sources=sources), target.name
    )
    model = replace(made.result, record=made.record.to_dict())
    model.save(target)
    Recipe.of(made.record).save(target.with_suffix(".recipe.yaml"))
    saved(model.summary, target)


def make_images(settings: GenerateSettings, out: Path, masks: Sequence[Path] | None = None) -> None:
    """Make images and save them one by one with their masks; see `generate`."""
    from napari_physgen.generative import load
    from napari_physgen.generative.folder import write_folder
    from napari_physgen.recipe import Recipe, start

    if not settings.model:
        raise UserError("The recipe names no prior: set model to a .safetensors file.")
    model = load(settings.model)
    inputs, sources = {}, {}
    if masks:
        found = files(masks)
        inputs["masks"] = [part for path in found for part in planes(masks_of(path), model)]
        sources["masks"] = ", ".join(path.name for path in found)
    make(out)
    job = start("generate", settings, inputs, sources=sources, model=model)
    made: Finished[Generated] = drained(job, stem(Path(settings.model)))
    write_folder(made.result, made.record, out)
    Recipe.of(made.record).save(out / "generate.recipe.yaml")
    print(f"{stem(Path(settings.model))}: {made.result.summary}")
    print(f"  saved in {out}")
