from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.nn.functional import avg_pool2d

from napari_physgen.backend import run
from napari_physgen.backend.fit import HeldOut, fit
from napari_physgen.networks.unet import UNet

SMALL = (4, 8, 8)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_a_zero_initialised_network_gives_exactly_zero():
    output = UNet(3, 2, SMALL, zero_init_last=True)(noise(1, 3, 16, 16))
    assert output.shape == (1, 2, 16, 16)
    assert (output == 0).all()


@pytest.mark.parametrize("shape", [(8, 8), (9, 8), (17, 23), (64, 31)])
@pytest.mark.parametrize("channels", [SMALL, (4, 8)])
def test_any_size_from_two_to_the_levels_on_will_do(shape, channels):
    output = UNet(2, 1, channels)(noise(2, 2, *shape))
    assert output.shape == (2, 1, *shape)
    assert output.isfinite().all()


def test_an_odd_size_sees_the_mirrored_image():
    """Borders that are added to reach a multiple continue the image, not zeros."""
    net = UNet(1, 1, SMALL)
    image = noise(1, 1, 31, 30)
    mirrored = torch.nn.functional.pad(image, (0, 2, 0, 1), mode="reflect")
    torch.testing.assert_close(net(image), net(mirrored)[..., :31, :30])


def test_a_flat_image_stays_flat_up_to_the_border():
    output = UNet(1, 1, SMALL)(torch.ones(1, 1, 32, 32))
    assert output.std() < 1e-5 * output.abs().mean()


def test_a_shift_of_the_input_by_a_multiple_shifts_the_output():
    net = UNet(1, 1, SMALL)
    image = noise(1, 1, 128, 128)
    shift = net.multiple
    assert shift == 4
    inner = slice(48, 80)
    moved = net(image.roll((shift, 2 * shift), (-2, -1)))
    expected = net(image).roll((shift, 2 * shift), (-2, -1))
    torch.testing.assert_close(moved[..., inner, inner], expected[..., inner, inner])
    assert expected[..., inner, inner].std() > 0.01


def test_the_output_of_a_tile_equals_that_of_the_whole_image():
    net = UNet(1, 1, SMALL)
    image = noise(1, 1, 128, 128)
    tile = net(image[..., 16:96, 16:96])
    torch.testing.assert_close(tile[..., 36:44, 36:44], net(image)[..., 52:60, 52:60])


def test_gradients_reach_every_weight():
    net = UNet(2, 1, SMALL)
    net(noise(1, 2, 16, 16)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_a_zero_initialised_network_learns():
    net = UNet(1, 1, SMALL, zero_init_last=True)
    net(noise(1, 1, 16, 16)).sub(1).square().sum().backward()
    assert net.last.weight.grad is not None
    assert net.last.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_network_learns_to_blur(precision):
    """From exactly 0, the error on an image it has not seen falls to a twentieth."""
    blur = partial(avg_pool2d, kernel_size=3, stride=1)
    net = UNet(1, 1, (8, 8), zero_init_last=True)
    images = noise(2, 1, 34, 34)
    goals = blur(images)

    def error(model: torch.nn.Module, part: slice) -> torch.Tensor:
        return (model(images[part])[..., 1:-1, 1:-1] - goals[part]).square().mean()

    job = fit(
        net,
        lambda model, step: error(model, slice(0, 1)),
        optimizer=torch.optim.Adam(net.parameters(), 1e-2),
        steps=150,
        device=torch.device("cpu"),
        message="Learning",
        precision=precision,
        held_out=HeldOut(lambda model: error(model, slice(1, 2)), every=10),
    )
    result = run(job)
    assert result.best_score < goals[1].square().mean() / 20
    torch.testing.assert_close(error(net, slice(1, 2)).item(), result.best_score, rtol=0.05, atol=0)


def test_features_keep_their_size_from_input_to_output():
    """Kaiming weights: unit variance in, order one out."""
    assert 0.1 < UNet(4, 4)(noise(1, 4, 64, 64)).std() < 10


def test_weights_repeat_and_leave_the_global_random_numbers_alone():
    before = torch.get_rng_state()
    first, second = (UNet(1, 1, SMALL, generator=torch.Generator().manual_seed(5)) for _ in "ab")
    other = UNet(1, 1, SMALL, generator=torch.Generator().manual_seed(6))
    assert torch.equal(torch.get_rng_state(), before)
    image = noise(1, 1, 16, 16)
    assert torch.equal(first(image), second(image))
    assert not torch.equal(first(image), other(image))


def test_mixed_precision_stays_close_to_single():
    net = UNet(2, 1, SMALL)
    image = noise(1, 2, 32, 32)
    exact = net(image)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = net(image)
    assert mixed.dtype == torch.bfloat16
    assert (mixed - exact).std() < 0.03 * exact.std()


def far_reach(net: UNet, side: int, at: int) -> int:
    """How far from a changed input pixel the output changes, measured."""
    image = noise(1, 1, *(side,) * net.dimensions)
    other = image.clone()
    other[(0, 0, *(at,) * net.dimensions)] += 100
    with torch.no_grad():
        changed = (net.eval()(image) != net(other)).any(1)[0]
    return int((changed.nonzero() - at).abs().max())


@pytest.mark.parametrize("channels", [(4, 8), SMALL, (4, 4, 4, 4)])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_no_pixel_farther_away_than_the_halo_matters(channels, batch_norm):
    """Measured at all places of the coarsest grid; the promise is not wasteful either."""
    net = UNet(1, 1, channels, batch_norm=batch_norm)
    reaches = [far_reach(net, 161, 80 + place) for place in range(net.multiple)]
    assert 0.6 * net.halo < max(reaches) <= net.halo


def test_no_voxel_farther_away_than_the_halo_matters():
    net = UNet(1, 1, (2, 4), dimensions=3)
    assert 0.6 * net.halo < max(far_reach(net, 41, at) for at in (20, 21)) <= net.halo


@pytest.mark.parametrize("shape", [(8, 8, 8), (9, 13, 10)])
def test_volumes_of_any_size_will_do(shape):
    output = UNet(1, 3, SMALL, dimensions=3)(noise(2, 1, *shape))
    assert output.shape == (2, 3, *shape)
    assert output.isfinite().all()


def test_planes_of_equal_voxels_stay_equal():
    """What is constant along z in the input is so in the output."""
    plane = noise(1, 1, 1, 16, 16)
    output = UNet(1, 1, SMALL, dimensions=3)(plane.expand(1, 1, 16, 16, 16))
    torch.testing.assert_close(output[:, :, 3], output[:, :, 9], rtol=1e-4, atol=1e-5)


def test_batch_norm_in_use_does_not_look_at_the_rest_of_the_batch():
    net = UNet(1, 1, SMALL, batch_norm=True)
    net(noise(4, 1, 32, 32))
    net.eval()
    images = noise(2, 1, 32, 32)
    torch.testing.assert_close(net(images)[:1], net(images[:1]))


def test_batch_norm_undoes_gain_and_offset_while_learning():
    net = UNet(1, 1, SMALL, batch_norm=True)
    images = noise(4, 1, 32, 32)
    torch.testing.assert_close(net(50 * images + 7), net(images), rtol=1e-2, atol=1e-2)


def test_the_coarsest_features_are_what_the_decoder_starts_from():
    net = UNet(1, 1, SMALL)
    assert net.encode(noise(1, 1, 21, 32)).shape == (1, 8, 6, 8)
