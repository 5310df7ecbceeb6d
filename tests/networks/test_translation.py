from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from napari_physgen.networks.translation import (
    MULTIPLE,
    Generator,
    PatchDiscriminator,
    PatchProjection,
)


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).clamp(-1, 1)


def busy(net: Generator) -> Generator:
    """Return the network in use, with a correction as strong as the image."""
    net.last.weight.data.mul_(10)
    return net.eval()


@pytest.mark.parametrize("norm", ["pixel", "batch"])
def test_a_tile_with_its_halo_equals_the_whole_image(norm):
    net = busy(Generator(3, 4, 2, norm=norm))
    image = noise(1, 3, 160, 160)
    tile, halo = slice(80, 96), net.halo
    assert halo % MULTIPLE == 0
    part = slice(tile.start - halo, tile.stop + halo)
    with torch.no_grad():
        inner = net(image[..., part, part])[..., halo:-halo, halo:-halo]
        torch.testing.assert_close(inner, net(image)[..., tile, tile], rtol=0, atol=1e-5)


def test_the_halo_is_all_that_a_pixel_depends_on_and_little_more():
    net = busy(Generator(1, 4, 2))
    image = noise(1, 1, 160, 160).requires_grad_()
    net(image)[0, 0, 80, 80].backward()
    assert image.grad is not None
    row = image.grad[0, 0].abs().sum(0).nonzero().squeeze() - 80
    reach = int(row.abs().max())
    assert net.halo - 8 <= reach <= net.halo


@pytest.mark.parametrize("norm", ["pixel", "batch"])
def test_a_shift_of_the_input_by_a_multiple_shifts_the_output(norm):
    net = busy(Generator(2, 4, 1, norm=norm))
    image = noise(1, 2, 128, 128)
    with torch.no_grad():
        moved = net(image.roll((MULTIPLE, -2 * MULTIPLE), (-2, -1)))
        expected = net(image).roll((MULTIPLE, -2 * MULTIPLE), (-2, -1))
    inner = slice(48, 80)
    torch.testing.assert_close(moved[..., inner, inner], expected[..., inner, inner])
    assert (expected - image[:, :1])[..., inner, inner].std() > 0.01


@pytest.mark.parametrize("shape", [(16, 16), (17, 30), (64, 41)])
def test_any_size_from_16_pixels_on_will_do(shape):
    output = Generator(2, 4, 1)(noise(2, 2, *shape))
    assert output.shape == (2, 1, *shape)
    assert output.isfinite().all()


def test_a_correcting_generator_starts_near_the_image_and_the_published_one_does_not():
    image = noise(1, 1, 64, 64)
    with torch.no_grad():
        change = Generator(1, 16, 4)(image) - image
        drawn = Generator(1, 16, 4, norm="instance", skip=False)(image)
    assert 0 < change.std() < 0.3 * image.std()
    assert drawn.abs().max() < 1


def test_the_published_generator_has_11_million_weights():
    """Zhu et al. 2017: 64 features, 9 blocks (their transposed convolutions are ours resized)."""
    net = Generator(3, 64, 9, norm="instance", skip=False)
    count = sum(p.numel() for p in net.parameters())
    assert count == pytest.approx(11.4e6, rel=0.02)


@pytest.mark.parametrize(("layers", "patch"), [(1, 16), (2, 34), (3, 70)])
def test_a_score_of_the_discriminator_sees_a_patch_of_that_size(layers, patch):
    """Isola et al. 2017. Without its normalisation, which looks at the whole image."""
    net = PatchDiscriminator(4, layers)
    plain = nn.Sequential(*(part for part in net if not isinstance(part, nn.InstanceNorm2d)))
    image = noise(1, 1, 128, 128).requires_grad_()
    scores = plain(image)
    scores[0, 0, scores.shape[-2] // 2, scores.shape[-1] // 2].backward()
    assert image.grad is not None
    seen = image.grad[0, 0].abs().sum(0).nonzero()
    assert int(seen.max() - seen.min()) + 1 == patch


def test_projected_patches_are_unit_vectors_of_the_chosen_places():
    net = Generator(1, 4, 4)
    depths = net.features(noise(2, 1, 32, 32))
    assert [depth.shape[1] for depth in depths] == [1, 8, 16, 16, 16]
    places = [torch.tensor([0, 5, 9]) for _ in depths]
    vectors = PatchProjection([1, 8, 16, 16, 16], 6)(depths, places)
    for vector in vectors:
        assert vector.shape == (2, 3, 6)
        lengths = vector[vector.abs().sum(-1) > 0].norm(dim=-1)
        torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_gradients_reach_every_weight():
    for net, channels in ((Generator(2, 4, 2), 2), (PatchDiscriminator(4, 2), 1)):
        net(noise(1, channels, 48, 48)).square().sum().backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, name


def test_weights_repeat_and_leave_the_global_random_numbers_alone():
    before = torch.get_rng_state()

    def made(seed: int) -> list[nn.Module]:
        draw = torch.Generator().manual_seed(seed)
        return [Generator(2, 4, 1, generator=draw), PatchDiscriminator(4, 1, generator=draw)]

    first, second, other = made(5), made(5), made(6)
    assert torch.equal(torch.get_rng_state(), before)
    for one, two, three in zip(first, second, other, strict=True):
        pairs = zip(one.parameters(), two.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
        assert not torch.equal(next(one.parameters()), next(three.parameters()))
