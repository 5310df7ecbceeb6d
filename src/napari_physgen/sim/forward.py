"""The SIM forward model: object -> raw camera frames.

Frame p of orientation a, on native camera pixels,

    y_ap(r) = g_a(r) sum_b M_apb [h * (rho(. + d_a) I_ab)](r)

with the object rho on a grid `zoom` times finer, basis patterns I_ab, mixing weights M
(phases and modulation for sinusoids: I = 1, cos, sin, and cos, sin of each further wave),
detection PSF h, sub-pixel drift d of the sample and smooth gain g. Illumination given as frames is
its own basis, and M holds the brightness of each frame.

The canvas is wider than the camera's field, so nothing wraps around; the OTF cuts the
fine spectrum down to the camera's grid, which is exact since pixels obey Nyquist.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from typing import Any, Self

    from numpy.typing import NDArray

    from napari_physgen.physics.optics import Otf
    from napari_physgen.sim.results import Patterns


KNOT_SPACING = 4
"""Raw px between the control points of the gain maps: the angles of real stacks differ on a scale
of 0.5 um and up (held-out chi2 1.25 with 8 px, 1.19 with 4 px on a bright microtubule stack)."""


@dataclass(frozen=True)
class Canvas:
    """Where the camera's field lies on the padded grids.

    Parameters
    ----------
    field : (int, int)
        Raw frame size (y, x), px.
    size : (int, int)
        Padded size (y, x), raw px; even and with small prime factors.
    zoom : int
        Fine pixels per raw pixel.
    """

    field: tuple[int, int]
    size: tuple[int, int]
    zoom: int

    @classmethod
    def around(cls, field: tuple[int, int], zoom: int, margin: int) -> Canvas:
        """Return the smallest fast canvas with at least `margin` raw px on every side."""
        height, width = (2 * next_fast_len(-(-n // 2) + margin, real=True) for n in field)
        return cls(field, (height, width), zoom)

    @property
    def corner(self) -> tuple[int, int]:
        """Raw pixel of the canvas where the field begins."""
        return (self.size[0] - self.field[0]) // 2, (self.size[1] - self.field[1]) // 2

    @property
    def fine_size(self) -> tuple[int, int]:
        """Padded size on the fine grid (y, x)."""
        return self.size[0] * self.zoom, self.size[1] * self.zoom

    def crop(self, image: Tensor, zoom: int = 1) -> Tensor:
        """Cut the camera's field out of (..., y, x) on the raw (1) or fine (`zoom`) grid."""
        (y, x), (height, width) = self.corner, self.field
        return image[
            ..., y * zoom : (y + height) * zoom, x * zoom : (x + width) * zoom
        ].contiguous()

    def pad(self, image: Tensor, zoom: int = 1) -> Tensor:
        """Extend a field (..., y, x) to the canvas by repeating its border."""
        (y, x), (height, width) = self.corner, self.field
        bottom, right = self.size[0] - height - y, self.size[1] - width - x
        sides = tuple(n * zoom for n in (x, right, y, bottom))
        flat = image.reshape(-1, 1, *image.shape[-2:])
        padded = functional.pad(flat, sides, mode="replicate")
        return padded.reshape(*image.shape[:-2], *padded.shape[-2:])


class SimOperator(nn.Module):
    """Image an object through patterned illumination onto the camera.

    Learnable: `mixing` (phases, modulation, frame intensities), `shift` and `log_gain`;
    they start at the estimate, at 0 and at 0. Illumination given as frames has a learnable
    `background` too: light that the patterns do not modulate, or an error of the camera offset.
    A sinusoid's modulation and brightness take that up by themselves.

    Parameters
    ----------
    basis : torch.Tensor
        (angle, basis, y, x) patterns on the fine canvas.
    mixing : torch.Tensor
        (angle, phase, basis) weights, or (angle, phase, 1) brightness where each frame has its own
        pattern.
    otf : torch.Tensor
        (y, x // 2 + 1) detection OTF on the real-FFT grid of the raw canvas.
    canvas : Canvas
    wavevectors : torch.Tensor, optional
        (angle, wave, 2) of a basis (1, cos, sin, cos, sin, ...), cycles per raw px: lets `shift`
        move the object only.
    """

    basis: Tensor
    wavevectors: Tensor | None
    f_y: Tensor
    f_x: Tensor
    transfer: Tensor

    def __init__(
        self,
        basis: Tensor,
        mixing: Tensor,
        otf: Tensor,
        canvas: Canvas,
        wavevectors: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.canvas = canvas
        angles = mixing.shape[0]
        self.mixing = nn.Parameter(mixing)
        self.shift = nn.Parameter(torch.zeros(angles, 2))
        knots = [max(4, round(n / KNOT_SPACING)) for n in canvas.field]
        self.log_gain = nn.Parameter(torch.zeros(angles, 1, *knots))
        self.background = nn.Parameter(torch.zeros(1)) if wavevectors is None else None
        # The waves of all angles share the constant term: image it once.
        self.shared = wavevectors is not None
        self.register_buffer("basis", basis[:, 1:] if self.shared else basis, persistent=False)
        f_y = torch.fft.fftfreq(canvas.size[0])[:, None]
        f_x = torch.fft.rfftfreq(canvas.size[1])[None, :]
        self.register_buffer("wavevectors", wavevectors, persistent=False)
        self.register_buffer("f_y", f_y, persistent=False)
        self.register_buffer("f_x", f_x, persistent=False)
        # centre of fine pixel 0 is (1 / zoom - 1) / 2 raw px from the centre of raw pixel 0
        offset = (1 / canvas.zoom - 1) / 2
        align = torch.exp(-2j * math.pi * (f_y + f_x) * offset)
        self.register_buffer("transfer", otf * align / canvas.zoom**2, persistent=False)

    @classmethod
    def sinusoidal(cls, patterns: Patterns, otf: Otf, canvas: Canvas) -> Self:
        """Return the operator of estimated sinusoidal patterns."""
        pixel = patterns.pixel_size_nm / 1000
        y, x = (
            ((np.arange(n) + 0.5) / canvas.zoom - 0.5 - corner) * pixel
            for n, corner in zip(canvas.fine_size, canvas.corner, strict=True)
        )
        waves = patterns.waves
        basis = np.ones((len(patterns.phases), 1, y.size, x.size), np.float32)
        mixing = np.ones((*patterns.phases.shape, 1))
        for w in range(waves.modulation.shape[1]):
            k_y, k_x = waves.wavevectors[:, w, :, None, None].transpose(1, 0, 2, 3)
            carrier = 2 * np.pi * (k_y * y[:, None] + k_x * x)
            basis = np.concatenate([basis, np.stack([np.cos(carrier), np.sin(carrier)], 1)], 1)
            m, phi = waves.modulation[:, None, w], waves.phases[:, :, w]
            part = np.stack([m * np.cos(phi), -m * np.sin(phi)], -1)
            mixing = np.concatenate([mixing, part], -1)
        if patterns.intensities is not None:
            mixing = mixing * patterns.intensities[..., None]
        return cls(
            _tensor(basis),
            _tensor(mixing),
            transfer(otf, canvas, pixel),
            canvas,
            _tensor(waves.wavevectors * pixel),
        )

    @classmethod
    def given(
        cls,
        frames: NDArray[np.floating],
        angles: int,
        otf: Otf,
        canvas: Canvas,
        pixel_size_nm: float,
    ) -> SimOperator:
        """Return the operator of known illumination frames (frame, y, x) on the fine field."""
        count = len(frames)
        groups = angles if count % angles == 0 else 1
        basis = canvas.pad(_tensor(frames), canvas.zoom)
        basis = basis.reshape(groups, count // groups, *basis.shape[-2:])
        mixing = torch.ones(groups, count // groups, 1)
        return cls(basis, mixing, transfer(otf, canvas, pixel_size_nm / 1000), canvas)

    def forward(self, rho: Tensor) -> Tensor:
        """Return the frames (angle, phase, y, x) of an object on the fine canvas (y, x)."""
        bands = self._low_pass(rho * self.light())
        if self.shared:
            plain = self._low_pass(rho)[None, None].expand(len(bands), -1, -1, -1)
            bands = torch.cat([plain, bands], 1)
        d_y, d_x = self.shift[:, :1, None], self.shift[:, 1:, None]
        ramp = torch.exp(2j * math.pi * (self.f_y * d_y + self.f_x * d_x))
        fields = torch.fft.irfft2(bands * ramp[:, None], s=self.canvas.size)
        frames = torch.einsum("apb,abyx->apyx", self._weights(), self.canvas.crop(fields))
        frames = frames * self.gain()
        return frames if self.background is None else frames + self.background

    def light(self) -> Tensor:
        """Return the basis patterns (angle, basis, y, x) on the fine canvas."""
        return self.basis

    def unlikely(self) -> Tensor:
        """Return the negative log-prior of the light."""
        return self.mixing.new_zeros(())

    def gain(self) -> Tensor:
        """Return the smooth gain (angle, 1, y, x), geometric mean 1 over the angles."""
        free = self.log_gain - self.log_gain.mean(0, keepdim=True)
        smooth = functional.interpolate(
            free, size=self.canvas.field, mode="bicubic", align_corners=True
        )
        return smooth.exp()

    def set_log_gain(self, log_gain: Tensor) -> None:
        """Start from given gains: their logarithm (angle, 1, y, x) on the camera's field."""
        knots = self.log_gain.shape[-2:]
        coarse = functional.interpolate(log_gain, size=knots, mode="bilinear", align_corners=True)
        with torch.no_grad():
            self.log_gain.copy_(coarse)

    def free_patterns(self, free: bool) -> None:
        """Let fits change phases, modulation and frame intensities or not."""
        self.mixing.requires_grad_(free)

    def pattern_steps(self) -> list[dict[str, Any]]:
        """Return what a fit may change of the patterns, with its step size."""
        return [{"params": [self.mixing], "lr": 1e-3}]

    def figures(self) -> dict[str, float]:
        """Return what else the fit found out, by name."""
        return {} if self.background is None else {"background": float(self.background)}

    def mixed(self) -> Tensor:
        """Return the mixing weights (angle, phase, basis) where the sample has not moved."""
        return self.mixing

    def _weights(self) -> Tensor:
        """Return the mixing weights, turned so that a shift moves the object, not the pattern."""
        mixing = self.mixed()
        if self.wavevectors is None:
            return mixing * torch.eye(mixing.shape[1]).to(mixing)
        turn = 2 * math.pi * (self.wavevectors * self.shift[:, None]).sum(2)[:, None]
        constant, cosine, sine = mixing[..., :1], mixing[..., 1::2], mixing[..., 2::2]
        cos, sin = turn.cos(), turn.sin()
        turned = torch.stack([cos * cosine - sin * sine, sin * cosine + cos * sine], -1)
        return torch.cat([constant, turned.flatten(-2)], -1)

    def _low_pass(self, image: Tensor) -> Tensor:
        """Spectrum on the raw canvas of (..., y, x) on the fine one, through the OTF."""
        height, width = self.canvas.size
        spectrum = torch.fft.rfft2(image)[..., : width // 2 + 1]
        rows = torch.cat([spectrum[..., : height // 2, :], spectrum[..., -height // 2 :, :]], -2)
        return rows * self.transfer


def transfer(otf: Otf, canvas: Canvas, pixel_um: float) -> Tensor:
    """Return the OTF (y, x // 2 + 1) on the real-FFT grid of the raw canvas."""
    return _tensor(otf.on_grid(canvas.size, pixel_um, real=True))


def _tensor(array: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))
