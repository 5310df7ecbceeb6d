"""Results lie exactly where they belong, whatever the transform of their source."""

from __future__ import annotations

import numpy as np
import pytest

from napari_physgen.app.blank import blank
from napari_physgen.app.live_preview import LivePreview
from napari_physgen.app.results import add_results, contrast
from napari_physgen.outputs import Output

AFFINE = np.array([[1, 0, 0, 0], [0, 0.9, 0.2, 3], [0, -0.1, 1.1, -5], [0, 0, 0, 1]])
SOURCES = {
    "plain": {},
    "moved": {"translate": (0, 5, -7)},
    "rotated": {"rotate": 30, "translate": (0, 5, -7)},
    "sheared": {"shear": (0, 0, 0.3), "translate": (0, 1, 2)},
    "affine": {"affine": AFFINE},
    "everything": {"rotate": 20, "shear": (0, 0, -0.2), "translate": (0, 1, 2), "affine": AFFINE},
}


def image(zoom=1, size=(128, 144), **arguments):
    return Output("SIM", np.random.default_rng(1).random(size), zoom=zoom, **arguments)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("zoom", "origin"), [(2, (0, 0)), (2, (10, 20)), (1, (3, 4)), (3, (1, 0))])
def test_a_result_pixel_lies_where_its_source_pixel_does(viewer, add_raw, source, zoom, origin):
    raw = add_raw(**SOURCES[source])
    (result,) = add_results(viewer, [image(zoom)], raw, origin=origin)
    for pixel in [(0, 0), (7, 3), (100, 90)]:
        # The centre of result pixel i lies at source pixel (i + 1/2) / zoom - 1/2.
        at = (np.array(pixel) + 0.5) / zoom - 0.5 + origin
        np.testing.assert_allclose(
            result.data_to_world(pixel), raw.data_to_world((0, *at))[-2:], atol=1e-9
        )


def test_a_result_has_the_outline_of_its_source(viewer, add_raw):
    raw = add_raw()
    (result,) = add_results(viewer, [image(2)], raw)
    low, high = result.extent.world - np.array([[0.02], [-0.02]])
    np.testing.assert_allclose(low, raw.extent.world[0, 1:] - 0.04)
    np.testing.assert_allclose(high, raw.extent.world[1, 1:] + 0.04)


def test_units_and_axis_labels_come_from_the_source(viewer, add_raw):
    raw = add_raw(axis_labels=("frame", "y", "x"))
    frames = Output("illumination", np.zeros((9, 64, 72)), axes=("frame", "y", "x"))
    flat, stack = add_results(viewer, [image(2), frames], raw)
    assert flat.units == raw.units[1:]
    assert flat.axis_labels == ("y", "x")
    assert stack.units == raw.units
    assert stack.axis_labels == raw.axis_labels
    assert viewer.layers.extent.units is not None


def test_results_sit_right_above_their_source_the_first_on_top(viewer, add_raw):
    raw = add_raw()
    viewer.add_image(np.zeros((64, 64)), name="other", units=("um", "um"))
    second = Output("std", np.zeros((9, 9)))
    add_results(viewer, [image(2), second], raw, record={"tool": "sim"})
    assert [layer.name for layer in viewer.layers] == ["cell", "cell std", "cell SIM", "other"]
    assert viewer.layers["cell SIM"].metadata["physgen"] == {"tool": "sim"}


def test_labels_lie_over_the_picture_that_they_belong_to(viewer, add_raw):
    raw = add_raw()
    mask = np.ones((64, 72), np.uint8)
    outputs = [
        Output("field", image().data[:64, :72]),
        Output("labels", mask, kind="labels"),
        Output("edges", mask, kind="labels"),
        Output("other", mask.astype(float)),
    ]
    wanted = ["cell", "cell other", "cell field", "cell edges", "cell labels"]
    live = LivePreview(viewer)
    live.show(outputs[:1], live.begin(raw))
    layers = add_results(viewer, outputs, raw, live=live)
    assert [layer.name for layer in viewer.layers] == wanted
    assert layers == list(reversed(viewer.layers))[:4]
    assert viewer.layers.selection.active is viewer.layers["cell field"]
    viewer.layers.clear()
    add_results(viewer, outputs, raw)
    assert [layer.name for layer in viewer.layers] == wanted[1:]


def test_what_is_made_from_nothing_has_its_own_place(viewer):
    source = blank("steel", 5.0, ("time", "z", "y", "x"), times=(10, 30, 50))
    solid = Output("field", np.zeros((3, 4, 5)), axes=("z", "y", "x"))
    movie = Output("movie", np.zeros((3, 3, 4, 5)), axes=("time", "z", "y", "x"))
    flat, moving = add_results(viewer, [solid, movie], source)
    assert source not in viewer.layers
    np.testing.assert_allclose(flat.scale, (5, 5, 5))
    np.testing.assert_allclose(moving.scale, (20, 5, 5, 5))
    np.testing.assert_allclose(moving.translate, (10, 0, 0, 0))
    assert [str(unit) for unit in moving.units] == ["pixel", *["nanometer"] * 3]
    assert moving.axis_labels == ("time", "z", "y", "x")


def test_live_pictures_need_no_layer_below_them(viewer):
    live = LivePreview(viewer, suffix="")
    run = live.begin(blank("steel", 5.0))
    live.show([Output("field", np.zeros((8, 8)))], run)
    layer = live.layer
    assert [shown.name for shown in viewer.layers] == ["steel field"]
    again = live.begin(blank("steel", 2.0), go_on=True)
    live.show([Output("field", np.ones((8, 8)))], run)  # late
    assert layer.data.max() == 0
    live.show([Output("field", np.ones((8, 8)))], again)
    assert live.layer is layer
    assert layer.data.max() == 1
    np.testing.assert_allclose(layer.scale, (2, 2))


def test_ellipses_become_shapes_on_their_picture(viewer, add_raw):
    raw = add_raw()
    corners = np.array([[[0, 0], [0, 10], [10, 10], [10, 0]]], float)
    circles = Output("circles", corners, kind="shapes", zoom=2)
    (layer,) = add_results(viewer, [circles], raw)
    assert layer.shape_type == ["ellipse"]
    assert layer.ndim == 2
    np.testing.assert_allclose(
        layer.data_to_world((0, 0)), raw.data_to_world((0, -0.25, -0.25))[1:]
    )


def test_pictures_of_the_patterns_are_renewed_in_place(viewer, add_raw):
    raw = add_raw()
    corners = np.array([[[0, 0], [0, 10], [10, 10], [10, 0]]], float)
    names = ("spectrum", "circles")
    for size in (1, 2):
        pictures = [
            Output("spectrum", np.full((8 * size, 8), size), offset=(0, 80)),
            Output("circles", np.repeat(corners, size, 0), kind="shapes", offset=(0, 80 * size)),
        ]
        add_results(viewer, [image(2), *pictures], raw, renewed=names)
    # Runs pile up, the newest on top; pictures do not; circles stay above their spectrum.
    assert [layer.name for layer in viewer.layers] == [
        "cell",
        "cell spectrum",
        "cell circles",
        "cell SIM",
        "cell SIM [1]",
    ]
    assert viewer.layers["cell spectrum"].data.shape == (16, 8)
    circles = viewer.layers["cell circles"]
    assert circles.shape_type == ["ellipse", "ellipse"]
    np.testing.assert_allclose(circles.translate, (0, 160 * 0.08))


def lines(count, **display):
    vectors = np.random.default_rng(count).random((count, 2, 2)) * 50
    table = {"pair": ["1-2"] * count}
    return Output("walls", vectors, kind="vectors", zoom=2, display={"features": table} | display)


def test_lines_become_vectors_on_their_picture(viewer, add_raw):
    raw = add_raw()
    labels = Output("labels", np.ones((64, 72), np.uint8), kind="labels")
    walls = lines(5, edge_width=0.3)
    layer, _ = add_results(viewer, [labels, walls], raw)
    assert [shown.name for shown in viewer.layers] == ["cell", "cell labels", "cell walls"]
    assert (layer.ndim, layer.edge_width, layer.vector_style) == (2, 0.3, "line")
    np.testing.assert_allclose(
        layer.data_to_world((0, 0)), raw.data_to_world((0, -0.25, -0.25))[1:]
    )


def test_lines_are_renewed_in_place_however_many_there_are(viewer, add_raw):
    raw = add_raw()
    for count in (5, 9, 0, 2):
        add_results(viewer, [lines(count)], raw, renewed=("walls",))
        (layer,) = viewer.layers[1:]
        assert len(layer.data) == len(layer.features) == len(layer.edge_color) == count
    assert set(layer.features["pair"]) == {"1-2"}


def test_a_table_follows_its_labels(viewer, add_raw):
    raw = add_raw()
    for share in (0.25, 0.75):
        table = {"index": [1], "share": [share]}
        mask = np.ones((64, 72), np.uint8)
        labels = Output("labels", mask, kind="labels", display={"features": table})
        add_results(viewer, [labels], raw, renewed=("labels",))
        assert viewer.layers["cell labels"].features["share"].tolist() == [share]
    assert len(viewer.layers) == 2


def test_a_single_plane_belongs_to_the_whole_axis(viewer, add_raw):
    raw = add_raw(axis_labels=("energy", "y", "x"), scale=(0.5, 0.08, 0.08), translate=(3, 0, 0))
    stack = Output("shares", np.zeros((2, 1, 64, 72)), axes=("region", "energy", "y", "x"))
    (layer,) = add_results(viewer, [stack], raw)
    energies = layer.data_to_world((0, 0, 0, 0))[1]
    np.testing.assert_allclose(energies, raw.data_to_world((4, 0, 0))[0])
    np.testing.assert_allclose(layer.scale[:2], (1, 4.5))
    np.testing.assert_allclose(
        layer.extent.world[:, 1] + np.array([-1, 1]) * (4.5 / 2),
        raw.extent.world[:, 0] + np.array([-1, 1]) * 0.25,
    )


def test_an_output_that_cannot_be_shown_leaves_the_viewer_as_it_was(viewer, add_raw):
    raw = add_raw()
    broken = Output("broken", np.zeros((5, 5)), display={"colormap": "no such map"})
    with pytest.raises(Exception, match="no such map"):
        add_results(viewer, [image(2), broken], raw)
    assert list(viewer.layers) == [raw]


def test_contrast_ignores_hot_pixels_and_survives_flat_or_broken_pictures():
    picture = np.random.default_rng(0).random((512, 512))
    picture[5, 5] = 1e6
    assert contrast(picture)[1] < 1.1
    assert contrast(np.ones((8, 8))) == (1, 2)
    assert contrast(np.full((8, 8), np.nan)) == (0, 1)


def test_the_live_picture_is_updated_in_place_and_taken_away(viewer, add_raw):
    raw = add_raw()
    live = LivePreview(viewer)
    run = live.begin(raw)
    live.show([image(2)], run)
    layer = live.layer
    live.show([Output("SIM", np.full((128, 144), 5.0), zoom=2)], run)
    assert live.layer is layer
    assert layer.data.max() == 5
    assert len(viewer.layers) == 2
    live.clear()
    assert list(viewer.layers) == [raw]


def test_pictures_of_an_earlier_run_are_dropped(viewer, add_raw):
    raw = add_raw()
    live = LivePreview(viewer)
    early = live.begin(raw)
    live.begin(raw)
    live.show([image(2)], early)
    assert list(viewer.layers) == [raw]


def test_the_live_contrast_follows_until_the_user_sets_it(viewer, add_raw):
    live = LivePreview(viewer)
    run = live.begin(add_raw())
    live.show([image()], run)
    live.show([Output("SIM", 100 * image().data)], run)
    assert live.layer.contrast_limits[1] > 50
    live.layer.contrast_limits = (0, 7)
    live.show([Output("SIM", 1000 * image().data)], run)
    assert live.layer.contrast_limits == [0, 7]


def test_a_live_layer_closed_by_hand_stays_closed(viewer, add_raw):
    raw = add_raw()
    live = LivePreview(viewer)
    run = live.begin(raw)
    live.show([image()], run)
    viewer.layers.remove(live.layer)
    live.show([image()], run)
    assert list(viewer.layers) == [raw]
