"""One measurement, one prior: posterior mean and spread, by one evaluation or by samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from napari_physgen.backend import generator
from napari_physgen.backend.job import Stopped
from napari_physgen.generative.correlated import correlating
from napari_physgen.generative.denoiser import Estimate
from napari_physgen.generative.lessons import STRENGTHS
from napari_physgen.generative.posterior import posterior
from napari_physgen.generative.samplers import integrate, start
from napari_physgen.generative.schedule import karras

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.generative.denoiser import Denoiser
    from napari_physgen.generative.model import GenerativeModel
    from napari_physgen.generative.samplers import State
    from napari_physgen.generative.scale import Scale
    from napari_physgen.generative.tasks import Setup
    from napari_physgen.physics.noise import Camera

    Real = NDArray[np.float32]

_VERSIONS = 6  # of an image with more noise
_LOWEST = 0.01
"""Last level above 0: half a percent of the range of the images is never seen."""
_FIRST = 5.0
"""First level where data say where to begin, in standard deviations of the images."""


class Solution(NamedTuple):
    """Mean, spread and samples (sample, [z,] y, x) in grey levels."""

    mean: Real
    std: Real
    samples: Real
    calibrated: bool


@dataclass(frozen=True)
class Problem:
    """What was measured, with what, and what is known beforehand.

    Parameters
    ----------
    model : GenerativeModel
    denoiser : Denoiser
        Of the model, on the device where to compute.
    scale : Scale
        Between grey levels and the model's units.
    setup : Setup
    camera : Camera
    noise_factor : float
        On the standard deviation of the noise.
    device : torch.device
    """

    model: GenerativeModel
    denoiser: Denoiser
    scale: Scale
    setup: Setup
    camera: Camera
    noise_factor: float
    device: torch.device

    @property
    def level(self) -> float:
        """Noise level of data that are images, in the model's units."""
        return self.noise_factor * self.scale.level(self.camera, self.setup.data)

    def direct(self, seed: int) -> Solution:
        """Return mean and standard deviation without sampling.

        The noisy image is the state at its own noise level; a prior of pairs is asked at infinite
        noise, given the noisy partner; one of noisy images saw none as clean as this one, so that
        it is asked for a few noisier versions.
        """
        with torch.inference_mode():
            if self.model.condition_scale is not None:
                cond = self._tensor(self.model.condition_scale(self.setup.data))
                estimate = self.denoiser(torch.zeros_like(cond), float("inf"), cond)
            else:
                x = self._tensor(self.scale(self.setup.data, self.camera.gain))
                noisy = self.model.learned == "noisy"
                estimate = self._recorrupted(x, seed) if noisy else self.denoiser(x, self.level)
        assert estimate.std is not None
        mean, std = self.scale.inverse(self._array(estimate.mean), self._array(estimate.std))
        return Solution(mean, std, np.empty((0, *mean.shape), np.float32), calibrated=True)

    def _recorrupted(self, x: Tensor, seed: int) -> Estimate:
        """Return the mean over versions of a noisy image with more noise (Pang et al. 2021)."""
        rng = generator(seed, "cpu", "recorruption")
        alpha = math.sqrt(math.prod(STRENGTHS))
        correlate = correlating(self.model.noise_correlation)
        spread = self._tensor(self.scale.spread(self.camera, self.setup.data)) * self.noise_factor
        means, variances = [], []
        for _ in range(_VERSIONS):
            n = correlate(torch.randn(x.shape, generator=rng)).to(x)
            noisier = x + alpha * spread * n
            estimate = self.denoiser(noisier, self.level * math.sqrt(1 + alpha**2))
            assert estimate.std is not None
            means.append(estimate.mean)
            variances.append(estimate.std**2)
        return Estimate(torch.stack(means).mean(0), torch.stack(variances).mean(0).sqrt())

    def sampled(
        self, method: str, count: int, steps: int, seed: int, watch: Callable[[int, State], None]
    ) -> Solution:
        """Return mean and spread of samples.

        The spread is that of the true image around the mean of so few samples: their variance
        times 1 + 1 / count. Where the setup says that sampling has a last level, mean and variance
        are those of x0 given x there, by the laws of total expectation and total variance,

            mean = E[D_y(x)],    variance = E[v(x)] (prior's own, an upper bound) + Var[D_y(x)].

        Parameters
        ----------
        method : str
            Of `posterior`; "pairs" follows a prior of pairs.
        count, steps : int
        seed : int
        watch : callable
            Called with the number of the sample and the sampler's state. Where it, or the
            denoiser, raises `Stopped`, the samples so far are the result, or the estimate so far
            of the first one, whose spread nobody knows yet.
        """
        process = self.model.process
        first, made = process.sigma_max, None
        denoiser, rule, cond, calibrated = self.denoiser, None, None, True
        if method == "pairs":
            assert self.model.condition_scale is not None
            cond = self._tensor(self.model.condition_scale(self.setup.data))
            shape = cond.shape
        else:
            y = self._data()
            made = posterior(self.denoiser, self.setup.operator, y, self._variance, method)
            denoiser, rule, calibrated = made.denoiser, made.rule, made.calibrated
            shape = self.setup.operator.adjoint(y).shape
            if rule is None:
                first = min(first, _FIRST * self.model.sigma_data)
        sigmas = karras(steps, max(process.sigma_min, _LOWEST), first)
        last = self._last(sigmas) if rule is None else 0
        samples: list[Real] = []
        told: list[Estimate] = []
        latest: list[Tensor] = []

        def note(number: int, state: State) -> None:
            latest[:] = [state.estimate.mean]
            if state.index == last:
                x, sigma = state.x, state.sigma
                told.append(Estimate(denoiser(x, sigma).mean, self.denoiser(x, sigma).std))
            watch(number, state)

        for index in range(count):
            rng = generator(seed, self.device, "samples", index)
            noise = start(process.noise, shape, 1.0, rng)
            try:
                with torch.no_grad():
                    if made is not None and rule is None:
                        x = made.start(noise, first)
                    else:
                        x = first * noise
                    final = integrate(
                        denoiser,
                        x,
                        sigmas,
                        heun=rule is None,
                        cond=cond,
                        generator=rng,
                        rule=rule,
                        callback=partial(note, index),
                    )
            except Stopped:
                if not (samples or latest):
                    raise
                samples = samples or [self.picture(latest[0])]
                break
            samples.append(self.picture(final))
        stack, count = np.stack(samples), len(samples)
        means, within = stack, np.zeros_like(stack[0])
        if last > 0 and len(told) >= count:
            means = np.stack([self.picture(estimate.mean) for estimate in told[:count]])
            within = np.mean([self._variance_of(estimate) for estimate in told[:count]], 0)
        between = means.var(0, ddof=1) if count > 1 else np.zeros_like(within)
        std = np.sqrt(within + between * np.float32(1 + 1 / count))
        return Solution(means.mean(0), std, stack, calibrated and count > 1)

    def _last(self, sigmas: Tensor) -> int:
        """Return the step that ends nearest to the setup's last level, 0 for none."""
        if self.setup.last == 0:
            return 0
        wanted = self.setup.last * self.model.sigma_data
        return int((sigmas[1:-1] / wanted).log().abs().argmin()) + 1

    def _variance_of(self, estimate: Estimate) -> Real:
        """Return the variance of an estimate (y, x) in grey levels squared."""
        assert estimate.std is not None
        array, std = self._array(estimate.mean), self._array(estimate.std)
        return self._within(self.scale.inverse(array, std)[1]) ** 2

    def picture(self, x: Tensor) -> Real:
        """Return an image of the prior in grey levels, within the field of the data."""
        return self._within(self.scale.grey(self._array(x)))

    def _within(self, array: Real) -> Real:
        """Return the part of an image of the prior that lies in the field of the data."""
        field = [self.setup.zoom * n for n in self.setup.data.shape[-2:]]
        rows, columns = (
            slice((n - wanted) // 2, (n - wanted) // 2 + wanted)
            for n, wanted in zip(array.shape[-2:], field, strict=True)
        )
        return array[..., rows, columns]

    def residual(self, x: Tensor | Real) -> Real:
        """Return (data - prediction) / noise for an image in grey levels."""
        image = torch.as_tensor(x, device=self.device)
        predicted = self._predicted(image)
        noise = np.sqrt(np.maximum(self.camera.variance(predicted), 1e-12)) * self.noise_factor
        return np.asarray((self.setup.data - predicted) / noise, np.float32)

    def _predicted(self, image: Tensor) -> Real:
        if self.setup.trivial:
            return image.cpu().numpy()
        like = self.setup.operator.adjoint(self._tensor(self.setup.data))
        canvas = like.new_zeros(like.shape)
        margins = [
            side
            for n, m in zip(reversed(like.shape[2:]), reversed(image.shape), strict=True)
            for side in ((n - m) // 2, n - m - (n - m) // 2)
        ]
        padded = torch.nn.functional.pad(image[None, None], margins, mode=_mode(image, margins))
        canvas.copy_(padded)
        return self._array(self.setup.operator(canvas))

    def _data(self) -> Tensor:
        """Return the data in the model's units: A x0 for images x0 in these units, with noise."""
        if self.scale.domain != "linear":
            return self._tensor(self.scale(self.setup.data, self.camera.gain))
        return (self._tensor(self.setup.data) - self._zero()) / self.scale.unit

    def _zero(self) -> Tensor:
        """Return the data of an image that is 0 in the model's units, grey levels."""
        like = self.setup.operator.adjoint(self._tensor(self.setup.data))
        return self.setup.operator(torch.full_like(like, self.scale.unit + self.scale.low))

    @property
    def _variance(self) -> Callable[[Tensor], Tensor]:
        """Return the noise variance of data without noise, both in the model's units."""
        if self.scale.domain != "linear":
            level = self.level
            return lambda predicted: torch.full_like(predicted, level**2)
        camera, unit, zero, factor = self.camera, self.scale.unit, self._zero(), self.noise_factor

        def variance(predicted: Tensor) -> Tensor:
            light = (predicted * unit + zero - camera.offset).clamp_min(0)
            return (camera.gain * light + camera.read_noise**2) * (factor / unit) ** 2

        return variance

    def _tensor(self, array: Real) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32))[None, None].to(self.device)

    def _array(self, tensor: Tensor) -> Real:
        return np.asarray(tensor.detach().float().cpu().numpy()[0, 0])


def _mode(image: Tensor, margins: list[int]) -> str:
    if image.ndim != 2:
        return "replicate"
    return "reflect" if max(margins) < min(image.shape) else "replicate"
