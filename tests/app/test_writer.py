"""Saved layers come back with their pixel size, units, names and record."""

from __future__ import annotations

import npe2
import numpy as np
import pytest
from napari.components import ViewerModel
from napari_tiff.napari_tiff_reader import reader_function

from napari_physgen.app.results import add_results
from napari_physgen.app.writer import export_layers, write_image, write_labels, write_layers
from napari_physgen.errors import UserError
from napari_physgen.io import read_record
from napari_physgen.outputs import Output
from napari_physgen.provenance import Input, Record

RECORD = Record(
    "sim", {"na": 1.2}, 0, (Input("raw", (9, 64, 72), "uint16", "0", "cell"),), "cpu", 1.0
)


def reopened(path):
    viewer = ViewerModel()
    for data, meta, kind in reader_function(str(path)):
        viewer._add_layer_from_data(data, meta, kind)
    return viewer.layers


def test_a_result_layer_comes_back_with_scale_units_and_record(viewer, add_raw, tmp_path):
    raw = add_raw(axis_labels=("frame", "y", "x"))
    image = np.random.default_rng(0).random((128, 144)).astype(np.float32)
    (layer,) = add_results(viewer, [Output("SIM", image, zoom=2)], raw, record=RECORD.to_dict())
    data, meta, _ = layer.as_layer_data_tuple()
    (path,) = write_image(str(tmp_path / "sim.ome.tif"), data, meta)
    (again,) = reopened(path)
    np.testing.assert_array_equal(again.data, image)
    np.testing.assert_allclose(again.scale, (0.04, 0.04))
    assert [str(unit) for unit in again.units] == ["micrometer"] * 2
    assert read_record(path) == RECORD


def test_a_time_lapse_keeps_its_axes(viewer, tmp_path):
    movie = np.arange(3 * 16 * 20, dtype=np.uint16).reshape(3, 16, 20)
    layer = viewer.add_image(
        movie, scale=(2, 0.1, 0.1), units=("s", "um", "um"), axis_labels=("t", "y", "x")
    )
    data, meta, _ = layer.as_layer_data_tuple()
    (path,) = write_image(str(tmp_path / "movie.ome.tif"), data, meta)
    (again,) = reopened(path)
    np.testing.assert_array_equal(again.data, movie)
    np.testing.assert_allclose(again.scale, (2, 0.1, 0.1))


def test_labels_stay_whole_numbers(viewer, tmp_path):
    layer = viewer.add_labels(np.arange(12).reshape(3, 4), scale=(0.1, 0.1), units=("um", "um"))
    data, meta, _ = layer.as_layer_data_tuple()
    (path,) = write_labels(str(tmp_path / "labels.ome.tif"), data, meta)
    (again,) = reopened(path)
    assert again.data.dtype.kind == "u"
    np.testing.assert_array_equal(again.data, layer.data)


def test_several_layers_go_into_one_file(viewer, add_raw, tmp_path):
    add_raw(name="a")
    add_raw(name="b")
    layers = [layer.as_layer_data_tuple() for layer in viewer.layers]
    (path,) = write_layers(str(tmp_path / "both.ome.tif"), layers)
    assert {layer.name.split(":")[-1].strip() for layer in reopened(path)} >= {"a", "b"}


def test_napari_chooses_our_writer_for_ome_tiff(viewer, add_raw, tmp_path):
    npe2.PluginManager.instance().discover()  # napari does so when its window opens
    add_raw()
    path = tmp_path / "cell.ome.tif"
    viewer.layers.save(str(path), plugin="napari-physgen")
    np.testing.assert_allclose(reopened(path)[0].scale[-2:], (0.08, 0.08))


def test_a_folder_that_is_not_there_gets_a_sentence(viewer, add_raw, tmp_path):
    data, meta, _ = add_raw().as_layer_data_tuple()
    with pytest.raises(UserError, match="folder"):
        write_image(str(tmp_path / "no" / "cell.ome.tif"), data, meta)


def test_the_export_command_saves_the_selected_layers(viewer, add_raw, tmp_path, monkeypatch):
    add_raw(name="a")
    viewer.add_points([[0, 0]])
    said = []
    monkeypatch.setattr("napari.utils.notifications.show_error", said.append)
    monkeypatch.setattr("napari.utils.notifications.show_info", said.append)
    export_layers(viewer)
    assert said.pop().startswith("Select one or more image")
    monkeypatch.setattr(
        "qtpy.QtWidgets.QFileDialog.getSaveFileName", lambda *_: (str(tmp_path / "out.tif"), "")
    )
    viewer.layers.selection = {viewer.layers["a"]}
    export_layers(viewer)
    assert said == [f"Saved {tmp_path / 'out.ome.tif'}"]
    assert (tmp_path / "out.ome.tif").is_file()
