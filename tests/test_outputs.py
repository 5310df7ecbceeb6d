from __future__ import annotations

import numpy as np
import pytest

from napari_physgen.outputs import Output


def centres(n: int, zoom: float, start: float) -> np.ndarray:
    """Pixel centres of an axis with `n` pixels in input pixels."""
    return start + np.arange(n) / zoom


@pytest.mark.parametrize("zoom", [1, 2, 3, 4, 0.5])
def test_input_and_output_cover_the_same_field_of_view(zoom):
    """Both begin at -0.5 and end at n - 0.5 input pixels, the outer edges of the border pixels."""
    n = 8
    start, _ = Output("a", np.zeros((n, n)), zoom=zoom).translation
    positions = centres(round(n * zoom), zoom, start)
    assert positions[0] - 0.5 / zoom == pytest.approx(-0.5)
    assert positions[-1] + 0.5 / zoom == pytest.approx(n - 0.5)


def test_a_zoom_of_two_moves_the_first_pixel_by_a_quarter():
    assert Output("a", np.zeros((4, 4)), zoom=2).translation == (-0.25, -0.25)


def test_without_zoom_nothing_moves():
    assert Output("a", np.zeros((4, 4))).translation == (0, 0)


@pytest.mark.parametrize("offset", [(3.0, -2.0), (0.0, 0.0)])
def test_an_offset_is_taken_as_it_is(offset):
    assert Output("a", np.zeros((4, 4)), zoom=2, offset=offset).translation == offset
