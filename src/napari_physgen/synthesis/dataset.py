"""Make a data set: many simulations with perfect masks, written as they come."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_physgen.backend import Progress, Stop, resolve_device
from napari_physgen.backend.memory import is_out_of_memory
from napari_physgen.errors import UserError
from napari_physgen.outputs import Output
from napari_physgen.provenance import Record
from napari_physgen.synthesis.dataset_files import (
    Samples,
    Table,
    claim,
    open_dataset,
    pixels,
)
from napari_physgen.synthesis.dataset_limits import batch_size, check_room
from napari_physgen.synthesis.dataset_settings import DatasetSettings
from napari_physgen.synthesis.simulate import simulate_batch

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from napari_physgen.backend import Job
    from napari_physgen.synthesis.dataset_files import Pixels
    from napari_physgen.synthesis.dataset_settings import Range
    from napari_physgen.synthesis.results import Microstructure
    from napari_physgen.synthesis.settings import PhaseFieldSettings

SHOWN = 64  # pictures that become layers


def make_dataset(
    settings: PhaseFieldSettings,
    count: int,
    folder: str | os.PathLike[str],
    *,
    spread: float = 0.2,
    vary: Mapping[str, Range] | None = None,
    slice_every: int = 8,
    format: Literal["tiff", "zarr"] = "tiff",  # noqa: A002 - the word that users look for
) -> Job[Dataset]:
    """Simulate many samples with parameters drawn around `settings`; write them as they come.

    Called again with the same arguments (or more samples), it continues where it ended.

    Parameters
    ----------
    settings : PhaseFieldSettings
        The sample in the middle; its seed is that of the whole data set.
    count : int
        How many simulations.
    folder : path-like
        Where to write; made if missing.
    spread : float
        How far parameters stray from `settings`, as a share of their value.
    vary : mapping, optional
        Lowest and highest value by name of a setting, in place of the spread.
    slice_every : int
        In 3-D, every n-th plane along z becomes a picture.
    format : {"tiff", "zarr"}
        One OME-TIFF per sample, or one OME-Zarr for all (needs the extra ``zarr``).

    Returns
    -------
    generator
        A job. Reports samples and "samples/min"; `Stop` keeps the finished ones.

    Raises
    ------
    UserError
        If a range is impossible, the folder holds another data set or the disk has no room.
    """
    values = {"simulation": settings.model_dump(), "count": count, "spread": spread}
    more = {"vary": dict(vary or {}), "slice_every": slice_every, "format": format}
    return fill(DatasetSettings.parse(values | more), folder)


def fill(settings: DatasetSettings, folder: str | os.PathLike[str]) -> Job[Dataset]:
    """Make or continue the data set of a recipe; see `make_dataset`."""
    folder = Path(folder)
    store = pixels(settings, folder)
    table = claim(settings, folder)
    todo = [index for index in range(settings.count) if index not in table.rows]
    check_room(settings, len(todo), folder)
    device = resolve_device(settings.simulation.device)
    batch = batch_size(settings.simulation, device)
    filling = _Filling(settings, store, table, time.perf_counter())
    for start in range(0, len(todo), batch):
        stopped = yield from filling.add(todo[start : start + batch])
        if stopped:
            break
    return filling.result(folder, str(device))


@dataclass
class _Filling:
    """A data set while it grows."""

    settings: DatasetSettings
    pixels: Pixels
    table: Table
    began: float
    made: int = 0

    def add(self, indices: Sequence[int]) -> Job[bool]:
        """Simulate and keep some samples side by side; return whether to stop.

        Of a batch that is stopped nothing is kept: its samples are not finished.
        """
        began = time.perf_counter()
        batch = [self.settings.sample(index) for index in indices]
        try:
            samples = yield from self._simulated(batch)
        except UserError as error:
            # Without memory none of the others would do better.
            if is_out_of_memory(error):
                raise
            return (yield from self._one_by_one(indices, batch, error))
        if samples is None:
            return True
        seconds = (time.perf_counter() - began) / len(indices)
        for index, sample in zip(indices, samples, strict=True):
            self._keep(index, sample, seconds)
        return False

    def _one_by_one(
        self, indices: Sequence[int], batch: list[PhaseFieldSettings], error: UserError
    ) -> Job[bool]:
        """Find the samples that spoil a batch; return whether to stop."""
        if len(indices) == 1:
            self.table.add(indices[0], batch[0], {}, str(error))
            return False
        for index in indices:
            if (yield from self.add([index])):
                return True
        return False

    def _simulated(self, batch: list[PhaseFieldSettings]) -> Job[list[Microstructure] | None]:
        """Run a batch with the progress of the data set; return None if it was stopped."""
        job = simulate_batch(batch)
        try:
            while True:
                inner = next(job)
                share = int(len(batch) * inner.step / max(inner.total, 1))
                done = len(self.table.rows) + min(share, len(batch) - 1)
                command = yield Progress(
                    done, self.settings.count, "making samples", self.metrics, inner.preview
                )
                if isinstance(command, Stop):
                    return None
        except StopIteration as end:
            samples: list[Microstructure] = end.value
            return samples
        finally:
            job.close()

    def _keep(self, index: int, sample: Microstructure, seconds: float) -> None:
        problem = problem_of(sample)
        try:
            if not problem:
                self.pixels.write(index, sample, _record(sample, seconds))
            self.table.add(index, sample.settings, sample.metrics, problem)
        except UserError as error:
            kept = len(self.table.finished)
            raise UserError(
                f"{str(error).rstrip('.')}; the {kept} finished samples are kept, and running it "
                "again continues."
            ) from error
        self.made += not problem

    @property
    def metrics(self) -> dict[str, float]:
        """Samples per minute since this run began, once there is one."""
        minutes = (time.perf_counter() - self.began) / 60
        return {"samples/min": self.made / minutes} if self.made else {}

    def result(self, folder: Path, device: str) -> Dataset:
        """Return what is in the folder."""
        samples = open_dataset(folder)
        finished, problems = self.table.finished, self.table.problems
        words = f"{len(finished)} of {self.settings.count} samples in {folder}"
        if problems:
            words += f"; {len(problems)} could not be simulated"
        if len(finished) + len(problems) < self.settings.count:
            words += "; stopped, run it again to continue"
        metrics = {"samples": float(len(finished)), "failed": float(len(problems))}
        return Dataset(
            folder, samples, problems, f"{words}.", metrics | self.metrics, device=device
        )


@dataclass(frozen=True)
class Dataset:
    """A data set in a folder.

    Parameters
    ----------
    folder : pathlib.Path
    samples : Samples
        Its pictures (field, labels, parameters), read when they are asked for.
    problems : mapping
        What went wrong, by number of the sample.
    summary : str
    metrics : mapping
        samples, failed, samples/min.
    device : str
    """

    folder: Path
    samples: Samples
    problems: Mapping[int, str]
    summary: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    device: str = ""

    @property
    def count(self) -> int:
        """Number of finished samples."""
        return len(self.samples.numbers)

    def outputs(self) -> list[Output]:
        """Return the first pictures as stacks (sample, y, x) of fields and labels."""
        shown = self.samples[:SHOWN]
        if not shown:
            return []
        axes = ("sample", "y", "x")
        fields = np.stack([sample.field for sample in shown])
        labels = np.stack([sample.labels for sample in shown])
        return [
            Output("field", fields, axes=axes),
            Output("labels", labels, kind="labels", axes=axes, display={"opacity": 0.4}),
        ]


def problem_of(sample: Microstructure) -> str:
    """Return why a sample is of no use, or an empty string."""
    if not np.isfinite(sample.field).all():
        return "The field is not finite."
    if sample.metrics["time"] < sample.settings.duration * (1 - 1e-6):
        return sample.summary
    if sample.labels.min() == sample.labels.max():
        return "Only one phase is left: raise the fraction or the first radius."
    return ""


def _record(sample: Microstructure, seconds: float) -> Record:
    """Return the record with which one sample can be made again on its own."""
    return Record(
        tool="simulate",
        settings=sample.settings.model_dump(mode="json"),
        seed=sample.settings.seed,
        inputs=(),
        device=sample.device,
        duration_s=round(seconds, 3),
        metrics=dict(sample.metrics),
    )
