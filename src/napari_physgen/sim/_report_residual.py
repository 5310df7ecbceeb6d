"""What the image leaves unexplained, and what that says about the cause.

The image is imaged again by the forward model and compared with every frame, in units of the
noise. What is wrong in all frames alike is due to the OTF or the image itself; what differs between
the angles, to motion or uneven light; what changes with the phase, to the pattern.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from napari_physgen.metrics.residual import whiteness
from napari_physgen.sim._report_check import Check, Scale, advised, worst
from napari_physgen.sim.case import UNEXPLAINED
from napari_physgen.sim.forward import KNOT_SPACING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.metrics.residual import Whiteness
    from napari_physgen.sim.case import Case
    from napari_physgen.sim.results import Reconstruction

    Real = NDArray[np.float64]
    Frames = NDArray[np.float32]

MISFIT = Scale(1.15, UNEXPLAINED)
CORRELATION = Scale(0.1, 0.2)
"""0.06 to 0.07 on right reconstructions of simulated filaments at 150 photons, 0.14 to 0.35 with
wrong OTFs, phases, periods and modulations."""

TOO_CLOSE = 0.85
"""Held-out misfit below which the noise is weaker than assumed."""

BORDER = 8
"""Raw px along the edges that are left out: light from outside the field is not in the image."""

CAUSES = {
    "common": "It is alike in all frames: a wrong OTF (NA, wavelength, pixel size), or an image "
    "that is smoother than the sample",
    "angle": "It differs between the angles: the sample moved or changed between them, or their "
    "light is uneven",
    "phase": "It changes with the phase of the pattern: wrong phases, period or modulation, or "
    "motion during one angle",
}


def leftover(case: Case, result: Reconstruction, shift: Real | None) -> Frames:
    """Return measured minus predicted frames over the noise (angle, phase, y, x).

    The smooth gain of each angle and the brightness of each frame are fitted again; the border is
    cut off.

    Parameters
    ----------
    case : Case
    result : Reconstruction
    shift : numpy.ndarray or None
        (angle, 2), where the angles lie relative to their mean, raw px.
    """
    operator = case.operator(torch.device("cpu"))
    canvas = operator.canvas
    with torch.no_grad():
        if shift is not None:
            operator.shift.copy_(torch.as_tensor(-shift, dtype=torch.float32))
        image = torch.from_numpy(np.ascontiguousarray(result.image))
        predicted = operator(canvas.pad(image, canvas.zoom)).reshape(case.frames.shape).numpy()
    variance = case.camera.variance(gaussian_filter(case.frames, (0, 0, 1.5, 1.5)))
    signal, weight = case.signal, 1 / variance
    for width in (0.0, KNOT_SPACING):
        predicted = predicted * _ratio(signal, predicted, weight, width)
    rest = (signal - predicted) * np.sqrt(weight)
    return np.asarray(rest[..., BORDER:-BORDER, BORDER:-BORDER], np.float32)


def _ratio(signal: Frames, predicted: Real, weight: Real, width: float) -> Real:
    """Return the best factor: of each frame (width 0), else of each angle, smooth."""
    products = weight * signal * predicted, weight * predicted**2
    if width == 0:
        top, bottom = (p.sum((2, 3), keepdims=True) for p in products)
    else:
        top, bottom = (
            gaussian_filter(p.sum(1, keepdims=True), (0, 0, width, width)) for p in products
        )
    return np.asarray(top / np.maximum(bottom, np.finfo(np.float32).tiny))


def parts(rest: Frames) -> dict[str, float]:
    """Return by how much each part raises the mean square above 1: they add up to its excess.

    What all frames share, what the frames of an angle share besides, and what changes with the
    phase.
    """
    angles, phases = rest.shape[:2]
    common = rest.mean((0, 1))
    own = rest.mean(1) - common
    others = rest - rest.mean(1, keepdims=True)
    count = angles * phases
    # Of noise, each part gets a share of its degrees of freedom.
    return {
        "common": float(np.mean(common**2)) - 1 / count,
        "angle": float(np.mean(own**2)) - (angles - 1) / count,
        "phase": float(np.mean(others**2)) - (phases - 1) / phases,
    }


def judge_residual(rest: Frames) -> tuple[Check, Whiteness]:
    """Judge whether structure is left over, and where it comes from."""
    white = whiteness(rest.reshape(-1, *rest.shape[2:]))
    lags = white.autocorrelation.shape[0] // 2
    near = white.autocorrelation[[lags + 1, lags], [lags, lags + 1]]
    value = float(near.max())
    verdict = CORRELATION.verdict(value)
    shares = parts(rest)
    cause = max(shares, key=lambda name: shares[name])
    words = (
        f"Neighbours in what is left over are correlated by {value:.2f} "
        f"(mean square {white.mean_chi2:.2f})."
    )
    if verdict != "good":
        share = 100 * shares[cause] / max(sum(s for s in shares.values() if s > 0), 1e-12)
        words = f"{words} {CAUSES[cause]} ({share:.0f} % of what is more than noise)."
    check = Check(
        "residual",
        value,
        "",
        verdict,
        words,
        advised(
            verdict,
            "Look where the residual map is bright. Fix the cause named here and reconstruct "
            "again before trusting detail there.",
        ),
        CORRELATION.words,
        after=True,
    )
    return check, white


def misfit(result: Reconstruction) -> Check:
    """Judge the held-out chi2; a filtered image does not try to explain the frames."""
    value = result.chi2
    if result.stage in ("wiener", "paper"):
        return Check(
            "held-out misfit",
            value,
            "",
            "unknown",
            f"A {result.stage} image is not made to explain the grey levels (misfit {value:.2f}).",
            "Choose the method 'variational' to test whether the model explains the frames.",
            MISFIT.words,
            after=True,
        )
    verdict = MISFIT.verdict(value)
    words = f"Camera pixels that the fit did not see are explained to {value:.3f} (1 = noise)."
    advice = (
        "Something is not in the model: see the checks of motion, OTF, patterns and residual for "
        "which."
    )
    if value < TOO_CLOSE:
        verdict = worst([verdict, "fair"])
        words = f"{words} That is less than noise."
        advice = "The noise was overestimated or filtered: give the camera gain and raw frames."
    return Check(
        "held-out misfit",
        value,
        "",
        verdict,
        words,
        advised(verdict, advice),
        MISFIT.words,
        after=True,
    )
