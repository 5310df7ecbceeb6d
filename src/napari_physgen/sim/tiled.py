"""Fields too large to be solved at once: tile by tile.

Each tile is a stack of its own, with the phases of the pattern moved to its corner, and its light
may come from a margin around it. What must not differ between tiles is settled once: the camera,
the patterns, the held-out pixels, the smoothness (chosen on a tile with much structure) and the
networks (trained on a few tiles, applied to all, kept only if the held-out misfit of all falls).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from napari_physgen.backend.job import Stop, Tune, relayed
from napari_physgen.sim.case import Finish
from napari_physgen.sim.measurement import Measurement
from napari_physgen.sim.model import load as load_trained
from napari_physgen.sim.mosaic import HALO, Mosaic, cut, finer
from napari_physgen.sim.pinn import correct, prepare, spread, teach, verdict
from napari_physgen.sim.scene import first_guess
from napari_physgen.sim.variational import TYPICAL, solve

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_physgen.backend import Command, Job, Progress
    from napari_physgen.backend.tiles import Tile
    from napari_physgen.outputs import Output
    from napari_physgen.sim.case import Case
    from napari_physgen.sim.pinn import Subject
    from napari_physgen.sim.results import Patterns, Reconstruction
    from napari_physgen.sim.scene import Scene
    from napari_physgen.sim.settings import SimSettings

    Frames = NDArray[np.float32]

R = TypeVar("R")

TILE = 512
WHOLE = 768
"""Frames are cut into tiles of TILE raw px, halo included, if they are larger than WHOLE."""

SMALLEST = 3 * HALO
"""Raw px; in smaller tiles more is shared than new."""

TEACHERS = (0.5, 1.0)
"""Tiles that the networks are trained on, by their place in the order of structure."""

REPRESENTATIVE = 0.75
"""The tile that the smoothness is chosen on: much structure, but not the oddest of all."""

ALONE = {
    "wiener": "Wiener image",
    "paper": "Network of Burns & Liu 2023",
    "trained": "Trained network",
    "variational": "Experimental, the light was unknown. Variational image",
}
"""What an image is called whose tiles share nothing, by its stage."""


def tile_size(shape: tuple[int, int], settings: SimSettings) -> int:
    """Return the raw px along each axis that are solved at once at first."""
    if settings.tile is not None:
        return settings.tile
    return max(shape) if max(shape) <= WHOLE else TILE


def solve_tiles(
    case: Case,
    quick: Frames | None,
    device: torch.device,
    size: int,
    solve_one: Callable[[Case, Frames | None, torch.device], Job[Reconstruction]],
) -> Job[Reconstruction]:
    """Reconstruct a large field tile by tile (a job).

    Parameters
    ----------
    case : Case
    quick : numpy.ndarray or None
        Wiener image of the whole field; stands where a stop left tiles unsolved.
    device : torch.device
    size : int
        Raw px of a tile along each axis, halo included.
    solve_one : callable
        ``solve_one(case, quick, device)``: the job for methods whose tiles share nothing.
    """
    if size < SMALLEST:
        raise MemoryError
    field = _Field(case, quick, device, size)
    speckle = case.settings.pattern == "speckle"
    if speckle or case.settings.method not in ("variational", "pinn"):
        return (yield from field.one_by_one(solve_one))
    yield from field.solve_all()
    told = field.told()
    if case.settings.method == "variational" or field.stopped:
        return field.result("variational", f"Variational image{told}")
    plain = field.collected
    yield from field.correct_all()
    if field.stopped:
        field.collected = plain
        return field.result("variational", f"Variational image, no network: stopped{told}")
    kept, words = verdict(plain.chi2, field.collected.chi2)
    if kept:
        return field.result("pinn", f"{words} {field.count} tiles.")
    std, field.collected = field.collected.std, plain
    return replace(field.result("variational", f"{words} {field.count} tiles."), std=std)


class _Collected:
    """What the tiles of a field have given so far.

    Parameters
    ----------
    shape : (int, int)
        Field (y, x), raw px.
    zoom : int
    light : numpy.ndarray, optional
        (frame, zoom * y, zoom * x), the first guess of light that each tile finds for itself.
    """

    def __init__(self, shape: tuple[int, int], zoom: int, light: Frames | None) -> None:
        self.image = Mosaic(shape, zoom)
        self._std = Mosaic(shape, zoom)
        self._without_std = 0
        self.residual = np.zeros(shape, np.float32)
        self.light = None if light is None else light.copy()
        self._zoom = zoom
        self._chi2: list[tuple[float, int]] = []

    @property
    def chi2(self) -> float:
        """Mean of the solved tiles' held-out chi2, by their share of the field."""
        values, pixels = zip(*self._chi2, strict=True)
        return float(np.average(values, weights=pixels))

    @property
    def std(self) -> Frames | None:
        """Standard deviation, if all tiles have one."""
        return None if self._without_std else self._std.image()

    def add(self, tile: Tile, part: Reconstruction, solved: bool = True) -> None:
        """Put in the result of a tile, or what stands for it: that is not judged."""
        self.image.add(tile, part.image)
        if part.std is None:
            self._without_std += 1
        else:
            self._std.add(tile, part.std)
        self.residual[tile.place] = part.residual[tile.take]
        if not solved:
            return
        self._chi2.append((part.chi2, self.residual[tile.place].size))
        if self.light is not None and isinstance(part.patterns, np.ndarray):
            place, take = (
                (slice(None), *(finer(side, self._zoom) for side in sides))
                for sides in (tile.place, tile.take)
            )
            self.light[place] = part.patterns[take]


class _Field:
    """A large stack, its tiles, and how far they are."""

    def __init__(self, case: Case, quick: Frames | None, device: torch.device, size: int) -> None:
        self._case, self._quick, self._device = case, quick, device
        self._settings = case.settings
        self._tiles = cut(case.shape, size)
        seed = case.settings.seed
        self._measurement = Measurement.of(case.frames, case.camera, seed, torch.device("cpu"))
        self._states: dict[int, dict[str, torch.Tensor]] = {}
        self._left = 0
        self._tuned = False
        self.count = len(self._tiles)
        self.stopped = False
        self._begin()

    def one_by_one(
        self, solve_one: Callable[[Case, Frames | None, torch.device], Job[Reconstruction]]
    ) -> Job[Reconstruction]:
        """Run a method on every tile for itself."""
        for i in range(self.count):
            if self.stopped:
                self._fill(i)
                continue
            part = yield from self._watched(solve_one(self._part(i), self._cut(i), self._device), i)
            self.collected.add(self._tiles[i], part)
        words = f"{ALONE[part.stage]}{self.told()}"
        if part.stage == "trained":
            new = load_trained(self._settings.model).seen.check(self._case)
            words = f"{words} {new}".strip()
        return self.result(part.stage, words)

    def solve_all(self) -> Job[None]:
        """Solve the variational image of every tile, with one smoothness."""
        first = self._by_structure(REPRESENTATIVE)
        order = [first, *(i for i in range(self.count) if i != first)]
        done: list[int] = []
        while len(done) < self.count and not self.stopped:
            i = next(i for i in order if i not in done)
            scene, measurement, finish = self._open(i)
            solution = yield from self._watched(solve(scene, measurement, self._settings), i)
            if self._tuned:
                # Tiles solved with another smoothness would show.
                done, self._tuned = [], False
                self._begin()
            self._settings = self._settings.model_copy(
                update={"regularisation": solution.regularisation}
            )
            std = None
            if self._settings.uncertainty and self._settings.method == "variational":
                weight = solution.regularisation
                job = spread(scene, measurement, weight, self._settings)
                std = None if self.stopped else (yield from self._watched(job, i))
            self.collected.add(self._tiles[i], finish(scene.rho(), std, "variational", ""))
            self._states[i] = {key: value.cpu() for key, value in scene.state_dict().items()}
            done.append(i)
        for i in order:
            if i not in done:
                self._fill(i)

    def correct_all(self) -> Job[None]:
        """Train the networks on some tiles and apply them to all; of no use if it was stopped."""
        subjects = []
        for i in sorted({self._by_structure(share) for share in TEACHERS}):
            subject, _ = yield from self._subject(i)
            if subject is None:
                return
            subjects.append(subject)
        networks, _ = yield from self._watched(teach(subjects, self._settings), 0, "")
        subjects.clear()
        self._begin()
        for i in range(self.count):
            if self.stopped:
                return
            subject, finish = yield from self._subject(i)
            if subject is not None:
                refined = correct(networks, subject)
                self.collected.add(self._tiles[i], finish(refined.rho, refined.std, "pinn", ""))

    def told(self) -> str:
        """Say how many tiles there are, how many a stop left, and how well they fit."""
        early = ""
        if self._left:
            rest = "widefield" if self._quick is None else "Wiener"
            early = f" stopped early, {self._left} of them are the {rest} image,"
        return (
            f" in {self.count} tiles:{early} held-out misfit {self.collected.chi2:.3f} (1 = noise)."
        )

    def result(self, stage: str, words: str) -> Reconstruction:
        """Put the tiles together."""
        found = self.collected
        case = self._case if found.light is None else replace(self._case, illumination=found.light)
        return case.result(
            self._quick,
            found.image.image(),
            found.std,
            found.residual,
            found.chi2,
            stage,
            words,
            self._device,
        )

    def _begin(self) -> None:
        light: Patterns | Frames | None = self._case.illumination
        if self._settings.pattern != "speckle" or not isinstance(light, np.ndarray):
            light = None
        self.collected = _Collected(self._case.shape, self._settings.zoom, light)

    def _part(self, i: int) -> Case:
        return replace(self._case.cropped(*self._tiles[i].read), settings=self._settings)

    def _cut(self, i: int) -> Frames | None:
        """Return the tile's part of the Wiener image."""
        if self._quick is None:
            return None
        y, x = (finer(part, self._settings.zoom) for part in self._tiles[i].read)
        return self._quick[y, x]

    def _open(self, i: int) -> tuple[Scene, Measurement, Finish]:
        """Return a tile as it was solved, or its first guess."""
        part = self._part(i)
        y, x = self._tiles[i].read
        measurement = self._measurement.cropped(y, x, self._device)
        scene = first_guess(part.operator(self._device), measurement)
        if i in self._states:
            scene.load_state_dict(self._states[i])
            scene.requires_grad_(False)
        return scene, measurement, Finish(part, None, scene.operator, measurement)

    def _subject(self, i: int) -> Job[tuple[Subject | None, Finish]]:
        """Prepare a solved tile for the networks; None if it was stopped."""
        scene, measurement, finish = self._open(i)
        weight = self._settings.regularisation or TYPICAL
        subject = yield from self._watched(prepare(scene, measurement, weight, self._settings), i)
        return subject, finish

    def _fill(self, i: int) -> None:
        """Take what there is without solving a tile."""
        scene, _, finish = self._open(i)
        rho, quick = scene.rho(), self._cut(i)
        if quick is not None:
            canvas = scene.operator.canvas
            rho = canvas.pad(torch.from_numpy(quick), canvas.zoom).to(self._device)
        self.collected.add(self._tiles[i], finish(rho, None, "wiener", ""), solved=False)
        self._left += 1

    def _by_structure(self, share: float) -> int:
        """Return the tile at `share` of the way from the plainest to the one with most structure.

        Structure is the contrast of the widefield image in units of the noise.
        """
        wide = self._measurement.widefield.numpy()
        noise = self._measurement.noise
        contrast = [float(wide[tile.read].std()) / noise for tile in self._tiles]
        return int(np.argsort(contrast)[round(share * (self.count - 1))])

    def _watched(self, job: Job[R], i: int, where: str | None = None) -> Job[R]:
        """Run a job of one tile as part of the whole, and note what the listener wants."""
        where = f"tile {i + 1} of {self.count}: " if where is None else where

        def of_all(progress: Progress) -> Progress:
            return replace(
                progress,
                step=i * progress.total + progress.step,
                total=self.count * progress.total,
                message=where + progress.message,
                preview=self._preview(i, progress.preview),
            )

        return relayed(job, of_all, self._hear)

    def _hear(self, command: Command) -> None:
        if isinstance(command, Stop):
            self.stopped = True
        if isinstance(command, Tune):
            self._settings = self._settings.tuned(**command.changes)
            self._tuned = True

    def _preview(
        self, i: int, preview: Callable[[], list[Output]] | None
    ) -> Callable[[], list[Output]] | None:
        """Return the preview of a tile within the picture of all."""
        if preview is None:
            return None

        def whole() -> list[Output]:
            image = self.collected.image.image()
            outputs = preview()
            zoom = self._settings.zoom
            y, x = (finer(part, zoom) for part in self._tiles[i].read)
            image[y, x] = outputs[0].data
            return [replace(outputs[0], data=image)]

        return whole
