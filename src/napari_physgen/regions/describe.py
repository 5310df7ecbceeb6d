"""The four front ends: every kind of scan becomes descriptors on a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter

from napari_physgen.errors import UserError
from napari_physgen.physics.wall_edges import ends
from napari_physgen.regions import lattice
from napari_physgen.regions.features import Features

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_physgen.regions.scan import Scan
    from napari_physgen.regions.settings import RegionSettings

_NODES = 128 * 128
"""Points of the grid of spectra; larger scans are binned, and refined at the end."""

_PIXELS = 512 * 512
_CHANNELS = 512
"""Channels of spectra; more are joined (they are refined with)."""

_PATTERN = 24  # px of a diffraction pattern that is kept
_COMPONENTS = 12
_SINGLE = 9  # px: window of a single image without a lattice
_LEAST_COUNTED = 1.0
_ISOLATED = 12.0  # usual distances to the most similar neighbour


def describe(scan: Scan, settings: RegionSettings) -> Features:
    """Return the descriptors of a scan.

    Raises
    ------
    UserError
        If the window or the grid step does not fit into the scan, or all points look the same.
    """
    if settings.window is not None and settings.window > min(scan.shape):
        raise UserError(
            f"The window of {settings.window} px is larger than the scan of {scan.shape[0]} x "
            f"{scan.shape[1]} px: choose a smaller one, or auto."
        )
    if settings.stride is not None and 2 * settings.stride > min(scan.shape):
        raise UserError(
            f"The grid step of {settings.stride} px leaves a single row of a scan of "
            f"{scan.shape[0]} x {scan.shape[1]} px: choose a smaller one, or auto."
        )
    features = _FRONT_ENDS[scan.kind](scan, settings)
    if len(features.values) == 0:
        raise UserError("All points look the same: there is nothing to tell apart.")
    return features


def _lattice(scan: Scan, settings: RegionSettings) -> Features:
    assert scan.lattice is not None
    window = settings.window or min(
        round(lattice.WINDOW * scan.lattice.period), min(scan.shape) // 2
    )
    return lattice.describe(
        scan.values,
        scan.valid,
        scan.lattice,
        window=window,
        stride=settings.stride or 4,
        ignore_rotation=settings.ignore_rotation,
        spacing=scan.spacing,
    )


def _channels(scan: Scan, settings: RegionSettings) -> Features:
    """Pixels stand for themselves, unless a single image or a window asks for texture."""
    stride = settings.stride or _stride(scan, _PIXELS)
    window = settings.window or (_SINGLE if len(scan.values) == 1 else 1)
    maps = scan.values
    if window > 1:
        maps = np.concatenate([_texture(one, scan.valid, window) for one in maps])
        valid, values = scan.valid[::stride, ::stride], maps[:, ::stride, ::stride]
    else:
        values, valid = binned(maps, scan.valid, stride, mean=True)
    values = _scaled(values, valid)
    return Features(
        values=values,
        family="gaussian",
        evidence=min(1.0, 4 * (stride / window) ** 2) if window > 1 else 1.0,
        valid=valid,
        step=(float(stride), float(stride)),
        start=(0.0, 0.0) if window > 1 else ((stride - 1) / 2,) * 2,
        spacing=scan.spacing,
        window=window,
    )


def _spectra(scan: Scan, settings: RegionSettings) -> Features:
    stride = settings.stride or _stride(scan, _NODES)
    values, valid = binned(joined(scan.values), scan.valid, stride, mean=not scan.counts)
    return _signal(scan, values, valid, stride)


def _diffraction(scan: Scan, settings: RegionSettings) -> Features:
    stride = settings.stride or _stride(scan, _NODES)
    patterns = small_patterns(scan.values)
    if settings.ignore_rotation:
        values, valid = binned(patterns.reshape(-1, *scan.shape), scan.valid, stride, mean=True)
        values = _rings(values.reshape(*patterns.shape[:2], *valid.shape))
        whitened = lattice.whitened(values, valid, _COMPONENTS)
        return _pixels(scan, whitened, "gaussian", 1.0, valid, stride)
    flat = patterns.reshape(-1, *scan.shape)
    values, valid = binned(flat, scan.valid, stride, mean=not scan.counts)
    return _signal(scan, values, valid, stride)


_FRONT_ENDS: dict[str, Callable[[Scan, RegionSettings], Features]] = {
    "lattice": _lattice,
    "channels": _channels,
    "spectra": _spectra,
    "diffraction": _diffraction,
}


def _signal(
    scan: Scan, values: NDArray[np.float32], valid: NDArray[np.bool_], stride: int
) -> Features:
    """Return counts as they are, and anything else as principal components."""
    if scan.counts:
        valid = valid & (values.sum(0) >= _LEAST_COUNTED)
        evidence = 1 / overdispersion(values, valid)
        return _pixels(scan, values, "counts", evidence, valid, stride)
    first = lattice.whitened(values, valid, _COMPONENTS)
    mended = _mended(values, _isolated(first, valid), valid)
    components = first if mended is values else lattice.whitened(mended, valid, _COMPONENTS)
    return _pixels(scan, components, "gaussian", 1.0, valid, stride)


def _isolated(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels that are like none of their neighbours: dead ones, or struck by a ray.

    A line of pixels is no such thing, for these are like each other.
    """
    nearest = np.full(valid.shape, np.inf, np.float32)
    for offset in ((0, 1), (1, 0), (1, 1), (1, -1)):
        first, second = ends(offset)
        distance = np.sqrt(((values[first] - values[second]) ** 2).sum(0))
        distance = np.where(valid[first] & valid[second], distance, np.inf)
        np.minimum(nearest[first], distance, out=nearest[first])
        np.minimum(nearest[second], distance, out=nearest[second])
    known = nearest[np.isfinite(nearest)]
    usual = float(np.median(known)) if known.size else 0.0
    return np.isfinite(nearest) & (nearest > _ISOLATED * usual) & valid


def _mended(
    values: NDArray[np.float32], bad: NDArray[np.bool_], valid: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return values with some pixels replaced by the mean of those around them."""
    if not bad.any():
        return values
    good = (valid & ~bad).astype(np.float32)
    held = np.maximum(uniform_filter(good, 3), 1e-6)
    mended = values.copy()
    for one, old in zip(mended, values, strict=True):
        one[bad] = (uniform_filter(old * good, 3) / held)[bad]
    return mended


def _pixels(
    scan: Scan,
    values: NDArray[np.float32],
    family: Any,
    evidence: float,
    valid: NDArray[np.bool_],
    stride: int,
) -> Features:
    """Return features of pixels, or of blocks of pixels, that stand for themselves."""
    return Features(
        values=values,
        family=family,
        evidence=evidence,
        valid=valid,
        step=(float(stride), float(stride)),
        start=((stride - 1) / 2, (stride - 1) / 2),
        spacing=scan.spacing,
        window=stride,
    )


def _stride(scan: Scan, most: int) -> int:
    stride = 1
    while scan.valid.size / stride**2 > most:
        stride += 1
    return stride


def overdispersion(counts: NDArray[np.float32], valid: NDArray[np.bool_]) -> float:
    """Return how much more the counts of neighbours differ than Poisson draws would, at least 1.

    Neighbours mostly share a region, and with totals N1, N2 of one spectrum

        sum_e (n1 sqrt(N2 / N1) - n2 sqrt(N1 / N2))^2 / (n1 + n2) / (channels with counts - 1)

    is 1 on average; the median over pairs does not see the walls.
    """
    first, second = counts[:, :, :-1], counts[:, :, 1:]
    both = valid[:, :-1] & valid[:, 1:]
    first, second = first[:, both], second[:, both]
    if first.shape[1] == 0:
        return 1.0
    skip = max(first.shape[1] // 4000, 1)
    first, second = first[:, ::skip], second[:, ::skip]
    ratio = np.sqrt(np.maximum(second.sum(0), 1) / np.maximum(first.sum(0), 1))
    together = first + second
    seen = together > 0
    terms = (first * ratio - second / ratio) ** 2 / np.where(seen, together, 1)
    freedom = np.maximum(seen.sum(0) - 1, 1)
    return max(1.0, float(np.median(terms.sum(0) / freedom)))


def binned(
    values: Any, valid: NDArray[np.bool_], stride: int, *, mean: bool
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return sums or means (signal, y, x) over blocks of pixels with data, read in slabs."""
    height, width = (size // stride for size in valid.shape)
    weight = valid[: height * stride, : width * stride]
    members = weight.reshape(height, stride, width, stride).sum((1, 3))
    total = np.empty((values.shape[0], height, width), np.float32)
    for row in range(height):
        rows = slice(row * stride, (row + 1) * stride)
        slab = np.asarray(values[:, rows, : width * stride], np.float32)
        slab = np.where(valid[rows, : width * stride], slab, 0)
        total[:, row] = slab.reshape(len(slab), stride, width, stride).sum((1, 3))
    if mean:
        total /= np.maximum(members, 1)
    return total, members > 0


def joined(spectra: Any) -> Any:
    """Return spectra with neighbouring channels added up where there are very many."""
    size = -(-spectra.shape[0] // _CHANNELS)
    if size == 1:
        return spectra
    return Joined(spectra, size)


class Joined:
    """Spectra with groups of neighbouring channels added up when a part is read."""

    def __init__(self, spectra: Any, size: int) -> None:
        self.spectra = spectra
        self.size = size
        self.shape = (-(-spectra.shape[0] // size), *spectra.shape[1:])
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        part = np.asarray(self.spectra[index], np.float32)
        first = np.arange(0, len(part), self.size)
        return np.add.reduceat(part, first, axis=0)


def small_patterns(patterns: Any) -> NDArray[np.float32]:
    """Return (ky, kx, y, x) with detector pixels added up to at most 24 x 24."""
    size = max(-(-max(patterns.shape[:2]) // _PATTERN), 1)
    first = [np.arange(0, n, size) for n in patterns.shape[:2]]
    rows = []
    for y in range(patterns.shape[2]):
        row = np.asarray(patterns[:, :, y], np.float32)
        rows.append(np.add.reduceat(np.add.reduceat(row, first[0], axis=0), first[1], axis=1))
    return np.stack(rows, 2)


def _rings(patterns: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what a rotation of (ky, kx, y, x) about the mean centre of mass does not change."""
    total = patterns.sum((2, 3))
    y, x = np.indices(total.shape)
    centre = [float((axis * total).sum() / total.sum()) for axis in (y, x)]
    radius = np.hypot(y - centre[0], x - centre[1])
    angle = np.arctan2(y - centre[0], x - centre[1])
    features = []
    scale = patterns.sum((0, 1)) + 1e-6
    for ring in range(round(radius.max()) + 1):
        near = np.maximum(0, 1 - np.abs(radius - ring)) / np.maximum(radius, 1)
        if near.sum() == 0:
            continue
        level = np.tensordot(near, patterns, ((0, 1), (0, 1)))
        features.append(np.sqrt(np.maximum(level, 0) / scale))
        for order in (2, 3, 4, 6):
            wave = np.tensordot(near * np.exp(1j * order * angle), patterns, ((0, 1), (0, 1)))
            features.append(np.abs(wave) / scale)
    return np.stack(features).astype(np.float32)


def _texture(
    values: NDArray[np.float32], valid: NDArray[np.bool_], window: int
) -> NDArray[np.float32]:
    """Return local mean, and log of local scatter at two scales, over Gaussian windows."""
    sigma = window / 5.5
    weight = valid.astype(np.float32)

    def smooth(image: NDArray[np.float32], width: float) -> NDArray[np.float32]:
        held = np.maximum(gaussian_filter(weight, width), 1e-3)
        made: NDArray[np.float32] = gaussian_filter(np.where(valid, image, 0), width) / held
        return made

    mean = smooth(values, sigma)
    features = [mean]
    for inner in (0.0, sigma):
        base = smooth(values, inner) if inner else values
        outer = 2 * inner if inner else sigma
        rest = base - smooth(values, outer)
        power = smooth(rest**2, 1.5 * outer)
        features.append(0.5 * np.log(power + 1e-3 * float(power[valid].mean()) + 1e-30))
    return np.stack(features)


def _scaled(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return channels with zero mean and unit variance; constant ones become 0."""
    inside = values[:, valid]
    mean, spread = inside.mean(1), inside.std(1)
    scaled = (values - mean[:, None, None]) / np.where(spread > 0, spread, 1)[:, None, None]
    kept = spread > 0
    return np.where(valid, scaled[kept], 0).astype(np.float32)
