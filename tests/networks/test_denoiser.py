"""The denoising network: unit sizes, any image size, tiles equal the whole."""

from __future__ import annotations

import pytest
import torch

from napari_physgen.generative import precondition
from napari_physgen.generative.network import NetworkDenoiser
from napari_physgen.generative.tiled import Tiled
from napari_physgen.networks.denoiser import DenoiserUNet


def network(dimensions=2, channels=(8, 16, 32), outputs=2):
    """Return a network with random weights everywhere, its zero gains too."""
    net = DenoiserUNet(1, outputs, channels, dimensions=dimensions)
    for name, parameter in net.named_parameters():
        if name.endswith("gain"):
            parameter.data.fill_(1.0)
    return net.eval()


@pytest.mark.parametrize(("dimensions", "shape"), [(2, (251, 300)), (3, (3, 150, 170))])
def test_tiles_equal_the_whole_image(dimensions, shape):
    """To 1e-5, in 2-D and 3-D, mean and standard deviation."""
    channels = (8, 16, 32) if dimensions == 2 else (4, 8)
    denoiser = NetworkDenoiser(network(dimensions, channels), precondition.EDM, 0.5, 80.0)
    x = torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole, tiled = denoiser(x, 0.3), Tiled(denoiser, 128 if dimensions == 2 else 96)(x, 0.3)
    assert float((whole.mean - tiled.mean).abs().max()) < 1e-5
    assert float((whole.std - tiled.std).abs().max()) < 1e-5
    assert float(whole.std.std()) > 0.01  # the network does something


def test_what_lies_beyond_the_halo_does_not_matter():
    net = network(channels=(4, 8, 8))
    x = torch.randn(1, 1, 200, 200, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[..., 100 + net.halo + 1 :] = 5.0
    with torch.inference_mode():
        before, after = (net(image, torch.zeros(1)) for image in (x, changed))
    assert torch.equal(before[..., :100], after[..., :100])


@pytest.mark.parametrize("size", [(5, 7), (16, 16), (33, 130)])
def test_images_may_have_any_size(size):
    with torch.inference_mode():
        assert network()(torch.randn(2, 1, *size), torch.zeros(2)).shape == (2, 2, *size)


def test_activations_keep_unit_size():
    """The point of magnitude preservation: outputs of unit size from inputs of unit size."""
    net = network(channels=(32, 64, 64))
    x = torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        output = net(x, torch.zeros(4))
    assert 0.5 < float(output.std()) < 2


def test_an_untrained_network_is_the_gaussian_denoiser():
    """The output gain is 0: mean c_skip x and the posterior std of a Gaussian of sigma_data."""
    denoiser = NetworkDenoiser(DenoiserUNet(1, 2, (4, 8)).eval(), precondition.EDM, 0.5, 80.0)
    x = torch.randn(1, 1, 16, 16)
    estimate = denoiser(x, 0.5)
    assert torch.allclose(estimate.mean, x / 2)
    assert torch.allclose(estimate.std, torch.full_like(x, 0.5 / 2**0.5))


def test_training_keeps_the_filters_at_unit_norm():
    net = network().train()
    weight = net.first.weight
    weight.data.mul_(7.0)
    net(torch.randn(1, 1, 16, 16), torch.zeros(1))
    assert float(weight.detach()[0].square().mean().sqrt()) == pytest.approx(1.0, abs=1e-3)


def test_the_noise_level_matters():
    net = network()
    x = torch.randn(1, 1, 16, 16)
    assert not torch.allclose(net(x, torch.zeros(1)), net(x, torch.ones(1)))
