"""Descriptors of a lattice image that do not depend on where in its cell a point lies.

At each point: the power at the spots of the diffractogram and in rings, and the local bispectrum

    B(g1, g2) = F(g1) F(g2) F*(g1 + g2)

of its spots. A shift of the lattice changes the phase of F(g) by g u, which cancels in B;
an inversion conjugates B, while it leaves the power as it is. So B tells variants apart that
differ by the direction of a displacement only, which no power spectrum can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from napari_physgen.errors import UserError
from napari_physgen.regions._fourier import HANN, Lattice, LocalFourier
from napari_physgen.regions.features import Features

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW = 2.2
"""Side of the window in lattice periods: a smaller one does not resolve the spots."""

_SPOTS = 20
_TRIADS = 240
_KEPT = 16
_RINGS = 6
_DIRECTIONS = 24
_HARMONICS = (2, 4, 6)
_LEAST_WEIGHT = 0.25
_WHOLE = 0.88
_FLAT = 2.0  # windows: brightness and contrast that change more slowly are taken off
_INDEPENDENT, _TURNED = 10.0, 1.25
"""Evidence of a node in units of (stride / window)^2, so that the usual wall cost fits; chosen on
simulated lattices (sums over all directions leave fewer independent observations)."""


def describe(
    image: NDArray[np.floating],
    valid: NDArray[np.bool_],
    lattice: Lattice,
    *,
    window: int,
    stride: int,
    ignore_rotation: bool = False,
    spacing: tuple[float, float] = (1.0, 1.0),
) -> Features:
    """Describe a lattice image on a grid.

    Parameters
    ----------
    image : numpy.ndarray
        (y, x), any unit.
    valid : numpy.ndarray
        (y, x) bool.
    lattice : Lattice
    window : int
        px; the Gaussian window has the second moment of a Hann window of this side.
    stride : int
        px between nodes.
    ignore_rotation : bool
        Take what does not change when the lattice is turned.
    spacing : (float, float)
        Length of a grid step along y and x.

    Raises
    ------
    UserError
        If no window holds enough points with data.
    """
    flat = flattened(image, valid, _FLAT * window / HANN)
    local = LocalFourier(flat, valid, window / HANN, stride)
    inside = local.weight > _LEAST_WEIGHT
    if not inside.any():
        raise UserError(
            f"No window of {window} px holds enough points with data: choose a smaller one, or a "
            "larger mask."
        )
    parts = [_turned(local, lattice)] if ignore_rotation else _spots(local, lattice)
    # At the frame a window is cut; what the nearest whole window says is closer to the truth.
    nearest = _nearest_whole(local.weight)
    parts = [part[:, *nearest] for part in parts]
    values = np.concatenate([whitened(part, inside, _KEPT) for part in parts])
    independent = _TURNED if ignore_rotation else _INDEPENDENT
    return Features(
        values=values,
        family="gaussian",
        evidence=min(1.0, independent * (stride / window) ** 2),
        valid=inside,
        step=(float(stride), float(stride)),
        spacing=spacing,
        window=window,
    )


def flattened(
    image: NDArray[np.floating], valid: NDArray[np.bool_], sigma: float
) -> NDArray[np.float32]:
    """Return an image without slow changes of brightness and contrast (thickness, bending).

    Parameters
    ----------
    image : numpy.ndarray
        (y, x).
    valid : numpy.ndarray
        (y, x) bool.
    sigma : float
        Standard deviation of the Gaussian that says what slow is, px.
    """
    weight = np.maximum(gaussian_filter(valid.astype(np.float32), sigma), 1e-3)

    def smooth(values: NDArray[np.floating]) -> NDArray[np.float32]:
        filled = np.where(valid, values, 0).astype(np.float32)
        made: NDArray[np.float32] = gaussian_filter(filled, sigma) / weight
        return made

    rest = image - smooth(image)
    power = smooth(rest**2)
    least = 1e-6 * float(power[valid].max()) + 1e-30
    return np.where(valid, rest / np.sqrt(power + least), 0).astype(np.float32)


def _nearest_whole(weight: NDArray[np.floating]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return for every node where the nearest one with a whole window is, (y, x)."""
    whole = weight >= min(_WHOLE, float(weight.max()))
    y, x = distance_transform_edt(~whole, return_distances=False, return_indices=True)
    return y, x


def _spots(local: LocalFourier, lattice: Lattice) -> list[NDArray[np.float32]]:
    """Return log power and bispectrum (feature, y, x)."""
    bins = [local.bin(spot) for spot in lattice.spots[:_SPOTS]]
    amplitudes = {where: local.amplitude(where) for where in bins}
    power = np.stack([_log_power(amplitudes[where]) for where in bins])
    triads = _triads(local, lattice, bins)
    products = []
    for first, second, total in triads:
        if total not in amplitudes:
            amplitudes[total] = local.amplitude(total)
        product = _at(amplitudes, first) * _at(amplitudes, second) * amplitudes[total].conj()
        size = np.abs(product)
        # The cube root has the unit of an amplitude again, so that no spot drowns the others.
        product = product / np.maximum(size, 1e-20) * np.cbrt(size)
        products += [product.real, product.imag]
    # Contrast common to all spots is thickness or defocus more often than structure.
    return [power - power.mean(0), np.stack(products)]


def _at(
    amplitudes: dict[tuple[int, int], NDArray[np.complex64]], where: tuple[int, int]
) -> NDArray[np.complex64]:
    if where in amplitudes:
        return amplitudes[where]
    return amplitudes[-where[0], -where[1]].conj()


def _triads(
    local: LocalFourier, lattice: Lattice, bins: list[tuple[int, int]]
) -> list[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]]:
    """Return bins (g1, g2, g1 + g2), those of strong spots first."""
    found = []
    for i, first in enumerate(bins):
        for j, other in enumerate(bins[i:], i):
            for sign in (1, -1):
                second = (sign * other[0], sign * other[1])
                total = (first[0] + second[0], first[1] + second[1])
                far = np.hypot(*(t / side for t, side in zip(total, local.sides, strict=True)))
                if 0.5 / lattice.period < far < 0.45:
                    found.append((i + j, (first, second, total)))
    found.sort(key=lambda item: item[0])
    return [triad for _, triad in found[:_TRIADS]]


def _turned(local: LocalFourier, lattice: Lattice) -> NDArray[np.float32]:
    """Return what a rotation does not change: power in rings and how it varies with direction."""
    lowest = 0.8 / lattice.period
    radii = np.geomspace(lowest, min(3.5 * lowest, 0.42), _RINGS)
    angles = np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    features = []
    for radius in radii:
        ring = np.stack(
            [
                np.abs(local.amplitude(local.bin((radius * np.sin(t), radius * np.cos(t))))) ** 2
                for t in angles
            ]
        )
        total = ring.mean(0)
        features.append(np.log(total + 0.05 * total.mean()))
        # Of a half turn: the power spectrum of a real image is the same at g and -g.
        waves = np.abs(np.fft.rfft(ring, axis=0)) / (ring.sum(0) + 0.05 * ring.sum(0).mean())
        features += [waves[n // 2] if n // 2 < len(waves) else waves[-1] for n in _HARMONICS]
        features.append(ring.max(0) / (total + 0.05 * total.mean()))
    return np.stack(features)


def _log_power(amplitude: NDArray[np.complex64]) -> NDArray[np.float32]:
    power = np.abs(amplitude) ** 2
    made: NDArray[np.float32] = np.log(power + 0.1 * power.mean())
    return made


def whitened(
    values: NDArray[np.floating], valid: NDArray[np.bool_], most: int
) -> NDArray[np.float32]:
    """Return the leading principal components (component, y, x) with unit variance."""
    points = values[:, valid]
    points = (points - points.mean(1, keepdims=True, dtype=np.float64)).astype(np.float32)
    spread, axes = np.linalg.eigh((points @ points.T).astype(np.float64) / points.shape[1])
    kept = np.argsort(-spread)[:most]
    kept = kept[spread[kept] > 1e-6 * spread.max()]
    result = np.zeros((len(kept), *valid.shape), np.float32)
    result[:, valid] = (axes[:, kept] / np.sqrt(spread[kept])).T.astype(np.float32) @ points
    return result
