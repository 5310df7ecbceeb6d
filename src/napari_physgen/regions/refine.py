"""From the grid to the pixels: walls where the image itself puts them.

Lattice images are explained with the repeated pattern of each region (`_patterns`), everything
else with the values of the pixels; both give what a pixel costs in each region, and the same
convex solve as on the grid puts the walls. Evidence of pixels whose residuals are alike is
counted once: the wall cost is multiplied by the sum of their autocorrelation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import fft
from scipy.ndimage import binary_dilation, gaussian_filter
from skimage.measure import label

from napari_physgen.backend.job import Command, Progress
from napari_physgen.regions._likelihood import Counts, Gaussian
from napari_physgen.regions._patterns import Correlator, Pattern, learn
from napari_physgen.regions._potts import Potts
from napari_physgen.regions.describe import Joined, joined, small_patterns

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_physgen.regions.features import Features
    from napari_physgen.regions.scan import Scan

    Real = NDArray[np.float32]

_ROUNDS = 2
_STEPS = 70
_PIXELS = 100_000
"""More pixels than this are joined 2 x 2 ... while walls are placed."""

_BAND = 2  # px on both sides of a wall that may change, where pixels stand for themselves
_EXPLAINED = 0.3  # of the variance, for patterns to be trusted with the walls
_SPECK = 0.35  # periods: side of the smallest piece that is kept
_LOST = 50.0  # nats: a region without a pattern takes no new pixels
_USUAL, _PER_PIXEL = 2.5, 1.5
"""Usual wall cost of the grid, and what it stands for here, nats per independent pixel."""

_LEAST, _MOST = 3.0, 10.0
_MIXED = 2.0  # pixels at walls are mixtures of both sides, and less sure than their noise says


@dataclass(frozen=True)
class Fine:
    """A map at the resolution of the scan.

    Parameters
    ----------
    labels : numpy.ndarray
        (y, x) int64 from 0 on.
    probabilities : numpy.ndarray
        (region, y, x) float32.
    patterns : list of Pattern or None
        Of lattice images.
    """

    labels: NDArray[np.int64]
    probabilities: Real
    patterns: list[Pattern | None] | None = None


def spread(q: NDArray[np.floating], features: Features, shape: tuple[int, int]) -> Real:
    """Return the probabilities of a grid at every pixel (region, y, x), linear in between."""
    if features.shape == shape and features.step == (1.0, 1.0):
        return q.astype(np.float32)
    rows, columns = (
        np.clip((np.arange(n) - start) / step, 0, nodes - 1)
        for n, start, step, nodes in zip(
            shape, features.start, features.step, features.shape, strict=True
        )
    )
    return _linear(_linear(q.astype(np.float32), rows, 1), columns, 2)


def _linear(values: Real, at: NDArray[np.floating], axis: int) -> Real:
    low = np.minimum(at.astype(int), values.shape[axis] - 1)
    high = np.minimum(low + 1, values.shape[axis] - 1)
    part = (at - low).astype(np.float32)
    part = part.reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    made: Real = values.take(low, axis) * (1 - part) + values.take(high, axis) * part
    return made


def refine(
    scan: Scan, features: Features, q: Real, wall_cost: float, seed: int, rounds: int = _ROUNDS
) -> Generator[Progress, Command | None, Fine]:
    """Place the walls of a map at the resolution of the scan.

    Parameters
    ----------
    scan : Scan
    features : Features
        Those of the map.
    q : numpy.ndarray
        (region, y, x) on the grid.
    wall_cost : float
        Nats per grid step, taken per pixel here.
    seed : int
    rounds : int
        Alternations between patterns and walls of lattice images.
    """
    soft = spread(q, features, scan.shape)
    if len(soft) == 1 or scan.kind == "lattice":
        fine = yield from _by_patterns(scan, soft, wall_cost, seed, rounds)
        return fine
    fine = yield from _by_pixels(scan, features, soft, wall_cost)
    return fine


def _by_patterns(
    scan: Scan, soft: Real, wall_cost: float, seed: int, rounds: int
) -> Generator[Progress, Command | None, Fine]:
    if scan.lattice is None:
        yield Progress(1, 1, "placing walls")
        return Fine(soft.argmax(0), soft)
    inside = scan.values[scan.valid]
    image = np.where(scan.valid, (scan.values - inside.mean()) / (inside.std() or 1), 0)
    image = image.astype(np.float32)
    correlator = Correlator(image, scan.valid, scan.lattice.period)
    labels = soft.argmax(0)
    patterns: list[Pattern | None] = []
    rounds = rounds if len(soft) > 1 else 1
    for number in range(rounds):
        patterns = [
            learn(
                image,
                scan.valid,
                (labels == region) & scan.valid,
                scan.lattice.period,
                _draws(seed, region),
            )
            for region in range(len(soft))
        ]
        yield Progress(number + 1, rounds, "placing walls")
        if len(soft) == 1 or sum(pattern is not None for pattern in patterns) < 2:
            break
        cost, explained = _pattern_cost(correlator, patterns, labels, scan.valid)
        if explained < _EXPLAINED:
            patterns = []  # a texture without a cell that repeats: the grid knows best
            break
        own = np.take_along_axis(cost, labels[None], 0)[0]
        alike = _alike(own, scan.valid, scan.lattice.period)
        price = wall_cost / _USUAL * float(np.clip(_PER_PIXEL * alike, _LEAST, _MOST))
        soft = _placed(cost, scan, labels, price)
        labels = soft.argmax(0)
    soft = _without_specks(soft, scan.lattice.period)
    labels = soft.argmax(0)
    scale = float(inside.std() or 1)
    patterns = [one and _in_units(one, scale, float(inside.mean())) for one in patterns]
    return Fine(labels, soft, patterns)


def _without_specks(soft: Real, period: float) -> Real:
    """Give pieces much smaller than a cell, which say nothing of it, to what is around them."""
    pieces = label(soft.argmax(0) + 1, connectivity=1)  # type: ignore[no-untyped-call]
    sizes = np.bincount(pieces.ravel())
    specks = sizes[pieces] < (_SPECK * period) ** 2
    if not specks.any():
        return soft
    kept = np.where(specks, 0, soft)
    filled = np.stack([gaussian_filter(one, _SPECK * period) for one in kept])
    filled /= np.maximum(filled.sum(0), 1e-9)
    made: Real = np.where(specks, filled, soft).astype(np.float32)
    return made


def _draws(seed: int, region: int) -> np.random.Generator:
    return np.random.default_rng([seed, region])


def _in_units(pattern: Pattern, scale: float, mean: float) -> Pattern:
    return Pattern(pattern.values * scale + mean, pattern.error * scale, pattern.matches)


def _pattern_cost(
    correlator: Correlator,
    patterns: list[Pattern | None],
    labels: NDArray[np.int64],
    valid: NDArray[np.bool_],
) -> tuple[Real, float]:
    """Return (region, y, x) nats: normal residuals with the scatter of each region.

    And the share of the variance that the patterns explain.
    """
    left = everything = 0.0
    cost = np.full((len(patterns), *labels.shape), np.nan, np.float32)
    for region, pattern in enumerate(patterns):
        own = (labels == region) & valid
        if pattern is None or not own.any():
            continue
        picture = correlator.picture(pattern.values)
        squared = (correlator.image - picture) ** 2
        left += float(squared[own].sum())
        everything += float(np.var(correlator.image[own])) * int(own.sum())
        variance = _variance(squared, picture, own)
        cost[region] = 0.5 * squared / variance + 0.5 * np.log(variance)
    lost = np.nanmax(cost, 0) + _LOST
    for region in range(len(patterns)):
        if np.isnan(cost[region, 0, 0]):
            cost[region] = np.where(labels == region, np.nanmin(cost, 0), lost)
    return cost, 1 - left / max(everything, 1e-12)


def _variance(squared: Real, picture: Real, own: NDArray[np.bool_]) -> Real:
    """Return the scatter to expect where the picture is as bright as it is (shot noise)."""
    level, slope = np.polynomial.polynomial.polyfit(picture[own], squared[own], 1)
    usual = max(float(squared[own].mean()), 1e-6)
    made: Real = np.maximum(level + max(slope, 0.0) * picture, 0.2 * usual).astype(np.float32)
    return made


def _alike(own: Real, valid: NDArray[np.bool_], reach: float) -> float:
    """Return the sum of the autocorrelation of residual costs within half a period, at least 1."""
    centred = np.where(valid, own - own[valid].mean(), 0)
    power = np.abs(fft.rfft2(centred, workers=-1)) ** 2
    correlation = fft.irfft2(power, centred.shape, workers=-1)
    far = max(int(reach / 2), 1)
    near = np.roll(correlation, (far, far), (0, 1))[: 2 * far + 1, : 2 * far + 1]
    return max(float(near.sum() / max(float(correlation[0, 0]), 1e-12)), 1.0)


def _placed(cost: Real, scan: Scan, labels: NDArray[np.int64], wall_cost: float) -> Real:
    """Return soft labels (region, y, x) of least cost."""
    height, width = scan.shape
    size = int(np.ceil(np.sqrt(height * width / _PIXELS)))
    blocks = _sums(np.where(scan.valid, cost - cost.min(0), 0), size)
    valid = torch.from_numpy(_sums(scan.valid[None].astype(np.float32), size)[0] > 0)
    held = torch.from_numpy(blocks)
    start = _one_hot(labels[size // 2 :: size, size // 2 :: size], held)
    potts = Potts(scan.spacing, valid)
    found = potts.solve(held, wall_cost * size, start, _STEPS)
    soft = potts.soften(held, wall_cost * size, found).numpy()
    if size == 1:
        return soft
    rows, columns = ((np.arange(n) - (size - 1) / 2) / size for n in (height, width))
    return _linear(_linear(soft, np.clip(rows, 0, None), 1), np.clip(columns, 0, None), 2)


def _one_hot(labels: NDArray[np.int64], like: torch.Tensor) -> torch.Tensor:
    """Return hard labels as soft ones of the shape of `like`."""
    padded = np.pad(
        labels,
        [(0, n - m) for n, m in zip(like.shape[1:], labels.shape, strict=True)],
        mode="edge",
    )
    hot = torch.nn.functional.one_hot(torch.from_numpy(padded), like.shape[0])
    return hot.movedim(-1, 0).float()


def _sums(values: Real, size: int) -> Real:
    if size == 1:
        return np.ascontiguousarray(values, np.float32)
    _, height, width = values.shape
    extra = [(-n) % size for n in (height, width)]
    padded = np.pad(values, ((0, 0), (0, extra[0]), (0, extra[1])))
    count, height, width = padded.shape
    made: Real = padded.reshape(count, height // size, size, width // size, size).sum((2, 4))
    return made


def _by_pixels(
    scan: Scan, features: Features, soft: Real, wall_cost: float
) -> Generator[Progress, Command | None, Fine]:
    """Move walls within a band of pixels around them, with the regions as they are."""
    yield Progress(0, 1, "placing walls")
    labels = soft.argmax(0)
    width = _BAND + round(features.step[0]) - 1
    walls = np.zeros(scan.shape, bool)
    walls[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    walls[1:] |= labels[1:] != labels[:-1]
    band = binary_dilation(walls, iterations=width) & scan.valid
    if not band.any():
        return Fine(labels, soft)
    cost = _pixel_cost(scan, features, labels, band)
    frozen = np.where(np.eye(len(soft), dtype=bool)[labels].transpose(2, 0, 1), 0.0, 1e3)
    cost = np.where(band, cost - cost.min(0), frozen).astype(np.float32)
    price = wall_cost if features.family == "counts" else _MIXED * wall_cost
    placed = _placed(cost, scan, labels, price)
    # Where nothing was asked again, the grid knows best how sure it is.
    placed = np.where(band, placed, soft)
    return Fine(placed.argmax(0), placed)


def _pixel_cost(
    scan: Scan, features: Features, labels: NDArray[np.int64], band: NDArray[np.bool_]
) -> Real:
    """Return (region, y, x) nats of the pixels of the band."""
    regions = int(labels.max()) + 1
    if features.family == "counts":
        return _count_cost(scan, features, labels, regions)
    values = _pixel_values(scan, features)
    inner = ~band & scan.valid
    points = torch.from_numpy(values[:, inner].T.copy())
    share = _shares(labels[inner], regions)
    model = Gaussian(points, 1.0)
    model.of(share)
    # One scatter for all: the wall of two regions lies where the mean is between theirs, however
    # much they scatter, since pixels at walls are mixtures.
    weight = share.sum(1) / share.sum()
    common = (model.covariances * weight[:, None, None]).sum(0, keepdim=True)
    model.covariances = common.expand_as(model.covariances)
    cost = np.zeros((regions, *labels.shape), np.float32)
    here = torch.from_numpy(values[:, band].T.copy())
    cost[:, band] = -model.at(here).numpy()
    return cost


def _pixel_values(scan: Scan, features: Features) -> Real:
    """Return (feature, y, x) of the pixels: the features, or channels and components again."""
    if features.shape == scan.shape:
        return features.values
    if scan.kind == "channels":
        values = np.asarray(scan.values, np.float32)
    else:
        values = spread(features.values, features, scan.shape)
    return values


def _count_cost(
    scan: Scan,
    features: Features,
    labels: NDArray[np.int64],
    regions: int,
) -> Real:
    """Return the costs of counts, read in slabs of lines."""
    nodes = features.nodes_of(scan.shape)
    model = Counts(torch.from_numpy(features.points))
    model.of(_shares(labels[nodes][features.valid], regions))
    source: Any = joined(scan.values) if scan.kind == "spectra" else _flat(scan)
    cost = np.zeros((regions, *labels.shape), np.float32)
    for y in range(scan.shape[0]):
        slab = np.asarray(source[:, y : y + 1], np.float32)[:, 0]
        cost[:, y] = -features.evidence * model.at(torch.from_numpy(slab.T.copy())).numpy()
    return cost


def _flat(scan: Scan) -> Real | Joined:
    return small_patterns(scan.values).reshape(-1, *scan.shape)


def _shares(labels: NDArray[np.int64], regions: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.from_numpy(labels), regions).T.float()
