"""What others do to restore noisy micrographs, each at its best: parameters chosen by the truth of
training images, never by that of the images they are scored on.

python benchmarks/_restoration_peers.py --table [--bm3d PYTHON] [--n2v SECONDS]

prints what peers alone reach. PYTHON is one that has the package bm3d.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage
from _restoration_n2v import noise2void
from _restoration_sets import (
    DOSES,
    Image,
    Pair,
    Photograph,
    photographed,
    real_pairs,
    simulated,
    simulated_micrographs,
)
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

from napari_physgen.metrics.image import compare
from napari_physgen.physics.noise_level import NoiseLevel
from napari_physgen.physics.stabilise import stabilise, unstabilise

__all__ = [
    "PEERS",
    "Pair",
    "Photograph",
    "bm3d",
    "gaussian",
    "noise2void",
    "nonlocal_means",
    "photographed",
    "real_pairs",
    "score",
    "simulated",
    "simulated_micrographs",
    "total_variation",
    "tuned",
]


def _in_noise(
    noisy: Image, noise: NoiseLevel, stabilised: bool, denoise: Callable[[Image], Image]
) -> Image:
    """Denoise in units of the noise: stabilised, or of its mean."""
    camera = noise.camera
    if stabilised:
        return unstabilise(denoise(stabilise(noisy, camera)), camera)
    mean = float(np.sqrt(camera.variance(noisy).mean()))
    return mean * denoise(noisy / mean)


def gaussian(noisy: Image, noise: NoiseLevel, sigma: float) -> Image:
    """Blur."""
    del noise
    return scipy.ndimage.gaussian_filter(noisy, sigma)


def total_variation(noisy: Image, noise: NoiseLevel, weight: float, stabilised: bool) -> Image:
    """Total variation (Rudin, Osher & Fatemi 1992, by Chambolle 2004)."""
    denoise = partial(denoise_tv_chambolle, weight=weight, eps=1e-5, max_num_iter=300)
    return _in_noise(noisy, noise, stabilised, denoise)


def nonlocal_means(noisy: Image, noise: NoiseLevel, strength: float, stabilised: bool) -> Image:
    """Non-local means (Buades, Coll & Morel 2005), patches of 7 in windows of 21 pixels."""
    denoise = partial(denoise_nl_means, patch_size=7, patch_distance=10, h=strength, sigma=1.0)
    return _in_noise(noisy, noise, stabilised, denoise)


def bm3d(noisy: Image, noise: NoiseLevel, sigma: float, stabilised: bool, *, python: Path) -> Image:
    """BM3D (Dabov et al. 2007; package bm3d of its authors) with `sigma` times the noise."""
    script = Path(__file__).with_name("_restoration_bm3d.py")

    def denoise(image: Image) -> Image:
        with tempfile.TemporaryDirectory() as folder:
            given, made = Path(folder) / "image.npz", Path(folder) / "found.npz"
            np.savez(given, image=image, sigma=sigma)
            subprocess.run([str(python), str(script), str(given), str(made)], check=True)
            with np.load(made) as arrays:
                return np.asarray(arrays["image"], float)

    return _in_noise(noisy, noise, stabilised, denoise)


Peer = Callable[..., Image]
Grid = Mapping[str, Sequence[Any]]
_BOTH = (True, False)
PEERS: dict[str, tuple[Peer, Grid]] = {
    "Gaussian": (gaussian, {"sigma": (0.5, 0.7, 1.0, 1.4, 2.0, 2.8)}),
    "TV": (
        total_variation,
        {"weight": (0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0), "stabilised": _BOTH},
    ),
    "NLM": (nonlocal_means, {"strength": (0.3, 0.45, 0.6, 0.8, 1.0, 1.3), "stabilised": _BOTH}),
    "BM3D": (bm3d, {"sigma": (0.85, 1.0, 1.2, 1.5), "stabilised": _BOTH}),
}


def score(image: Image, photograph: Photograph) -> float:
    """Return the PSNR after an affine fit, dB."""
    return compare(image, photograph.clean, data_range=photograph.data_range).psnr


@dataclass(frozen=True)
class Tuned:
    """A peer with the parameters that were best on training photographs."""

    peer: Peer
    parameters: Mapping[str, Any]

    def __call__(self, photograph: Photograph) -> Image:
        return self.peer(photograph.noisy, photograph.noise, **self.parameters)


def tuned(peer: Peer, grid: Grid, train: Iterable[Photograph]) -> Tuned:
    """Choose parameters by the mean PSNR of training photographs."""
    photographs = list(train)
    choices = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]

    def mean_score(choice: Mapping[str, Any]) -> float:
        return float(np.mean([score(Tuned(peer, choice)(one), one) for one in photographs]))

    return Tuned(peer, max(choices, key=mean_score))


def available(python: Path | None) -> dict[str, tuple[Peer, Grid]]:
    """Return the peers that can run here: BM3D with a Python that has it."""
    peers = {name: made for name, made in PEERS.items() if name != "BM3D"}
    if python is not None:
        peers["BM3D"] = (partial(bm3d, python=python), PEERS["BM3D"][1])
    return peers


def _processor() -> float:
    """Return the processor time of this program and of those it has run, s."""
    return sum(os.times()[:4])


def measured(
    peers: Mapping[str, tuple[Peer, Grid]],
    train: Sequence[Photograph],
    test: Sequence[Photograph],
    n2v_seconds: float,
) -> Iterable[str]:
    """Yield table cells by peer: PSNR, processor seconds per image, parameters."""
    yield f"noisy: {np.mean([score(one.noisy, one) for one in test]):.2f} dB"
    for name, (peer, grid) in peers.items():
        best = tuned(peer, grid, train)
        began = _processor()
        psnr = np.mean([score(best(one), one) for one in test])
        seconds = (_processor() - began) / len(test)
        yield f"{name}: {psnr:.2f} dB, {seconds:.1f} s, {dict(best.parameters)}"
    correlated = any(one.noise.correlation[1] for one in test)
    ways = (0, 1) if correlated else (0,)
    for along_x in ways if n2v_seconds > 0 else ():
        found = noise2void([one.noisy for one in test], n2v_seconds, along_x=along_x)
        psnr = np.mean([score(image, one) for image, one in zip(found, test, strict=True)])
        name = "Noise2Void along x" if along_x else "Noise2Void"
        yield f"{name}: {psnr:.2f} dB, {n2v_seconds:.0f} s of training"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--bm3d", type=Path)
    parser.add_argument("--n2v", type=float, default=120.0, help="seconds of training, 0: without")
    parser.add_argument("--only", nargs="*", default=(), help="words of the names of sets")
    chosen = parser.parse_args()
    if not chosen.table:
        return
    sets = {pair.name: ([pair.train], [pair.test]) for pair in real_pairs()}
    sets |= {f"simulated, {dose:g} photons": dose for dose in DOSES}
    for name, images in sets.items():
        if chosen.only and not any(word in name for word in chosen.only):
            continue
        train, test = simulated(images) if isinstance(images, float) else images
        # Large enough to hold dark and bright parts, small enough for BM3D.
        size = 160 if isinstance(images, float) else 512
        train = [one.brightest(size) for one in train]
        for cell in measured(available(chosen.bm3d), train, test, chosen.n2v):
            print(f"{name} | {cell}", flush=True)


if __name__ == "__main__":
    main()
