"""Tiles cover an image once and give the result of the whole image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_physgen.backend.tiles import Tile, tiles
from napari_physgen.networks.unet import UNet

CHANNELS = (4, 8, 8)


@pytest.mark.parametrize("shape", [(200,), (257, 131), (64, 300), (70, 61, 90)])
@pytest.mark.parametrize(("size", "halo", "multiple"), [(64, 10, 1), (64, 13, 8), (48, 7, 4)])
def test_tiles_cover_every_pixel_once(
    shape: tuple[int, ...], size: int, halo: int, multiple: int
) -> None:
    covered = np.zeros(shape, int)
    for tile in tiles(shape, size, halo, multiple):
        covered[tile.place] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize(("size", "halo", "multiple"), [(64, 10, 1), (64, 13, 8), (48, 7, 4)])
def test_tiles_read_their_place_with_its_halo_from_a_multiple_on(
    size: int, halo: int, multiple: int
) -> None:
    image = np.arange(257 * 131).reshape(257, 131)
    for tile in tiles(image.shape, size, halo, multiple):
        np.testing.assert_array_equal(image[tile.read][tile.take], image[tile.place])
        for read, place, length in zip(tile.read, tile.place, image.shape, strict=True):
            assert read.start % multiple == 0
            assert read.start <= max(place.start - halo, 0)
            assert read.stop >= min(place.stop + halo, length)
            assert read.stop - read.start <= size


def test_an_image_of_one_tile_is_not_cut() -> None:
    assert tiles((64, 40), 64, 31) == [Tile(*((slice(0, 64), slice(0, 40)),) * 3)]


def test_only_long_axes_are_cut() -> None:
    assert all(tile.read[0] == slice(0, 30) for tile in tiles((30, 300), 64, 8))


def test_tiles_without_room_between_their_halos_are_refused() -> None:
    with pytest.raises(ValueError, match="Tiles of 40 pixels leave nothing between halos of 20"):
        tiles((100, 100), 40, 20)


@pytest.mark.parametrize(
    ("shape", "size"), [((157, 203), 96), ((131, 64), 100), ((40, 41, 121), 96)]
)
def test_a_network_in_tiles_equals_the_network_on_the_whole(
    shape: tuple[int, ...], size: int
) -> None:
    """For odd sizes too, with batch normalisation as in use, in two and three dimensions."""
    draw = torch.Generator().manual_seed(3)
    dimensions = 3 if len(shape) == 3 else 2
    net = UNet(1, 2, CHANNELS, batch_norm=True, dimensions=dimensions)  # type: ignore[arg-type]
    net(torch.randn(2, 1, *(16,) * dimensions, generator=draw))  # norms that are not 0 and 1
    net.eval()
    image = torch.randn(1, 1, *shape, generator=draw)
    cuts = tiles(shape, size, net.halo, net.multiple)
    with torch.inference_mode():
        whole = net(image)
        pieces = torch.full_like(whole, torch.nan)
        for cut in cuts:
            part = net(image[(..., *cut.read)])
            pieces[(..., *cut.place)] = part[(..., *cut.take)]
    assert len(cuts) > 1
    assert whole.std() > 0.05
    torch.testing.assert_close(pieces, whole, atol=1e-5, rtol=0)
