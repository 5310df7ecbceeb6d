"""One description of any job, as a YAML file: which tool with which settings.

The window and the command line both run jobs through `start`, so that the same
recipe gives the same pixels in both.
"""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_physgen import __version__
from napari_physgen.backend.job import Command, Progress, Stop, Tune
from napari_physgen.errors import UserError
from napari_physgen.outputs import Result
from napari_physgen.provenance import Input, Record

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    import numpy as np

    from napari_physgen.backend.job import Job
    from napari_physgen.settings import Settings


@dataclass(frozen=True)
class Tool:
    """Where a tool lives; nothing is imported before it is used.

    Parameters
    ----------
    settings, job : str
        ``module:name`` of the settings model and of the job function, which is
        called with the inputs and the settings by name.
    inputs : tuple of str
        Names of the input arrays, the first one is the image to work on; none for a
        tool that makes something from nothing.
    folder : bool
        Whether the job writes into a folder itself, which it is given as ``folder``.
    series : bool
        Whether the job takes a whole time-lapse, with the names of its ``axes`` and a ``sink`` for
        the images that are finished; others are given one stack at a time.
    """

    settings: str
    job: str
    inputs: tuple[str, ...] = ("raw",)
    folder: bool = False
    series: bool = False

    def settings_class(self) -> type[Settings]:
        """Import the settings model."""
        return cast("type[Settings]", _imported(self.settings))

    def job_function(self) -> Callable[..., Job[Result]]:
        """Import the job function."""
        return cast("Callable[..., Job[Result]]", _imported(self.job))


TOOLS: dict[str, Tool] = {
    "sim": Tool(
        "napari_physgen.sim.settings:SimSettings", "napari_physgen.sim:reconstruct", series=True
    ),
    "sim-check": Tool("napari_physgen.sim.settings:SimSettings", "napari_physgen.sim.report:check"),
    "sim-train": Tool(
        "napari_physgen.sim.training_settings:SimTrainingSettings",
        "napari_physgen.sim.train_model:train_model",
    ),
    "simulate": Tool(
        "napari_physgen.synthesis.settings:PhaseFieldSettings",
        "napari_physgen.synthesis:simulate",
        inputs=(),
    ),
    "dataset": Tool(
        "napari_physgen.synthesis.dataset_settings:DatasetSettings",
        "napari_physgen.synthesis.dataset:fill",
        inputs=(),
        folder=True,
    ),
    "labour-free": Tool(
        "napari_physgen.segmentation.settings:LabourFreeSettings",
        "napari_physgen.segmentation:labour_free",
        inputs=("real_images",),
    ),
    "segment": Tool(
        "napari_physgen.segmentation.settings:PredictSettings",
        "napari_physgen.segmentation:segment",
        inputs=("image",),
    ),
    "regions": Tool(
        "napari_physgen.regions.settings:RegionSettings",
        "napari_physgen.regions:map_regions",
        inputs=("data",),
    ),
    "prior": Tool(
        "napari_physgen.generative.settings:GenerativeSettings",
        "napari_physgen.generative.train:train",
        inputs=("images",),
    ),
    "restore": Tool(
        "napari_physgen.generative.settings:RestoreSettings",
        "napari_physgen.generative.restore:restore",
        inputs=("image",),
    ),
    "generate": Tool(
        "napari_physgen.generative.settings:GenerateSettings",
        # By its own module: sample is also the name of another one.
        "napari_physgen.generative.generate:sample",
        inputs=(),
    ),
}

R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class Finished(Generic[R]):
    """A result and its record."""

    result: R
    record: Record


class Recipe(BaseModel):
    """A tool and its settings, to be saved, sent and run again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tool: str
    settings: dict[str, Any]
    version: str = Field(default=__version__, description="napari-physgen that wrote it")

    @classmethod
    def of(cls, record: Record) -> Self:
        """Return the recipe that made a result."""
        return cls(tool=record.tool, settings=dict(record.settings), version=record.version)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a recipe from a YAML or JSON file or from an exported TIFF.

        Raises
        ------
        UserError
            If the file is missing, unreadable or no recipe, names an unknown tool
            or holds settings that the tool does not take.
        """
        path = Path(path)
        recipe = cls._from_tiff(path) if path.suffix.lower() in _TIFF else cls._from_text(path)
        recipe.parse()
        return recipe

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the recipe as YAML; raises UserError where that cannot be done."""
        from napari_physgen.io.recipes import write_recipe

        return write_recipe(path, self.tool, self.settings, self.version)

    def parse(self) -> Settings:
        """Return the validated settings; raises UserError for unknown tools or fields."""
        return _tool(self.tool).settings_class().parse(self.settings)

    @classmethod
    def _from_tiff(cls, path: Path) -> Self:
        from napari_physgen.io import read_record

        record = read_record(path)
        if record is None:
            raise UserError(f"{path.name} holds no record of napari-physgen, so no recipe.")
        return cls.of(record)

    @classmethod
    def _from_text(cls, path: Path) -> Self:
        from napari_physgen.io.recipes import read_values

        values = read_values(path)
        if isinstance(values, dict) and "inputs" in values and "device" in values:
            return cls.of(Record.from_dict(values))
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UserError(f"{path.name} is no recipe: {_reason(error)}.") from None


_TIFF = (".tif", ".tiff")


def start(
    tool: str,
    settings: Settings,
    inputs: Mapping[str, np.ndarray | list[np.ndarray] | tuple[np.ndarray, ...]],
    *,
    sources: Mapping[str, str] | None = None,
    **extras: Any,
) -> Job[Finished[Any]]:
    """Run a tool's job and keep the record of it.

    Parameters
    ----------
    tool : str
        A name in `TOOLS`.
    settings : Settings
        The tool's settings.
    inputs : mapping
        The input arrays by name ("raw"), several ones as a list; they enter the record.
    sources : mapping, optional
        Names of the layers or files that the inputs come from; with commas between several.
    **extras
        Further arguments of the job that do not enter the record (patterns).

    Returns
    -------
    generator
        A job; its commands reach the tool's job, its result is a `Finished`.
    """
    sources = sources or {}
    described = tuple(
        Input.of(name, array, sources.get(name, ""))
        for name, data in inputs.items()
        for array in (data if isinstance(data, list | tuple) else [data])
    )
    began = time.perf_counter()
    job = _tool(tool).job_function()(**inputs, settings=settings, **extras)
    interventions: list[str] = []
    progress, command = None, None
    try:
        while True:
            try:
                progress = job.send(command)
            except StopIteration as end:
                result: Result = end.value
                break
            command = yield progress
            if command is not None:
                interventions.append(_words(command, progress))
            if isinstance(command, Tune):
                settings = settings.tuned(**command.changes)
    finally:
        job.close()
    plain = settings.model_dump(mode="json")
    record = Record(
        tool=tool,
        settings=plain,
        seed=_seed(plain),
        inputs=described,
        device=_device(result, plain),
        duration_s=round(time.perf_counter() - began, 3),
        metrics=dict(result.metrics),
        interventions=tuple(interventions),
    )
    return Finished(result, record)


def _words(command: Command, progress: Progress) -> str:
    where = f"at {progress.message} {progress.step}/{progress.total}"
    if isinstance(command, Stop):
        return f"stopped {where}"
    changes = ", ".join(f"{name} = {value}" for name, value in command.changes.items())
    return f"{changes} {where}"


def _seed(settings: Mapping[str, Any]) -> int | None:
    """Return the seed of a tool, or of the simulation that it repeats."""
    seed: int | None = settings.get("seed", settings.get("simulation", {}).get("seed"))
    return seed


def _device(result: Result, settings: Mapping[str, Any]) -> str:
    """Return where the result was made, as the tool says or as the setting resolves."""
    device = getattr(result, "device", None)
    if not device:
        if "device" not in settings:
            return "cpu"
        from napari_physgen.backend import resolve_device

        device = resolve_device(settings["device"])
    if str(device).startswith("cuda"):
        import torch

        return f"{device}: {torch.cuda.get_device_name(device)}"
    return str(device)


def _tool(name: str) -> Tool:
    if name not in TOOLS:
        raise UserError(f"There is no tool '{name}' (known: {', '.join(TOOLS)}).")
    return TOOLS[name]


def _imported(dotted: str) -> Any:
    module, _, name = dotted.partition(":")
    return getattr(importlib.import_module(module), name)


def _reason(error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"it has an unknown field '{name}' (known: tool, version, settings)"
    if first["type"] == "missing":
        return f"the field '{name}' is missing"
    return f"{name or 'the file'}: {first['msg'].lower()}" if name else "it is empty or a list"
