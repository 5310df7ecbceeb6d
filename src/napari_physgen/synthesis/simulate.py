"""Let a microstructure evolve: the job behind the widget, the command line and the data sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_physgen.backend import (
    Progress,
    Stop,
    Tune,
    resolve_device,
    with_memory_fallback,
)
from napari_physgen.backend.memory import keep_freed_memory
from napari_physgen.metrics.microstructure import (
    FEWEST_PERIODS,
    FINEST_PART,
    LIMIT_STEPS,
    characteristic_length,
)
from napari_physgen.outputs import Output
from napari_physgen.synthesis.phase_field.materials import MATERIALS
from napari_physgen.synthesis.phase_field.mixtures import second_phase
from napari_physgen.synthesis.phase_field.polycrystals import boundaries
from napari_physgen.synthesis.phase_field.spectral import NoFlux, Periodic
from napari_physgen.synthesis.phase_field.stepper import Evolution
from napari_physgen.synthesis.results import Microstructure, summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray

    from napari_physgen.backend import Command, Job
    from napari_physgen.synthesis.phase_field.batches import Box, Labels
    from napari_physgen.synthesis.settings import PhaseFieldSettings

# Cells, times fields, times samples, that are moved between two reports: about 20 reports a second
# on one core.
WORK = 1_300_000
MOST_STEPS = 100
RESOLUTION = 1000  # of the progress
TIDYINGS = 50
PLANES = 8  # of a volume that its length is measured on


def simulate(settings: PhaseFieldSettings) -> Job[Microstructure]:
    """Simulate one microstructure.

    Parameters
    ----------
    settings : PhaseFieldSettings

    Returns
    -------
    generator
        A job. Reports the time, the free energy and the characteristic length in cells ("time",
        "free energy", "length"); its preview is the field. Takes `Stop` and `Tune`.

    Raises
    ------
    UserError
        If the device is missing or memory does not suffice.
    """
    return _only(simulate_batch([settings]))


def simulate_batch(settings: Sequence[PhaseFieldSettings]) -> Job[list[Microstructure]]:
    """Simulate several samples side by side.

    Parameters
    ----------
    settings : sequence of PhaseFieldSettings
        The same material, shape, boundary, arithmetic, device, order parameters, start of the
        second generation and number of frames; everything else may differ. Each sample comes out as
        it would alone.

    Returns
    -------
    generator
        A job; `Tune` changes all samples.
    """
    device = resolve_device(settings[0].device)
    batch = list(settings)
    return with_memory_fallback(
        lambda place, size: _in_groups(batch, place, size), device, len(batch)
    )


def _in_groups(
    batch: list[PhaseFieldSettings], device: torch.device, size: int
) -> Job[list[Microstructure]]:
    """Simulate `size` samples at a time; what was commanded holds for those to come, too."""
    results: list[Microstructure] = []
    heard: list[Command] = []
    for first in range(0, len(batch), size):
        results += yield from _obeying(_simulate(batch[first : first + size], device), heard)
    return results


def _obeying(job: Job[list[Microstructure]], heard: list[Command]) -> Job[list[Microstructure]]:
    """Run a job that first gets the commands heard so far; add to them what it hears."""
    pending = list(heard)
    progress = next(job)
    try:
        while True:
            if pending:
                command: Command | None = pending.pop(0)
            else:
                command = yield progress
                heard += [command] if command is not None else []
            progress = job.send(command)
    except StopIteration as end:
        result: list[Microstructure] = end.value
        return result
    finally:
        job.close()


def _only(job: Job[list[Microstructure]]) -> Job[Microstructure]:
    (result,) = yield from job
    return result


def _simulate(batch: list[PhaseFieldSettings], device: torch.device) -> Job[list[Microstructure]]:
    if device.type == "cpu":
        keep_freed_memory()
    run = _Run.started(batch, device)
    stopped = False
    for share, event in run.milestones():
        stopped = yield from run.reach(share)
        if stopped:
            run.keep_frame()
            break
        event()
    return run.results(stopped)


@dataclass
class _Run:
    """A batch while it evolves."""

    batch: list[PhaseFieldSettings]
    box: Box
    evolution: Evolution
    cooled: bool = False
    first: list[NDArray[np.bool_] | None] = field(default_factory=list)
    energies: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=list)
    frames: list[tuple[NDArray[np.float32], list[Labels]]] = field(default_factory=list)
    times: list[NDArray[np.float64]] = field(default_factory=list)

    @classmethod
    def started(cls, batch: list[PhaseFieldSettings], device: torch.device) -> _Run:
        settings = batch[0]
        material = MATERIALS[settings.material]
        # Apple GPUs have no float64.
        double = settings.arithmetic == "float64" and device.type != "mps"
        kind = Periodic if settings.boundary == "periodic" else NoFlux
        box = kind(
            settings.shape,
            material.spacing,
            dtype=torch.float64 if double else torch.float32,
            device=device,
        )
        model = material.model(box, batch, False)
        evolution = Evolution(model, material.start(box, batch), settings.tolerance)
        run = cls(batch, box, evolution, first=[None] * len(batch))
        run.record()
        run.keep_frame() if settings.frames else None
        return run

    @property
    def material(self) -> str:
        return self.batch[0].material

    def milestones(self) -> list[tuple[float, Callable[[], None]]]:
        """Return what happens at which share of the duration, in order."""
        settings, material = self.batch[0], MATERIALS[self.material]
        frames = max(settings.frames, 1)
        events = [(j / frames, self.keep_frame) for j in range(1, frames + 1)]
        if material.tidy is not None:
            events += [(j / TIDYINGS, self.tidy) for j in range(1, TIDYINGS)]
        if material.cool is not None and any(s.second_nuclei for s in self.batch):
            events.append((settings.second_time, self.cool))
        return sorted(events, key=lambda event: event[0])

    def reach(self, share: float) -> Generator[Progress, Command | None, bool]:
        """Evolve until every sample is at this share of its duration; return whether to stop."""
        evolution = self.evolution
        durations = evolution.time.new_tensor([s.duration for s in self.batch])
        until = share * durations
        steps = min(max(1, round(WORK / evolution.spectrum.numel())), MOST_STEPS)
        while bool(((evolution.time < until) & ~evolution.stuck).any()):
            evolution.advance(steps, until)
            self.record()
            done = float((evolution.time / durations).min())
            command = yield Progress(
                round(RESOLUTION * done),
                RESOLUTION,
                "simulating",
                self.figures,
                self.preview,
            )
            if isinstance(command, Stop):
                return True
            if isinstance(command, Tune):
                self.tune(command)
        return False

    def record(self) -> None:
        """Keep the time and the free energy."""
        time, energy = self.evolution.time, self.evolution.energy
        self.energies.append((time.cpu().numpy().copy(), energy.double().cpu().numpy()))

    @property
    def figures(self) -> dict[str, float]:
        """Time, free energy and characteristic length in cells, means of the samples."""
        time, energy = self.energies[-1]
        length = float(_length(self.box, self.evolution.spectrum).mean())
        return {"time": float(time.mean()), "free energy": float(energy.mean()), "length": length}

    def preview(self) -> list[Output]:
        """Return the field of the first sample as it is now."""
        axes = ("z", "y", "x")[-len(self.box.shape) :]
        return [Output("field", self.pictures()[0], axes=axes)]

    def pictures(self) -> NDArray[np.float32]:
        """Return the fields to look at (batch, *shape)."""
        picture = MATERIALS[self.material].picture(self.evolution.fields)
        return picture.float().cpu().numpy()

    def tune(self, command: Tune) -> None:
        """Go on with changed settings."""
        self.batch = [settings.tuned(**command.changes) for settings in self.batch]
        self.evolution.model = MATERIALS[self.material].model(self.box, self.batch, self.cooled)

    def cool(self) -> None:
        """Let the second generation appear."""
        cool = MATERIALS[self.material].cool
        assert cool is not None
        fields = self.evolution.fields
        self.first = [
            second_phase(sample) if settings.second_nuclei else None
            for sample, settings in zip(fields, self.batch, strict=True)
        ]
        fields = cool(fields, self.batch, isinstance(self.box, Periodic))
        self.cooled = True
        self.evolution.model = MATERIALS[self.material].model(self.box, self.batch, True)
        self.evolution.put(fields, [settings.second_nuclei > 0 for settings in self.batch])

    def tidy(self) -> None:
        """Let the material put its fields in order."""
        tidy = MATERIALS[self.material].tidy
        assert tidy is not None
        fields, changed = tidy(self.evolution.fields, isinstance(self.box, Periodic))
        if any(changed):
            self.evolution.put(fields, changed)

    def masks(self) -> list[Labels]:
        """Return the labels of every sample."""
        labels = MATERIALS[self.material].labels
        fields = self.evolution.fields
        periodic = isinstance(self.box, Periodic)
        return [
            labels(sample, first, periodic)
            for sample, first in zip(fields, self.first, strict=True)
        ]

    def keep_frame(self) -> None:
        """Keep a picture of the time-lapse."""
        self.frames.append((self.pictures(), self.masks()))
        self.times.append(self.evolution.time.cpu().numpy().copy())

    def results(self, stopped: bool) -> list[Microstructure]:
        """Return every sample as it was kept last."""
        stuck = self.evolution.stuck.cpu().numpy()
        steps = self.evolution.steps.cpu().numpy()
        return [
            self._result(i, bool(stuck[i]), int(steps[i]), stopped) for i in range(len(self.batch))
        ]

    def _result(self, i: int, stuck: bool, steps: int, stopped: bool) -> Microstructure:
        settings = self.batch[i]
        picture, labels = self.frames[-1][0][i], self.frames[-1][1][i]
        energy = np.array([(time[i], energy[i]) for time, energy in self.energies])
        grains = settings.material == "grains"
        fraction = float(np.mean(labels > 0))
        metrics = {
            "time": float(energy[-1, 0]),
            "free_energy": float(energy[-1, 1]),
            "length_nm": _final_length(labels, settings) * settings.pixel_size_nm,
            "time_steps": float(steps),
        } | ({"grains": float(labels.max())} if grains else {"fraction": fraction})
        movie = bool(settings.frames)
        return Microstructure(
            field=picture,
            labels=labels,
            energy=energy,
            settings=settings,
            boundaries=boundaries(picture) if grains else None,
            movie=np.stack([frame[0][i] for frame in self.frames]) if movie else None,
            movie_labels=np.stack([frame[1][i] for frame in self.frames]) if movie else None,  # type: ignore[arg-type]
            movie_times=tuple(float(time[i]) for time in self.times) if movie else (),
            summary=summarise(settings, metrics, stuck, stopped),
            metrics=metrics,
            device=str(self.box.device),
        )


def _length(box: Box, spectrum: torch.Tensor) -> torch.Tensor:
    """Return `metrics.microstructure.characteristic_length` of the first field (batch,), cells."""
    k = box.k2.sqrt() * (box.spacing / (2 * math.pi))
    power = box.power(spectrum[:, 0]) * (k > FEWEST_PERIODS / min(box.shape[-2:]) * (1 - 1e-6))
    logarithm = k.clamp(min=1e-9).log()
    length = torch.zeros(len(power), dtype=power.dtype, device=power.device)
    for _ in range(LIMIT_STEPS):
        kept = power * (k * length.reshape(-1, *(1,) * (power.ndim - 1)) < FINEST_PART)
        total = kept.sum(box.axes)
        length = torch.exp(-(kept * logarithm).sum(box.axes) / total.clamp(min=1e-30))
    return torch.where(total > 1e-12, length, 0)


def _final_length(labels: Labels, settings: PhaseFieldSettings) -> float:
    """Return the characteristic length of a mask, or the mean size of grains, in cells."""
    if settings.material == "grains":
        return float((labels.size / len(np.unique(labels))) ** (1 / labels.ndim))
    planes = labels.reshape(-1, *labels.shape[-2:])
    planes = planes[:: max(len(planes) // PLANES, 1)]
    periodic = settings.boundary == "periodic"
    lengths = [characteristic_length(plane > 0, periodic=periodic) for plane in planes]
    finite = [length for length in lengths if math.isfinite(length)]
    return float(np.mean(finite)) if finite else 0.0
