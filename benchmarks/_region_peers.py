"""What others do to map regions: windows, a decomposition, a clustering.

Every peer takes a case and a seed and returns labels (from 1) on a grid with the position of its
first node and its step.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import scipy.ndimage
from _region_sets import Case
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import NMF, PCA
from sklearn.mixture import GaussianMixture

Real = NDArray[np.float32]


@dataclass(frozen=True)
class Grid:
    """Labels (y, x) from 1 at pixels start + step * index."""

    labels: NDArray[np.uint8]
    start: float
    step: float
    seconds: float | None = None

    def truth(self, case: Case) -> NDArray[np.uint8]:
        """Return the true regions at the nodes."""
        return case.truth[np.ix_(*(self._nodes(n) for n in self.labels.shape))]

    def full(self, case: Case) -> NDArray[np.uint8]:
        """Return the labels of the nearest nodes at every pixel."""
        nearest = (
            np.clip(np.rint((np.arange(n) - self.start) / self.step).astype(int), 0, m - 1)
            for n, m in zip(case.truth.shape, self.labels.shape, strict=True)
        )
        return self.labels[np.ix_(*nearest)]

    def _nodes(self, count: int) -> NDArray[np.intp]:
        return np.rint(self.start + self.step * np.arange(count)).astype(int)


def windows(case: Case) -> tuple[Real, float]:
    """Return windows (y, x, channel, window, window) around nodes, and where the first one is."""
    image = np.asarray(case.data, np.float32)
    image = image[None] if image.ndim == 2 else image
    size, half = case.window, case.window // 2
    padded = np.pad(image, ((0, 0), (half, half), (half, half)), mode="reflect")
    start = case.stride // 2
    view = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (1, 2))
    view = view[:, start : image.shape[1] : case.stride, start : image.shape[2] : case.stride]
    return np.moveaxis(view, 0, 2), float(start)


def raw(case: Case) -> tuple[Real, float]:
    """Describe points by all values of their window, their spectrum or their pattern."""
    if case.kind in ("spectra", "diffraction"):
        return np.asarray(case.data, np.float32).reshape(*case.data.shape[:2], -1), 0.0
    found, start = windows(case)
    # Channels of one range each: with their own units the phase drowns the others.
    axes = (0, 1, 3, 4)
    low, high = found.min(axes, keepdims=True), found.max(axes, keepdims=True)
    return ((found - low) / (high - low)).reshape(*found.shape[:2], -1), start


def fourier(case: Case) -> tuple[Real, float]:
    """Describe points by log(1 + |FFT|) of their window after a Hann taper."""
    found, start = windows(case)
    taper = np.hanning(case.window + 2)[1:-1].astype(np.float32)
    flat = (found - found.mean((-2, -1), keepdims=True)) * taper * taper[:, None]
    power = np.log1p(np.abs(np.fft.rfft2(flat)))
    return power.reshape(*power.shape[:2], -1).astype(np.float32), start


def poisson_smoothed(case: Case) -> tuple[Real, float]:
    """Spectra over their noise (square roots of mean spectrum and mean total), blurred."""
    counts = np.asarray(case.data, np.float32)
    total, mean = counts.sum(-1, keepdims=True), counts.mean((0, 1))
    scaled = counts / np.sqrt(np.maximum(total / total.mean(), 1e-3)) / np.sqrt(mean + 1e-6)
    return scipy.ndimage.gaussian_filter(scaled, (1.5, 1.5, 0)), 0.0


Describe = Callable[[Case], tuple[Real, float]]


def pca(values: Real, seed: int, parts: int = 8) -> Real:
    return PCA(min(parts, *values.shape), random_state=seed).fit_transform(values)


def nmf(values: Real, seed: int, parts: int = 8) -> Real:
    model = NMF(parts, init="nndsvda", random_state=seed, max_iter=200)
    return model.fit_transform(values - min(values.min(), 0))


def k_means(values: Real, regions: int, seed: int) -> NDArray[np.intp]:
    return KMeans(regions, n_init=10, random_state=seed).fit_predict(values)


def gaussian_mixture(values: Real, regions: int, seed: int) -> NDArray[np.intp]:
    model = GaussianMixture(regions, n_init=3, reg_covar=1e-5, random_state=seed)
    return model.fit_predict(values.astype(float))


def clustered(
    case: Case,
    seed: int,
    describe: Describe,
    reduce: Callable[[Real, int], Real],
    cluster: Callable[[Real, int, int], NDArray[np.intp]],
) -> Grid:
    """Describe every point by itself, reduce, cluster."""
    values, start = describe(case)
    flat = reduce(values.reshape(-1, values.shape[-1]), seed)
    labels = cluster(flat, case.regions, seed).reshape(values.shape[:2])
    return Grid((labels + 1).astype(np.uint8), start, case.stride)


def uncoupled(case: Case, seed: int, cluster: Callable[[Real, int, int], NDArray[np.intp]]) -> Grid:
    """Cluster the descriptors of our maps point by point: what they find without wall lengths."""
    from napari_physgen.regions import RegionSettings
    from napari_physgen.regions.describe import describe
    from napari_physgen.regions.scan import read_scan

    settings = RegionSettings(
        kind=case.kind,
        channels=case.channels,
        ignore_rotation=case.ignore_rotation,
        regions=case.regions,
    )
    features = describe(read_scan(case.data, settings), settings)
    labels = np.zeros(features.shape, np.uint8)
    labels[features.valid] = cluster(features.values[:, features.valid].T, case.regions, seed) + 1
    return Grid(labels, features.start[0], features.step[0])


def oracle(case: Case, seed: int) -> Grid:
    """Assign every spectrum by the true mean spectra: the most that any single pixel tells."""
    del seed
    counts = np.asarray(case.data, float)
    kinds = np.unique(case.truth)
    means = np.stack([counts[case.truth == k].sum(0) + 0.5 for k in kinds])
    scores = counts @ np.log(means / means.sum(1, keepdims=True)).T
    return Grid((scores.argmax(-1) + 1).astype(np.uint8), 0.0, 1)


def pyroved(case: Case, seed: int, python: Path, model: str) -> Grid:
    """Latent variables of a VAE on windows sampled at 12 x 12, and a Gaussian mixture."""
    values, start = raw(case) if case.kind == "spectra" else _sampled(case)
    script = Path(__file__).with_name("_region_pyroved.py")
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "windows.npy", Path(folder) / "latent.npz"
        flat = values.reshape(-1, *values.shape[2:])
        flat = (flat - flat.min()) / np.ptp(flat)
        np.save(given, flat.astype(np.float32))
        call = [python, script, given, made, "--model", model, "--seed", str(seed)]
        subprocess.run([str(part) for part in call], check=True)
        with np.load(made) as arrays:
            latent, seconds = arrays["latent"], float(arrays["seconds"])
    labels = gaussian_mixture(latent, case.regions, seed).reshape(values.shape[:2])
    return Grid((labels + 1).astype(np.uint8), start, case.stride, seconds)


def _sampled(case: Case, size: int = 12) -> tuple[Real, float]:
    """Return the first channel of the windows (y, x, size, size)."""
    found, start = windows(case)
    zoom = size / case.window
    return scipy.ndimage.zoom(found[:, :, 0], (1, 1, zoom, zoom), order=1), start


PEERS: dict[str, Callable[[Case, int], Grid]] = {
    "PCA + k-means": partial(clustered, describe=raw, reduce=pca, cluster=k_means),
    "PCA + GMM": partial(clustered, describe=raw, reduce=pca, cluster=gaussian_mixture),
    "NMF + k-means": partial(clustered, describe=raw, reduce=nmf, cluster=k_means),
    "FFT + PCA + k-means": partial(clustered, describe=fourier, reduce=pca, cluster=k_means),
    "FFT + PCA + GMM": partial(clustered, describe=fourier, reduce=pca, cluster=gaussian_mixture),
    "FFT + NMF4 + k-means": partial(
        clustered, describe=fourier, reduce=partial(nmf, parts=4), cluster=k_means
    ),
    "smoothed + PCA + GMM": partial(
        clustered, describe=poisson_smoothed, reduce=pca, cluster=gaussian_mixture
    ),
    "oracle spectra": oracle,
}
UNCOUPLED: dict[str, Callable[[Case, int], Grid]] = {
    "our descriptors + k-means": partial(uncoupled, cluster=k_means),
    "our descriptors + GMM": partial(uncoupled, cluster=gaussian_mixture),
}
_WINDOWED = ("PCA + k-means", "PCA + GMM", "NMF + k-means")
_FOURIER = ("FFT + PCA + k-means", "FFT + PCA + GMM", "FFT + NMF4 + k-means")
_SPECTRA = ("smoothed + PCA + GMM", "oracle spectra")


def fitting(case: Case) -> tuple[str, ...]:
    """Return the names of the peers that make sense for a case; none can find a single region."""
    if case.regions == 1:
        return ()
    if case.kind == "spectra":
        return _WINDOWED + _SPECTRA
    return _WINDOWED if case.kind == "diffraction" else _WINDOWED + _FOURIER
