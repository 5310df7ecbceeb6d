"""The job: from a scan to a map of its regions, with the evidence for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_physgen.backend import Command, Job, Progress, Stop, Tune, resolve_device
from napari_physgen.backend.device import one_thread
from napari_physgen.backend.job import portion, relayed
from napari_physgen.outputs import Output
from napari_physgen.regions import choose, mixture
from napari_physgen.regions._coarse import coarsened
from napari_physgen.regions.boundaries import trace_walls
from napari_physgen.regions.describe import describe
from napari_physgen.regions.prototypes import prototypes
from napari_physgen.regions.refine import Fine, refine, spread
from napari_physgen.regions.results import Choices, RegionMap
from napari_physgen.regions.scan import read_scan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.regions.features import Features
    from napari_physgen.regions.scan import Scan
    from napari_physgen.regions.settings import RegionSettings

    Real = NDArray[np.float32]

R = TypeVar("R")

_FEW = 3  # restarts of the fast mode, at most
_SHARES = {  # of the time: choices, network, walls
    "fast": (0.7, 0.7),
    "vae": (0.3, 0.85),
    "classic": (0.1, 0.95),
}


def map_regions(data: Any, settings: RegionSettings, mask: Any = None) -> Job[RegionMap]:
    """Map the regions of a scan (a job).

    `Stop` returns the map so far; ``Tune(wall_cost=...)`` goes on with another price of walls.

    Parameters
    ----------
    data : array
        (y, x) image; (signal, y, x) or (y, x, signal) channels or spectra; (y, x, ky, kx)
        diffraction patterns. NumPy, dask or memory mapped. NaN points are left out.
    settings : RegionSettings
    mask : array, optional
        (y, x), not 0 where the map shall be.

    Returns
    -------
    RegionMap

    Raises
    ------
    UserError
        If the data cannot be what the settings say.
    """
    with one_thread():
        command = yield Progress(0, 1000, "describing the scan")
        scan = read_scan(data, settings, mask)
        features = describe(scan, settings)
        work = _Work(scan, features, settings)
        work.hear(command)
        first, last = _SHARES[settings.method]
        yield from portion(work.start(), 0.02, first)
        if not work.stopped and settings.method != "fast" and work.regions > 1:
            yield from portion(work.train(data), first, last)
        fine = yield from portion(work.place(), last, 0.98)
        yield Progress(990, 1000, "measuring walls")
        return work.result(fine)


@dataclass
class _Work:
    """A map in the making."""

    scan: Scan
    features: Features
    settings: RegionSettings

    def __post_init__(self) -> None:
        self.stopped = False
        self.regions = 0
        self.wall_cost = self.settings.wall_cost
        self.q: Real = np.ones((1, *self.features.shape), np.float32)
        self.latent: Real = self.features.values[: self.settings.latent]
        self.notes = list(self.scan.notes)
        self.counts: tuple[Any, ...] = ()
        self.walls: tuple[Any, ...] = ()
        self.metrics: dict[str, float] = {}
        self.manifold: Real | None = None

    # ---- the mixture --------------------------------------------------------------------

    def start(self) -> Job[None]:
        """Choose what is left open and fit the mixture."""
        given, cost = self.settings.regions, self.wall_cost
        small, _ = coarsened(self.features)
        seed, restarts = self.settings.seed, self.settings.restarts
        if self.settings.method == "fast":
            restarts = min(restarts, _FEW)
        price = choose.USUAL if cost is None else cost
        if given == "auto":
            job = choose.count_regions(
                small, price, self.settings.most_regions, min(restarts, 4), seed
            )
            tried = yield from self._heard(portion(job, 0.0, 0.6))
            self.counts = tuple(sorted((one.choice for one in tried), key=lambda c: c.regions))
            self.regions = tried[0].choice.regions
            self.notes += _said(tried)
            rough = tried[0].map
        else:
            self.regions = given
            rough = mixture.fit(small, given, price, restarts, seed)
            self.hear((yield self._progress("fitting the mixture", rough.probabilities, small)))
        if self.wall_cost is None and not self.stopped and self.regions > 1:
            compare = self.settings.method != "fast"
            costs = choose.wall_costs(self.features, rough, seed, compare=compare)
            price, self.walls = yield from self._heard(portion(costs, 0.6, 0.9))
        self.wall_cost = price if self.wall_cost is None else self.wall_cost
        found = rough
        if small is not self.features or self.wall_cost != choose.USUAL:
            found = mixture.finer(self.features, rough, self.wall_cost)
        self.q = found.probabilities
        self._measure(found.labels)
        self.hear((yield self._progress("fitting the mixture", self.q, self.features)))

    def _measure(self, labels: NDArray[np.int64]) -> None:
        assert self.wall_cost is not None
        nats = mixture.objective(self.features, labels, self.wall_cost)
        self.metrics["objective"] = nats

    def _heard(self, job: Job[R]) -> Job[R]:
        """Run a part and remember whether it was stopped or tuned."""
        return relayed(job, hear=self.hear)

    def hear(self, command: Command | None) -> None:
        """Remember that the user stopped, or gave walls another price."""
        self.stopped |= isinstance(command, Stop)
        if isinstance(command, Tune) and "wall_cost" in command.changes:
            self.settings = self.settings.tuned(wall_cost=command.changes["wall_cost"])
            self.wall_cost = self.settings.wall_cost

    def _progress(self, message: str, q: Real, features: Features) -> Progress:
        def preview() -> list[Output]:
            return [self._picture(q, features)]

        return Progress(1, 1, message, {}, preview)

    def _picture(self, q: Real, features: Features) -> Output:
        labels = _numbered(spread(q, features, self.scan.shape).argmax(0), self.scan.valid)
        return Output("regions", labels, "labels", display={"opacity": 0.5})

    # ---- the networks -------------------------------------------------------------------

    def train(self, data: Any) -> Job[None]:
        """Train the network that the settings ask for."""
        job = self._classic() if self.settings.method == "classic" else self._dense()
        yield from self._heard(job)

    def _dense(self) -> Job[None]:
        from napari_physgen.regions.vae import dense_vae

        assert self.wall_cost is not None
        device = resolve_device(self.settings.device)
        found = yield from dense_vae(self.features, self.q, self.settings, self.wall_cost, device)
        self.q, self.latent = found.q, found.latent
        self.metrics |= {"network": float(found.better), "gain": found.gain}
        self.notes.append(
            "The network improved the map."
            if found.better
            else "The network found nothing better than the mixture, whose map was kept."
        )

    def _classic(self) -> Job[None]:
        from napari_physgen.regions.classic import classic

        windows = {"lattice": self.scan.values, "channels": self.scan.values}.get(self.scan.kind)
        if windows is not None and self.features.window <= self.features.step[0]:
            windows = None
        found = yield from classic(
            windows[None] if windows is not None and windows.ndim == 2 else windows,
            self.features,
            self.settings.model_copy(update={"wall_cost": self.wall_cost}),
            regions=self.regions,
            device=resolve_device(self.settings.device),
            period=self.scan.lattice.period if self.scan.lattice else None,
        )
        self.q, self.latent, self.manifold = found.q, found.latent, found.manifold
        self.metrics |= found.metrics
        self.notes.append(found.summary)

    # ---- the result ---------------------------------------------------------------------

    def place(self) -> Job[Fine]:
        """Place the walls at the resolution of the scan."""
        if self.settings.refine and not self.settings.ignore_rotation:
            assert self.wall_cost is not None
            rounds = 1 if self.settings.method == "fast" else 2
            seed = self.settings.seed
            job = refine(self.scan, self.features, self.q, self.wall_cost, seed, rounds)
            fine = yield from self._heard(job)
            made: Fine = fine
            return made
        soft = spread(self.q, self.features, self.scan.shape)
        return Fine(soft.argmax(0), soft)
        yield

    def result(self, fine: Fine) -> RegionMap:
        """Return the map with the regions in the order of their size."""
        order = _largest_first(fine.labels, self.scan.valid, len(fine.probabilities))
        rank = np.zeros(len(fine.probabilities), np.int64)
        rank[order] = np.arange(len(order))
        labels = _numbered(rank[fine.labels], self.scan.valid)
        probabilities = np.where(self.scan.valid, fine.probabilities[order], 0)
        patterns = [fine.patterns[i] for i in order] if fine.patterns else None
        values, errors = prototypes(self.scan, rank[fine.labels], len(order), patterns)
        pixel = self._pixel()
        walls = trace_walls(probabilities, labels, pixel)
        return RegionMap(
            labels=labels,
            probabilities=probabilities.astype(np.float32),
            entropy=_entropy(probabilities),
            latent=self.latent.astype(np.float32),
            grid=labels[self.features.nodes_of(labels.shape)],
            step=self.features.step,
            start=self.features.start,
            walls=walls,
            prototypes=values,
            prototype_errors=errors,
            choices=self._choices(),
            settings=self.settings,
            summary=_summary(labels, walls, self.notes, self.stopped),
            metrics=self._figures(labels, walls.length),
            device=str(resolve_device(self.settings.device)),
            manifold=self.manifold,
        )

    def _pixel(self) -> tuple[float, float] | None:
        width = self.settings.pixel_size_nm
        if width is None:
            return None
        return self.settings.pixel_height_nm or width, width

    def _choices(self) -> Choices:
        lattice = self.scan.lattice
        return Choices(
            kind=self.scan.kind,
            window=self.features.window,
            stride=round(self.features.step[0]),
            regions=self.regions,
            wall_cost=float(self.wall_cost or 0.0),
            period=None if lattice is None else lattice.period,
            counts=self.counts,
            walls=self.walls,
            notes=tuple(self.notes),
        )

    def _figures(self, labels: NDArray[np.uint8], length: float) -> dict[str, float]:
        shares = np.bincount(labels[labels > 0])[1:] / max(int((labels > 0).sum()), 1)
        chosen = {one.regions: one.stability for one in self.counts}
        stability = next(
            (one.stability for one in self.walls if one.wall_cost == self.wall_cost),
            chosen.get(self.regions),
        )
        figures = {
            "regions": float(len(shares)),
            "largest_share": float(shares.max()),
            "wall_length": length,
            "wall_cost": float(self.wall_cost or 0.0),
            **self.metrics,
        }
        return figures | ({} if stability is None else {"stability": stability})


def _said(tried: list[choose.Count]) -> list[str]:
    """Say what was refused next to the chosen number of regions."""
    chosen = tried[0].choice.regions
    more = next((one for one in tried[1:] if one.choice.regions == chosen + 1), None)
    if more is None:
        return []
    why = more.refused or "the evidence does not pay for one more"
    kinds = "1 kind" if chosen == 1 else f"{chosen} kinds"
    return [f"{kinds} of region: with {chosen + 1}, {why}."]


def _numbered(labels: NDArray[np.integer], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(valid, labels + 1, 0).astype(np.uint8)


def _largest_first(
    labels: NDArray[np.int64], valid: NDArray[np.bool_], regions: int
) -> NDArray[np.int64]:
    sizes = np.bincount(labels[valid], minlength=regions)
    order = np.argsort(-sizes, kind="stable")
    return order[sizes[order] > 0]


def _entropy(probabilities: Real) -> Real:
    """Return the entropy of each pixel, bits."""
    p = np.clip(probabilities, 1e-12, 1)
    made: Real = np.maximum(-(p * np.log2(p)).sum(0), 0).astype(np.float32)
    return made


def _summary(labels: NDArray[np.uint8], walls: Any, notes: list[str], stopped: bool) -> str:
    """Say in words what came out."""
    sizes = np.bincount(labels[labels > 0])[1:]
    shares = ", ".join(f"{100 * size / sizes.sum():.0f} %" for size in sizes)
    if len(sizes) == 1:
        text = "One kind of region: nothing in the scan calls for a wall."
    else:
        kinds = f"{len(sizes)} kinds of region ({shares})"
        text = f"{kinds}; {walls.length:.4g} {walls.unit} of walls."
    if stopped:
        text = f"Stopped early. {text}"
    return " ".join([text, *notes])
