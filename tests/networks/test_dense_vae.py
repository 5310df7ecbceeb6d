from __future__ import annotations

import pytest
import torch

from napari_physgen.networks.dense_vae import (
    Code,
    DenseEncoder,
    RegionDecoder,
    spread_out,
)
from napari_physgen.physics.perimeter import PERIMETERS, wall_length

FEATURES, REGIONS, LATENT, SLOW = 5, 3, 2, 8


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trained_encoder() -> DenseEncoder:
    """An encoder whose last layer is no longer 0."""
    encoder = DenseEncoder(FEATURES, REGIONS, LATENT, SLOW, width=8, generator=draw())
    with torch.no_grad():
        encoder.regions.weight.normal_(0, 0.3, generator=draw(1))
    return encoder.double().eval()


def scan(rows: int = 20, columns: int = 17) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    values = torch.randn(FEATURES, rows, columns, generator=draw(2), dtype=torch.float64)
    start = torch.rand(REGIONS, rows, columns, generator=draw(3), dtype=torch.float64).softmax(0)
    return values, start, torch.ones(rows, columns, dtype=torch.bool)


def test_untrained_regions_are_those_of_the_start():
    values, start, valid = scan()
    encoder = DenseEncoder(FEATURES, REGIONS, LATENT, SLOW, generator=draw()).double()
    torch.testing.assert_close(encoder(values, start, valid).q, start)


def test_a_sure_start_can_be_left():
    """Of a probability of 1 the encoder hears e^4 : 1, or nothing could ever overrule it."""
    values, start, valid = scan()
    start = torch.nn.functional.one_hot(start.argmax(0), REGIONS).movedim(-1, 0).double()
    encoder = DenseEncoder(FEATURES, REGIONS, LATENT, SLOW, generator=draw()).double()
    q = encoder(values, start, valid).q
    assert torch.equal(q.argmax(0), start.argmax(0))
    assert q.min().log() > -5


def test_regions_of_a_tile_are_those_of_the_whole_scan():
    encoder = trained_encoder()
    values, start, valid = scan(40, 40)
    whole = encoder(values, start, valid).logits
    tile = slice(8, 32)
    part = encoder(values[:, tile, tile], start[:, tile, tile], valid[tile, tile]).logits
    inner = slice(encoder.halo, -encoder.halo)
    torch.testing.assert_close(part[:, inner, inner], whole[:, tile, tile][:, inner, inner])


def test_nodes_without_data_have_no_influence():
    encoder = trained_encoder()
    values, start, valid = scan()
    valid[5:9, 4:12] = False
    other = torch.where(valid, values, 1e3 * torch.ones_like(values))
    one = encoder(values, start, valid)
    two = encoder(other, torch.where(valid, start, start.flip(0)), valid)
    torch.testing.assert_close(one.logits[:, valid], two.logits[:, valid])
    torch.testing.assert_close(one.mu, two.mu)


@pytest.mark.parametrize("name", sorted(PERIMETERS))
def test_gradient_of_the_wall_length_reaches_all_weights_of_the_encoder(name):
    """Central differences along random directions; the released code of the paper has none."""
    encoder = trained_encoder()
    values, start, valid = scan()
    centres = torch.tensor([[0.0, 0.0], [1.0, 0.5], [-0.5, 1.0]], dtype=torch.float64)

    def length() -> torch.Tensor:
        q = encoder(values, start, valid).q
        mu = torch.einsum("kyx,kd->dyx", q, centres)
        return wall_length(name, q, mu, (1.0, 1.0), valid)

    layers = [encoder.first, *encoder.context, encoder.regions]
    weights = [layer.weight for layer in layers]
    gradients = torch.autograd.grad(length(), weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        direction = torch.randn(weight.shape, generator=draw(4), dtype=torch.float64)
        step = 1e-6
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                weight.add_(sign * step * direction)
                ends.append(float(length()))
                weight.add_(-sign * step * direction)
        slope = (ends[0] - ends[1]) / (2 * step)
        assert abs(slope) > 1e-3
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-4)


def test_kl_is_that_of_normal_distributions():
    mu, logvar = torch.randn(2, LATENT, 3, 4, generator=draw(5))
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(mu, (0.5 * logvar).exp()), torch.distributions.Normal(0.0, 1.0)
    )
    torch.testing.assert_close(Code(mu, mu, logvar).kl(), expected.sum())


def test_regions_without_slow_changes_are_their_prototypes():
    prototypes = torch.randn(REGIONS, FEATURES, generator=draw(6))
    decoder = RegionDecoder(
        prototypes,
        torch.randn(FEATURES, LATENT, generator=draw(7)),
        torch.randn(REGIONS, LATENT, generator=draw(8)),
        torch.eye(FEATURES).expand(REGIONS, -1, -1),
    )
    assert decoder.change(torch.zeros(LATENT, 3, 4)).abs().max() < 1e-6
    assert decoder.change(torch.ones(LATENT, 3, 4)).abs().min() > 1e-3


def test_coarse_variables_are_interpolated():
    """A constant stays; a ramp over the coarse nodes is one over the nodes."""
    constant = spread_out(torch.ones(2, 3, 4), SLOW, (20, 30))
    assert constant.shape == (2, 20, 30)
    torch.testing.assert_close(constant, torch.ones(2, 20, 30))
    ramp = spread_out(torch.arange(4.0).expand(1, 3, 4), SLOW, (24, 32))[0, 12, 4:28]
    torch.testing.assert_close(ramp.diff(), torch.full((23,), 1 / SLOW))


def test_same_generator_same_weights():
    one, two = (DenseEncoder(4, 2, 1, SLOW, generator=draw(9)) for _ in range(2))
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
