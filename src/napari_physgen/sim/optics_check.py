"""Whether frames can come from the microscope that file or settings describe.

Nothing passes beyond the cutoff 2 NA / wavelength, so structure seen there says that one of NA,
wavelength and pixel size is wrong. The contrary, frames that end early, has honest reasons
(few photons, a dull sample), and is only mentioned where the frames are bright.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from napari_physgen.physics.optics import frequencies

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

BEYOND = 1.06
"""Support above this multiple of the cutoff contradicts it."""

SHORT = 0.55
"""Support below this part of the cutoff is too little for bright frames."""

STANDS_OUT = 5.0
"""Standard errors by which a ring must exceed the noise to count as signal."""


def spectral_support(frames: ArrayLike, pixel_size_nm: float) -> tuple[float, float]:
    """Return up to which frequency frames hold more than noise.

    Parameters
    ----------
    frames : array
        (..., y, x), grey levels.
    pixel_size_nm : float

    Returns
    -------
    support : float
        1/um; the corner of the spectrum where signal fills all of it.
    contrast : float
        Power of the signal at a quarter of the support over that of the noise.
    """
    images = np.asarray(frames, float)
    images = images.reshape(-1, *images.shape[-2:])
    shape = (images.shape[1], images.shape[2])
    # The cosine transform continues the frames by reflection: no cross from their edges.
    power = np.mean(scipy.fft.dctn(images, axes=(1, 2), norm="ortho") ** 2, axis=0)
    pixel = pixel_size_nm / 1000
    k = np.hypot(*np.ix_(*(np.arange(n) / (2 * n * pixel) for n in shape)))
    step = 1 / (min(shape) * pixel)
    ring = np.rint(k / step).astype(int).ravel()
    count = np.bincount(ring)
    mean = np.bincount(ring, power.ravel()) / np.maximum(count, 1)
    # Noise is white; the corners see signal last.
    outer = np.arange(mean.size) * step >= 0.9 * float(np.abs(frequencies(shape, pixel)[0]).max())
    noise = float(np.median(mean[outer & (count > 20)]))
    error = noise * np.sqrt(2 / np.maximum(count, 1) / len(images))
    signal = mean > noise + STANDS_OUT * error
    # Up to where two rings of three are signal; a lone one beyond is chance or a bad pixel row.
    steady = np.convolve(signal, np.ones(3), "same") >= 2
    last = int(np.flatnonzero(steady)[-1]) if steady.any() else 0
    quarter = max(last // 4, 1)
    return last * step, float(max(mean[quarter] / max(noise, 1e-300) - 1, 0.0))


def doubts(
    frames: ArrayLike, na: float, wavelength_nm: float, pixel_size_nm: float
) -> tuple[str, ...]:
    """Say where frames contradict NA, emission wavelength and pixel size, one sentence each.

    Parameters
    ----------
    frames : array
        (..., y, x), raw, as the camera gave them.
    na, wavelength_nm, pixel_size_nm : float
        From the file or from the settings.
    """
    cutoff, nyquist = 2000 * na / wavelength_nm, 500 / pixel_size_nm
    if nyquist < BEYOND * cutoff:
        return ()  # no room beyond the cutoff in which anything could be seen
    support, contrast = spectral_support(frames, pixel_size_nm)
    told = f"NA {na:g}, {wavelength_nm:g} nm and pixels of {pixel_size_nm:.4g} nm"
    if support > BEYOND * cutoff:
        return (
            f"The frames hold detail down to {1000 / support:.0f} nm, but {told} end at "
            f"{1000 / cutoff:.0f} nm: one of the three is wrong, or the frames were processed.",
        )
    if support < SHORT * cutoff and contrast > 1000:
        return (
            f"The frames hold no detail below {1000 / max(support, 1e-9):.0f} nm, although they "
            f"are bright and {told} reach {1000 / cutoff:.0f} nm: check the three and the focus.",
        )
    return ()
