"""Variational autoencoder that takes pose out of windows: content, shift and angle as latents.

Kingma and Welling, ICLR 2014, with the spatial decoder of Bepler et al., NeurIPS 2019: the image
is a function of coordinates and content, and a window that is turned and shifted is the same
function on turned and shifted coordinates. Networks as in pyroVED (2 x 128 tanh), except that the
decoder's first layer is a sine, whose waves are what a lattice is made of (SIREN, Sitzmann et al.,
NeurIPS 2020).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

Likelihood = Literal["gaussian", "counts"]

HIDDEN = 128
WAVES = 8.0
NOISE_FLOOR = 0.05
"""Least learned noise, in standard deviations of the data: else it runs away to zero."""

_FIRST_LOG_SIGMA, _LEAST_LOG_SIGMA, _MOST_LOG_SIGMA = -2.0, -6.0, 2.0


class Terms(NamedTuple):
    """What one window contributes to the evidence bound, and where it lies.

    Parameters
    ----------
    misfit, divergence : torch.Tensor
        (window,) negative log-likelihood and Kullback-Leibler divergence from the prior, nats.
    mean : torch.Tensor
        (window, latent) posterior mean of the content; carries the gradient of the encoder.
    """

    misfit: Tensor
    divergence: Tensor
    mean: Tensor


class Latents(NamedTuple):
    """Posterior of windows: content (window, latent), shift (window, 2), angle (window,).

    `content` and `sigma` are mean and standard deviation; `shift` is in half windows (y, x),
    `angle` in rad, both 0 where the network has no such latent.
    """

    content: Tensor
    sigma: Tensor
    shift: Tensor
    angle: Tensor


@dataclass(frozen=True)
class Pose:
    """Which pose a window may have; 0 leaves it out.

    Parameters
    ----------
    shift : float
        Standard deviation of the prior of the shift, half windows. Half a lattice cell lets every
        phase of the lattice be one and the same window.
    angle : float
        Standard deviation of the prior of the angle, rad.
    """

    shift: float = 0.0
    angle: float = 0.0

    @property
    def scales(self) -> list[float]:
        """Prior standard deviations of the pose latents: shift y, shift x, angle."""
        return [self.shift] * 2 * (self.shift > 0) + [self.angle] * (self.angle > 0)


class SpatialDecoder(nn.Module):
    """Values at coordinates, given content: f(z, y, x).

    Parameters
    ----------
    latent, channels, hidden : int
    waves : float
        Standard deviation of the first wave vectors, rad per half window.
    generator : torch.Generator, optional
        Source of the first weights, on the CPU; a fixed one by default.
    """

    def __init__(
        self,
        latent: int,
        channels: int = 1,
        hidden: int = HIDDEN,
        *,
        waves: float = WAVES,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        draw = generator or torch.Generator().manual_seed(0)
        self.waves = nn.Parameter(waves * torch.randn(2, hidden, generator=draw))
        self.content = linear(latent, hidden, draw)
        self.inner = linear(hidden, hidden, draw)
        self.inner_content = linear(latent, hidden, draw)
        self.last = linear(hidden, channels, draw)

    def forward(self, z: Tensor, coordinates: Tensor) -> Tensor:
        """Return (batch, channel, point) for z (batch, latent), coordinates (batch, point, 2).

        Coordinates are (y, x) in half windows; (point, 2) are the same ones for all of the batch.
        """
        features = torch.sin(coordinates @ self.waves + self.content(z)[:, None])
        features = torch.tanh(self.inner(features) + self.inner_content(z)[:, None])
        values: Tensor = self.last(features)
        return values.transpose(-1, -2)


class PlainDecoder(nn.Module):
    """All values at once, given content: for spectra, and for windows without a pose."""

    def __init__(
        self, latent: int, values: int, hidden: int = HIDDEN, *, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            linear(latent, hidden, generator),
            nn.Tanh(),
            linear(hidden, hidden, generator),
            nn.Tanh(),
            linear(hidden, values, generator),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Return (batch, value) for z (batch, latent)."""
        values: Tensor = self.layers(z)
        return values


class PoseVAE(nn.Module):
    """Encoder and decoder of windows or spectra.

    All latents have a standard normal prior; the pose is a latent times its scale in `pose`.

    Parameters
    ----------
    shape : sequence of int
        Of one sample: (channel, y, x) or (channel,); windows are square, values about standard
        normal, counts not negative.
    latent : int
        Variables of the content.
    pose : Pose
        What the decoder may turn and shift; not for spectra.
    likelihood : {"gaussian", "counts"}
        Normal with a learned noise per channel, or Poisson with the measured total: the decoder
        gives the spectrum and how bright the sample is says nothing.
    hidden : int
        Width of the layers of the decoder; the encoder's are 128 wide.
    waves : float
        Scale of the first wave vectors of a spatial decoder, rad per half window; for a lattice
        pi * window / period.
    generator : torch.Generator, optional
        Source of the first weights, on the CPU; a fixed one by default.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 2,
        pose: Pose | None = None,
        *,
        likelihood: Likelihood = "gaussian",
        hidden: int = HIDDEN // 2,
        waves: float = WAVES,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        draw = generator or torch.Generator().manual_seed(0)
        self.shape, self.latent, self.likelihood = tuple(shape), latent, likelihood
        self.pose = pose or Pose()
        values, count = math.prod(shape), latent + len(self.pose.scales)
        widths = linear(HIDDEN, 2 * count, draw)
        self.encoder = nn.Sequential(
            nn.Flatten(),
            linear(values, HIDDEN, draw),
            nn.Tanh(),
            linear(HIDDEN, HIDDEN, draw),
            nn.Tanh(),
            widths,
        )
        # Draws as wide as the prior would hide from the decoder what the encoder finds.
        nn.init.constant_(widths.bias[count:], _FIRST_LOG_SIGMA)
        self.decoder: SpatialDecoder | PlainDecoder
        if self.pose.scales:
            self.decoder = SpatialDecoder(latent, shape[0], hidden, waves=waves, generator=draw)
        else:
            self.decoder = PlainDecoder(latent, values, hidden, generator=draw)
        self.log_noise = nn.Parameter(torch.zeros(shape[0] if likelihood == "gaussian" else 0))
        self.register_buffer("coordinates", grid(shape[-1]), persistent=False)
        self.coordinates: Tensor

    def forward(self, samples: Tensor, noise: Tensor, pixels: Tensor | None = None) -> Terms:
        """Return the terms of the evidence bound.

        Parameters
        ----------
        samples : torch.Tensor
            (window, *shape).
        noise : torch.Tensor
            (window, `variables`) standard normal numbers for the reparameterised draw.
        pixels : torch.Tensor, optional
            (window, point) flat indices into (y, x): the decoder is run there only, and the misfit
            scaled up to the whole window, which keeps it unbiased for pixels drawn at random.
        """
        mean, log_sigma = self.posterior(samples)
        drawn = mean + log_sigma.exp() * noise
        divergence = 0.5 * (mean**2 + (2 * log_sigma).exp() - 1 - 2 * log_sigma).sum(1)
        values = samples.flatten(2) if samples.ndim > 2 else samples[:, :, None]
        share = 1.0
        if pixels is not None:
            share = pixels.shape[1] / values.shape[-1]
            values = _at(values, pixels)
        misfit = self._misfit(values, self._decode(drawn, pixels)) / share
        return Terms(misfit, divergence, mean[:, : self.latent])

    @property
    def variables(self) -> int:
        """Latent variables of content and pose together."""
        return self.latent + len(self.pose.scales)

    @property
    def noise(self) -> Tensor:
        """Learned standard deviation of every channel."""
        return (NOISE_FLOOR**2 + (2 * self.log_noise).exp()).sqrt()

    def posterior(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation (window, variable) of all latents."""
        if self.likelihood == "counts":
            # Square roots of shares scatter alike at any level of the spectrum.
            samples = (samples / samples.sum(1, keepdim=True).clamp(min=1e-6)).sqrt()
            samples = samples * samples.shape[1] ** 0.5 - 1
        mean, log_sigma = self.encoder(samples).float().chunk(2, dim=1)
        return mean, log_sigma.clamp(_LEAST_LOG_SIGMA, _MOST_LOG_SIGMA)

    def encode(self, samples: Tensor) -> Latents:
        """Return the posterior in the units of the window."""
        mean, log_sigma = self.posterior(samples)
        shift, angle = self._split(mean)
        return Latents(mean[:, : self.latent], log_sigma[:, : self.latent].exp(), shift, angle)

    def decode(self, content: Tensor) -> Tensor:
        """Return upright samples (window, *shape); counts as shares of the total."""
        none = content.new_zeros(len(content), len(self.pose.scales))
        values = self._decode(torch.cat([content, none], 1), None)
        if self.likelihood == "counts":
            values = values.softmax(1)
        return values.reshape(len(content), *self.shape)

    def error(self, samples: Tensor) -> float:
        """Return the mean squared error at the posterior mean; of counts the misfit per count."""
        mean, _ = self.posterior(samples)
        decoded = self._decode(mean, None)
        values = samples.reshape(decoded.shape)
        if self.likelihood == "counts":
            return float(self._misfit(values, decoded).sum() / values.sum().clamp(min=1))
        return float((decoded - values).square().mean())

    def _split(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return shift (window, 2) and angle (window,) of (window, variable)."""
        pose = latents[:, self.latent :]
        shift, angle = pose.new_zeros(len(pose), 2), pose.new_zeros(len(pose))
        if self.pose.shift:
            shift = self.pose.shift * pose[:, :2]
        if self.pose.angle:
            angle = self.pose.angle * pose[:, -1]
        return shift, angle

    def _decode(self, latents: Tensor, pixels: Tensor | None) -> Tensor:
        """Return (window, channel, point) of all latents (window, variable)."""
        content = latents[:, : self.latent]
        if isinstance(self.decoder, SpatialDecoder):
            points = self.coordinates if pixels is None else self.coordinates[pixels]
            drawn: Tensor = self.decoder(content, posed(points, *self._split(latents)))
            return drawn
        values: Tensor = self.decoder(content)
        values = values.reshape(len(values), self.shape[0], -1)
        return values if pixels is None else _at(values, pixels)

    def _misfit(self, values: Tensor, decoded: Tensor) -> Tensor:
        """Return the negative log-likelihood (window,) of values (window, channel, point)."""
        decoded = decoded.float()
        if self.likelihood == "counts":
            shares = decoded.log_softmax(1)
            return -(values * shares).sum((1, 2))
        noise = self.noise[:, None]
        scaled = (values - decoded) / noise
        return (0.5 * scaled**2 + noise.log() + 0.5 * math.log(2 * math.pi)).sum((1, 2))


def _at(values: Tensor, pixels: Tensor) -> Tensor:
    """Return values (window, channel, point) at own points (window, chosen) of each window."""
    return values.gather(-1, pixels[:, None].expand(-1, values.shape[1], -1))


def grid(side: int) -> Tensor:
    """Return the pixel centres (side * side, 2) of a square window in half windows, (y, x)."""
    line = (torch.arange(side) + 0.5) * 2 / side - 1
    return torch.cartesian_prod(line, line).reshape(-1, 2)


def posed(coordinates: Tensor, shift: Tensor, angle: Tensor) -> Tensor:
    """Return where the points of turned, then shifted windows lie in the upright one.

    Parameters
    ----------
    coordinates : torch.Tensor
        (point, 2) or (window, point, 2), (y, x).
    shift, angle : torch.Tensor
        (window, 2) and (window,); a positive angle, rad, turns the picture from y towards x.

    Returns
    -------
    torch.Tensor
        (window, point, 2): R(-angle) (coordinates - shift).
    """
    y, x = (coordinates - shift[:, None]).unbind(-1)
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    return torch.stack([cos * y + sin * x, cos * x - sin * y], -1)


def linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """Return a layer with weights of variance 1 / inputs and no offset."""
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    nn.init.normal_(layer.weight, std=inputs**-0.5, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer
