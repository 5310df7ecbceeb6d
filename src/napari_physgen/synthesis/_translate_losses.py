"""Terms of the losses of unpaired translation, and the pool of earlier translations.

Least squares: Mao et al., ICCV 2017. Pool: Shrivastava et al., CVPR 2017. Contrast of patches
(InfoNCE): van den Oord et al. 2018, as in Park et al., ECCV 2020, eq. 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TEMPERATURE = 0.07


def least_squares(scores: Tensor, goal: float) -> Tensor:
    """Return the mean squared distance of a discriminator's scores from `goal`."""
    return (scores.float() - goal).square().mean()


def patch_contrast(queries: Tensor, keys: Tensor) -> Tensor:
    """Return how badly each query finds its own key among the keys of the same image.

    Parameters
    ----------
    queries, keys : torch.Tensor
        (batch, place, width), unit vectors; the keys are taken as they are (no gradient).

    Returns
    -------
    torch.Tensor
        Mean cross-entropy of the softmax over places at temperature 0.07; log(place) if all
        vectors are equal.
    """
    likeness = queries @ keys.detach().transpose(1, 2) / TEMPERATURE
    own = torch.arange(queries.shape[1], device=queries.device)
    return F.cross_entropy(likeness.flatten(0, 1), own.repeat(len(queries)))


def smoothed(image: Tensor) -> Tensor:
    """Return the mean over 5 x 5 pixels, without the borders."""
    return F.avg_pool2d(image, 5, 1)


class Pool:
    """Earlier translations: half of what a discriminator is shown comes from here.

    Parameters
    ----------
    size : int
        Images kept; 0: every image is handed on.
    draw : torch.Generator
        On the CPU.
    """

    def __init__(self, size: int, draw: torch.Generator) -> None:
        self._size = size
        self._draw = draw
        self._images: list[Tensor] = []

    def exchange(self, images: Tensor) -> Tensor:
        """Return each image, or with probability one half an earlier one in its place."""
        if self._size == 0:
            return images.detach()
        shown = []
        for image in images.detach():
            if len(self._images) < self._size:
                self._images.append(image)
                shown.append(image)
            elif torch.rand((), generator=self._draw) < 0.5:
                k = int(torch.randint(self._size, (), generator=self._draw))
                shown.append(self._images[k])
                self._images[k] = image
            else:
                shown.append(image)
        return torch.stack(shown)


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Let gradients pass through modules, not into their weights (which saves computing them)."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
