"""Search for the simulation whose statistics come closest to a micrograph's.

A run passes through all stages of coarsening, and its cell may have any size in nm: so each trial
is one run with a time-lapse, every frame is scaled to the micrograph's characteristic length and
compared by its two-point correlation, and the best frame says when to stop. First one trial per
family of structures, then small changes of the best one's settings.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.backend import Command, Progress, Stop
from napari_physgen.errors import UserError
from napari_physgen.metrics.microstructure import REACH
from napari_physgen.synthesis._match_families import FRACTIONS, families, neighbours, start
from napari_physgen.synthesis._match_statistics import Statistics, statistics
from napari_physgen.synthesis.settings import PhaseFieldSettings
from napari_physgen.synthesis.simulate import simulate

if TYPE_CHECKING:
    from napari_physgen.outputs import Output
    from napari_physgen.synthesis.calibration_settings import CalibrationSettings
    from napari_physgen.synthesis.results import Microstructure

# Interfaces are 4 cells wide: structures must be much coarser than that, and several in the box.
FINEST, FEWEST = 18.0, 4.5
# Micrographs of one material (sem/nasa_super) are 0.03 to 0.07 apart: nothing is left to improve.
SAME = 0.06
CLOSE_ENOUGH = 0.02  # of the fraction


@dataclass(frozen=True)
class Trial:
    """The frame of a run that comes closest.

    Parameters
    ----------
    settings : PhaseFieldSettings
        Duration and cell size fitted.
    found : Statistics
    distance : float
        Of the two-point correlations.
    run : Microstructure
        The whole run.
    frame : int
        The closest frame of its time-lapse.
    """

    settings: PhaseFieldSettings
    found: Statistics
    distance: float
    run: Microstructure = field(repr=False)
    frame: int

    @property
    def picture(self) -> Microstructure:
        """The closest frame as a result of its own."""
        run = self.run
        assert run.movie is not None
        assert run.movie_labels is not None
        return replace(
            run,
            field=run.movie[self.frame],
            labels=run.movie_labels[self.frame],
            energy=run.energy[run.energy[:, 0] <= self.settings.duration],
            settings=self.settings,
            movie=None,
            movie_labels=None,
            movie_times=(),
        )


@dataclass
class Search:
    """What was tried so far."""

    target: Statistics
    settings: CalibrationSettings
    best: Trial | None = None
    preview: list[Output] = field(default_factory=list)
    tried: set[PhaseFieldSettings] = field(default_factory=set)
    stopped: bool = False

    @property
    def count(self) -> int:
        """Number of runs so far."""
        return len(self.tried)

    @property
    def over(self) -> bool:
        """Whether to stop looking."""
        same = self.best is not None and self.best.distance < SAME
        return self.stopped or same or self.count >= self.settings.trials

    def run(self) -> Generator[Progress, Command | None, Trial]:
        """Return the best trial; `Stop` ends the run that goes on and the search.

        Raises
        ------
        UserError
            If no simulation could be compared.
        """
        for family in families(self.target, self.settings.look):
            if not self.over:
                yield from self.fitted(start(family, self.target, self.settings))
        improved = True
        while improved and not self.over and self.best:
            improved = False
            for changed in neighbours(self.best.run.settings):
                if self.over:
                    break
                improved = (yield from self.fitted(changed)) or improved
        if self.best is None:
            raise UserError(
                "Stopped before any simulation could be compared with the image."
                if self.stopped
                else "No simulation came near the image: raise the size of the simulations or "
                "choose another look."
            )
        return self.best

    def fitted(self, settings: PhaseFieldSettings) -> Generator[Progress, Command | None, bool]:
        """Try settings, if need be once more with the fraction put right; return if it helped."""
        before = self.best
        trial = yield from self.tried_once(settings)
        while trial and not self.over:
            missing = self.target.fraction - trial.found.fraction
            if abs(missing) < CLOSE_ENOUGH:
                break
            fraction = float(np.clip(trial.settings.fraction + missing, *FRACTIONS))
            settings = settings.model_copy(update={"fraction": round(fraction, 3)})
            again = yield from self.tried_once(settings)
            if again is None or again.distance > trial.distance:
                break
            trial = again
        return self.best is not before

    def tried_once(
        self, settings: PhaseFieldSettings
    ) -> Generator[Progress, Command | None, Trial | None]:
        """Run one simulation and compare its frames."""
        if settings in self.tried:
            return None
        self.tried.add(settings)
        run = yield from self.simulated(settings)
        trials = self.compared(run)
        if not trials:
            return None
        trial = min(trials, key=lambda t: t.distance)
        if self.best is None or trial.distance < self.best.distance:
            self.best = trial
            self.preview = trial.picture.outputs()[:1]
        return trial

    def simulated(
        self, settings: PhaseFieldSettings
    ) -> Generator[Progress, Command | None, Microstructure]:
        """Run a simulation until its structure is too coarse for its box."""
        job = simulate(settings)
        command: Command | None = None
        try:
            while True:
                progress = job.send(command)
                coarse = progress.metrics["length"] > settings.size / FEWEST
                command = Stop() if coarse or self.stopped else None
                if isinstance((yield self.report(progress)), Stop):
                    self.stopped = True
        except StopIteration as end:
            result: Microstructure = end.value
            return result

    def report(self, progress: Progress) -> Progress:
        """Return the progress of a run as that of the search."""
        total = self.settings.trials * progress.total
        distance = {"distance": self.best.distance} if self.best else {}
        preview = (lambda: self.preview) if self.preview else progress.preview
        message = f"trial {self.count} of at most {self.settings.trials}"
        done = (self.count - 1) * progress.total + progress.step
        return Progress(done, total, message, distance, preview)

    def compared(self, run: Microstructure) -> list[Trial]:
        """Compare the frames of a run that are neither too fine nor too coarse."""
        assert run.movie_labels is not None
        settings = run.settings
        first = settings.second_time * settings.duration if settings.second_nuclei else 0.0
        frames = [i for i, time in enumerate(run.movie_times) if time > first]
        trials = [compare(self.target, run, frame) for frame in frames]
        return [trial for trial in trials if trial is not None]


def compare(target: Statistics, run: Microstructure, frame: int) -> Trial | None:
    """Scale one frame to the target's length and compare; None if that makes no sense."""
    assert run.movie_labels is not None
    phase = run.movie_labels[frame] > 0
    try:
        cells = statistics([phase], [1.0], periodic=True).length
    except UserError:
        return None
    if not FINEST <= cells <= run.settings.size / FEWEST:
        return None
    cell = _readable(target.length / cells)
    found = statistics([phase], [cell], periodic=True, reach=REACH * target.length)
    time, settings = _readable(run.movie_times[frame]), run.settings
    second = settings.second_time * settings.duration / time
    kept = {"duration": time, "pixel_size_nm": cell, "frames": 0}
    settings = settings.model_copy(
        update=kept | ({"second_time": second} if settings.second_nuclei else {})
    )
    return Trial(settings, found, target.distance(found), run, frame)


def _readable(number: float) -> float:
    """Return a number with as many digits as anybody wants to see in a form."""
    return float(f"{number:.4g}")
