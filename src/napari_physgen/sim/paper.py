"""The untrained network of Burns & Liu, Opt. Express 31, 8714 (2023), as a reference.

A U-Net (32, 64, 128, 256) maps the raw frames, enlarged to the grid of the result, to the object;
the object is imaged through the known patterns and compared with the enlarged frames by
1 - SSIM after one joint min-max normalisation. Adam, 1e-3, times 0.9 every 50 steps. As
published there is no noise model, no regulariser and no stop rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_physgen.backend import generator, resolve_precision
from napari_physgen.backend.fit import fit
from napari_physgen.networks.unet import UNet
from napari_physgen.sim.measurement import image_preview

if TYPE_CHECKING:
    from napari_physgen.backend import Job
    from napari_physgen.outputs import Output
    from napari_physgen.sim.forward import SimOperator
    from napari_physgen.sim.measurement import Measurement
    from napari_physgen.sim.settings import SimSettings

CHANNELS = (32, 64, 128, 256)
STEPS = 1000


def train_paper_network(
    operator: SimOperator, measurement: Measurement, settings: SimSettings
) -> Job[Tensor]:
    """Train the network from scratch on one stack (a job).

    Returns
    -------
    torch.Tensor
        The object on the fine canvas (y, x), scaled to the grey levels of the frames.
    """
    from monai.losses.ssim_loss import SSIMLoss

    operator.requires_grad_(False)
    canvas, device = operator.canvas, measurement.frames.device
    target = _normalised(_enlarged(measurement.frames, canvas.zoom))
    features = canvas.pad(target, canvas.zoom).flatten(0, 1)[None]
    features = features.contiguous(memory_format=torch.channels_last)
    weights = generator(settings.seed, "cpu", "weights", 0)
    net = UNet(features.shape[1], 1, CHANNELS, generator=weights)
    net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    dissimilarity = SSIMLoss(spatial_dims=2, data_range=1.0)

    def image(model: nn.Module) -> Tensor:
        # ReLU clipped at 1 as published, with the slope that keeps a dark start alive
        output: Tensor = functional.leaky_relu(model(features)[0, 0], 0.01).clamp(max=1)
        return output

    def loss(model: nn.Module, _: int) -> Tensor:
        predicted = _normalised(_enlarged(operator(image(model)), canvas.zoom))
        value: Tensor = dissimilarity(
            predicted.flatten(0, 1)[:, None], target.flatten(0, 1)[:, None]
        )
        return value

    def preview() -> list[Output]:
        with torch.no_grad():
            return image_preview(canvas.crop(image(net), canvas.zoom), canvas.zoom)

    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=50, gamma=0.9)
    yield from fit(
        net,
        loss,
        optimizer=optimizer,
        schedule=schedule,
        steps=settings.network_steps or STEPS,
        device=device,
        message="network of Burns & Liu",
        precision=resolve_precision(settings.precision, device),
        preview=preview,
    )
    with torch.no_grad():
        rho = image(net)
        # The loss knows no zero level: an object that is negative everywhere can be its minimum.
        rho = rho - rho.min().clamp(max=0)
        scale = measurement.frames.mean() / operator(rho).mean()
        scaled: Tensor = rho * scale
    return scaled


def _enlarged(frames: Tensor, zoom: int) -> Tensor:
    return functional.interpolate(frames, scale_factor=zoom, mode="bicubic")


def _normalised(frames: Tensor) -> Tensor:
    low, high = frames.min(), frames.max()
    return (frames - low) / (high - low)
