"""The tools without a window: the same jobs, settings and files as in napari."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, cast, get_args, get_origin

import pydantic
from cyclopts import App, CycloptsError

from napari_physgen import __version__
from napari_physgen.cli import (
    checking,
    microstructures,
    optics,
    priors,
    restoring,
    segmentation,
    sim_models,
    stacks,
)
from napari_physgen.cli import regions as region_maps
from napari_physgen.cli.options import Folder, ImageJ, Partners
from napari_physgen.cli.pictures import files
from napari_physgen.cli.stacks import Raw
from napari_physgen.cli.terminal import stem
from napari_physgen.errors import UserError
from napari_physgen.settings import explain

if TYPE_CHECKING:
    from napari_physgen.generative.settings import (
        GenerateSettings,
        GenerativeSettings,
        RestoreSettings,
    )
    from napari_physgen.regions.settings import RegionSettings
    from napari_physgen.sim.settings import SimSettings
    from napari_physgen.sim.training_settings import SimTrainingSettings

app = App(
    name="napari-physgen",
    help="Physics-informed generative microscopy, without a window.",
    version=__version__,
    result_action="return_value",
)
app.command(stacks.sim)
app.command(checking.sim_check)
app.command(sim_models.sim_train)
app.command(optics.sim_otf)
app.command(microstructures.simulate)
app.command(microstructures.dataset)
app.command(microstructures.calibrate)
app.command(microstructures.pfhub)
app.command(segmentation.labour_free)
app.command(segmentation.segment)
app.command(region_maps.regions)
app.command(priors.prior)
app.command(restoring.restore)
app.command(priors.generate)


@app.command
def run(
    recipe: Path,
    raw: Raw | None = None,
    *,
    out: Folder,
    imagej: ImageJ = False,
    masks: Partners = None,
    pairs: Partners = None,
) -> None:
    """Run a recipe, with the same pixels as in napari.

    Parameters
    ----------
    recipe
        Recipe (YAML), record (JSON), or a TIFF exported by napari-physgen.
    raw
        What the recipe works on, if it works on anything: TIFF, NPY, MRC or DV files, for the
        segmentation and for priors also pictures and folders, for regions all files that `regions`
        reads.
    masks
        What a prior learns beside the images, what new images follow, or the gaps to fill.
    pairs
        The noisy partners of the images that a prior learns from.
    """
    from napari_physgen.recipe import TOOLS, Recipe

    loaded = Recipe.load(recipe)
    tool, settings = TOOLS[loaded.tool], loaded.parse()
    if tool.inputs and not raw:
        raise UserError(f"{recipe.name} works on stacks: name at least one file after it.")
    if raw and not tool.inputs:
        raise UserError(f"{recipe.name} needs no files, it makes its own: leave them out.")
    if (masks or pairs) and loaded.tool not in ("prior", "restore", "generate"):
        raise UserError(f"{recipe.name} takes neither masks nor pairs: leave them out.")
    if tool.folder:
        microstructures.fill(loaded.tool, settings, out)
    elif loaded.tool in segmentation.TOOLS:
        segmentation.process(loaded.tool, settings, raw or [], out, stem(recipe))
    elif loaded.tool == "sim-train":
        learned_from = cast("SimTrainingSettings", settings)
        sim_models.learn(learned_from, raw or [], out / stem(recipe))
    elif loaded.tool == checking.TOOL:
        checking.process(cast("SimSettings", settings), raw or [], out)
    elif loaded.tool == "regions":
        region_maps.process(cast("RegionSettings", settings), raw or [], out)
    elif loaded.tool == "prior":
        learned = cast("GenerativeSettings", settings)
        priors.learn(learned, files(raw or []), out / stem(recipe), pairs=pairs, masks=masks)
    elif loaded.tool == "restore":
        gaps = masks[0] if masks else None
        restoring.process(cast("RestoreSettings", settings), raw or [], out, mask=gaps)
    elif loaded.tool == "generate":
        priors.make_images(cast("GenerateSettings", settings), out, masks)
    elif tool.inputs:
        stacks.process(loaded.tool, settings, raw or [], out, imagej)
    else:
        microstructures.make_one(loaded.tool, settings, out, stem(recipe), imagej)


@app.command
def info() -> None:
    """Show versions, devices and free memory."""
    from napari_physgen.backend import system_info

    for name, value in system_info().items():
        print(f"{name:18} {value}")


@app.command
def demo() -> None:
    """Open napari, reconstruct a simulated stack and save the result in demo/."""
    from importlib import import_module

    # By name, so that the command line does not depend on the window.
    import_module("napari_physgen.app.demo").main()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; wrong input gives one line on stderr and exit code 2."""
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except UserError as error:
        _fail(str(error))
    except CycloptsError as error:
        _fail(_sentence(error))
    except KeyboardInterrupt:
        print("Given up: what was running is not saved.", file=sys.stderr)
        raise SystemExit(130) from None


def _fail(sentence: str) -> None:
    print(sentence, file=sys.stderr)
    raise SystemExit(2)


def _sentence(error: CycloptsError) -> str:
    cause, argument = error.__cause__, error.argument
    if isinstance(cause, pydantic.ValidationError) and argument is not None:
        return explain(_model(argument.hint), cause)
    return " ".join(str(error).split())


def _model(hint: Any) -> Any:
    """Return the settings model behind ``Model`` or ``Model | None``."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(kind for kind in get_args(hint) if kind is not type(None))
    return hint
