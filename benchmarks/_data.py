"""The measured and published stacks of the SIM benchmark, each with its microscope."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.optimize
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import fourier_shift

from napari_physgen.physics.optics import Otf
from napari_physgen.sim import Patterns, SimSettings
from napari_physgen.sim.simulate import default_patterns, filaments, simulate

SIM = Path(__file__).parents[2] / "shared/data/sim"

GAIN, OFFSET, READ_NOISE = 2.46, 100, 1.5
"""Camera of the BioSR stacks: grey levels per electron, grey levels, grey levels."""


@dataclass(frozen=True)
class Case:
    """A raw stack with what is known about it.

    Parameters
    ----------
    raw : numpy.ndarray
        (frame, y, x), angle slowest.
    settings : SimSettings
    otf : Otf or None
        None: ideal, damping fitted.
    truth : numpy.ndarray or None
        (zoom * y, zoom * x).
    given : Patterns or None
        Known illumination.
    frames : numpy.ndarray or None
        The same as pictures (frame, zoom * y, zoom * x).
    offset : float
        Camera offset, for the Wiener columns.
    matched : bool
        Whether to compare at matched blur, since the truth is itself a filtered image.
    """

    raw: NDArray[np.generic]
    settings: SimSettings
    otf: Otf | None = None
    truth: NDArray[np.generic] | None = None
    given: Patterns | None = None
    frames: NDArray[np.float32] | None = field(default=None, repr=False)
    offset: float = 0.0
    matched: bool = False


def published(given: bool, stacks: int = 8) -> Iterator[Case]:
    """Simulated microtubules of Burns & Liu 2023: noisy frames, exact truth, zoom 4."""
    folder = SIM / "burns_pinn_simulated/SIM/microtubules"
    # The OTF of their PSF ends at 0.367 cycles per pixel; the pixel size itself is arbitrary.
    pixel, na = 65.0, 1.49
    cutoff = 1000 * 0.367 / pixel
    settings = SimSettings(na=na, wavelength_nm=2000 * na / cutoff, pixel_size_nm=pixel, zoom=4)
    otf = Otf.from_psf(_picture(folder / "psf.png"), pixel / 4000, cutoff)
    frames = np.stack([_picture(folder / f"patterns/{i}.png") for i in range(1, 10)]) / 255
    patterns = sinusoids(frames, settings) if given else None
    for i in range(1, stacks + 1):
        yield Case(
            tifffile.imread(folder / f"input_frames/{i}.tif"),
            settings,
            otf,
            _picture(folder / f"ground_truth/{i}.png"),
            patterns,
            frames.astype(np.float32) if given else None,
        )


def published_nonlinear(structure: str, stacks: int = 3) -> Iterator[Case]:
    """Simulated ER or F-actin of Burns & Liu 2023 in 25 saturated patterns, given, zoom 4."""
    return _published_frames(f"NL_SIM/{structure}", 25, 0.233, stacks)


def published_plasmonic(stacks: int = 3) -> Iterator[Case]:
    """Simulated microtubules of Burns & Liu 2023 in 24 near-field patterns, given, zoom 4."""
    return _published_frames("LPSIM/microtubules", 24, 0.165, stacks)


def _published_frames(name: str, count: int, cutoff: float, stacks: int) -> Iterator[Case]:
    """Frames in known light.

    `cutoff` (cycles per pixel) is where the OTF of their PSF first ends; it says where the frames
    hold noise alone. The OTF itself is that of the whole PSF image, ripples of its edge included,
    since the frames were made with it.
    """
    folder = SIM / "burns_pinn_simulated" / name
    pixel, na = 65.0, 1.49
    settings = SimSettings(
        na=na,
        wavelength_nm=2000 * na * pixel / (1000 * cutoff),
        pixel_size_nm=pixel,
        zoom=4,
        pattern="given",
        angles=1,
        phases=count,
    )
    frames = np.stack([_picture(folder / f"patterns/{i}.png") for i in range(1, count + 1)]) / 255
    otf = whole_otf(_picture(folder / "psf.png"), pixel / 4000)
    for i in range(1, stacks + 1):
        yield Case(
            tifffile.imread(folder / f"input_frames/{i}.tif"),
            settings,
            otf,
            _picture(folder / f"ground_truth/{i}.png"),
            frames=frames.astype(np.float32),
        )


def whole_otf(psf: NDArray[np.generic], pixel_um: float) -> Otf:
    """Return the OTF of a PSF image with its sign and without an end."""
    image = psf / psf.sum()
    size = 4 * max(image.shape)
    y, x = (image.sum(1 - axis) @ np.arange(n) for axis, n in enumerate(image.shape))
    f = np.fft.fftfreq(size)
    centred = np.fft.fft2(image, (size, size)) * np.exp(2j * np.pi * (f[:, None] * y + f * x))
    return Otf(0.75 / pixel_um, step=1 / (size * pixel_um), plane=np.fft.fftshift(centred.real))


def biosr(electrons: float | None = None, level: str = "09", seeds: int = 1) -> Iterator[Case]:
    """BioSR microtubules, one level, or level 09 thinned to fewer electrons per pixel."""
    folder = SIM / "biosr_mt_levels"
    raw = tifffile.imread(folder / f"BioSR_MT_cell001_level{level}_crop007_raw9.tif")
    settings = SimSettings(
        na=1.41, wavelength_nm=525, pixel_size_nm=62.6, excitation_na=1.35, excitation_nm=488
    )
    truth = registered(tifffile.imread(folder / "BioSR_MT_cell001_crop007_GTSIM.tif").squeeze())
    for seed in range(seeds):
        frames = raw if electrons is None else thinned(raw, electrons, seed)
        yield Case(frames, settings, measured_otf(settings), truth, offset=OFFSET, matched=True)


def registered(truth: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return the reference of BioSR on the grid of our results.

    It was made on the grid of a zero-padded Fourier transform, whose first pixel lies on that of
    the raw frames, from frames that were upside down: half a result pixel away from ours along y
    and x, in opposite directions. A search at the highest dose finds the same shift. Without it
    all methods lose, the sharpest ones most: Wiener 28.8 instead of 32.9 dB.
    """
    margin = 16
    wide = np.pad(truth.astype(float), margin, mode="reflect")
    moved = fourier_shift(np.fft.fft2(wide), (-0.5, 0.5))
    return np.fft.ifft2(moved).real[margin:-margin, margin:-margin]


def measured_otf(settings: SimSettings) -> Otf:
    """Radial OTF of the BioSR microscope at 488 nm, step 0.0312 1/um."""
    path = SIM / "tirf_rdl_microtubules/TIRF488_cam1_0_z30_OTF2d.mrc"
    profile = np.frombuffer(path.read_bytes()[-257 * 8 :], np.complex64)
    return Otf.measured(np.abs(profile), 0.0312, settings.cutoff)


def thinned(raw: NDArray[np.generic], electrons: float, seed: int = 0) -> NDArray[np.uint16]:
    """Return the stack as if recorded with fewer electrons per pixel (binomial thinning)."""
    rng = np.random.default_rng(seed)
    many = np.maximum(np.rint((raw.astype(float) - OFFSET) / GAIN), 0).astype(int)
    few = rng.binomial(many, min(electrons / many.mean(), 1))
    grey = OFFSET + GAIN * few + rng.normal(0, READ_NOISE, raw.shape)
    return np.clip(np.rint(grey), 0, 65535).astype(np.uint16)


def tirf() -> Iterator[Case]:
    """TIRF microtubules of Cao et al. 2018, without a truth."""
    path = SIM / "tirf_rzcao_microtubules/rzcao_TIRF_MT_raw9_APyx.tif"
    yield Case(tifffile.imread(path), SimSettings(na=1.49, wavelength_nm=660, pixel_size_nm=86.67))


def simulated(photons: float = 300) -> Iterator[Case]:
    """Filaments, 9 x 256 x 256 -> 512 x 512."""
    settings = SimSettings(na=1.4, wavelength_nm=525, pixel_size_nm=80)
    truth = filaments((512, 512), seed=1)
    raw = simulate(truth, settings, photons, seed=1)
    yield Case(raw, settings, truth=truth, given=default_patterns(settings, 1), offset=100)


def sinusoids(frames: NDArray[np.floating], settings: SimSettings) -> Patterns:
    """Return the sinusoids that illumination frames (frame, zoom * y, zoom * x) show."""
    pixel = settings.pixel_size_nm / 1000
    y, x = (((np.arange(n) + 0.5) / settings.zoom - 0.5) * pixel for n in frames.shape[1:])
    waves, phases, depths = [], [], []
    for frame in frames.astype(float):
        contrast = frame - frame.mean()

        def amplitude(k: NDArray[np.float64], contrast: NDArray[np.float64] = contrast) -> complex:
            wave_y, wave_x = (np.exp(-2j * np.pi * q * r) for q, r in zip(k, (y, x), strict=True))
            return complex(wave_y @ contrast @ wave_x)

        spectrum = np.abs(np.fft.fft2(contrast))
        spectrum[:, contrast.shape[1] // 2 :] = 0  # k_x >= 0
        peak = np.unravel_index(spectrum.argmax(), spectrum.shape)
        step = 1 / (np.array(contrast.shape) * pixel / settings.zoom)
        start = [np.fft.fftfreq(n, 1 / n)[p] * s for n, p, s in zip(contrast.shape, peak, step, strict=True)]  # fmt: skip # noqa: E501
        best = scipy.optimize.minimize(lambda k: -abs(amplitude(k)), start, method="Nelder-Mead")
        waves.append(best.x)
        phases.append(np.angle(amplitude(best.x)))
        depths.append(2 * abs(amplitude(best.x)) / contrast.size / frame.mean())
    by_angle = (settings.angles, settings.phases)
    return Patterns(
        wavevectors=np.reshape(waves, (*by_angle, 2)).mean(1),
        phases=np.reshape(phases, by_angle),
        modulation=np.reshape(depths, by_angle).mean(1),
        peak_ratio=np.full(settings.angles, np.inf),
        order="angle-phase",
        verdict="good",
        pixel_size_nm=settings.pixel_size_nm,
    )


def _picture(path: Path) -> NDArray[np.uint8]:
    from skimage.io import imread

    picture = np.asarray(imread(path))
    return picture if picture.ndim == 2 else picture[..., 0]
