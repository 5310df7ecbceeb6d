"""The region panel: a scan in, a map on it, and the wall cost in the microscopist's hand."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_physgen import recipe
from napari_physgen.app.region_plots import CostCurve, counts_table, ticks
from napari_physgen.app.region_review import decided
from napari_physgen.app.results import KEY
from napari_physgen.app.widgets.regions import MapRegions
from napari_physgen.backend import Progress, Stop, Tune
from napari_physgen.errors import UserError
from napari_physgen.io import read_record
from napari_physgen.outputs import Output
from napari_physgen.provenance import Record
from napari_physgen.regions.boundaries import trace_walls
from napari_physgen.regions.results import Choices, CountChoice, RegionMap, WallChoice
from napari_physgen.regions.settings import RegionSettings

WALLS = tuple(
    WallChoice(cost, 10 + 0.3 * cost**0.7, 500 / (1 + cost), 0.9) for cost in (0.3, 1.0, 3.0, 10.0)
)
COUNTS = (CountChoice(1, -900, -910, 1), CountChoice(2, -500, -503, 0.97))
TOO_DEAR = 500.0
ENERGY = {"signal_axis": "energy", "values": np.linspace(0.1, 3, 40), "units": "keV"}


class FakeMap(RegionMap):
    """A map with few outputs."""

    def outputs(self):
        segments, pairs = self.walls.segments()
        table = {"index": [1, 2], "share": [0.5, 0.5]}
        of = {"pair": [f"{a}-{b}" for a, b in pairs]}
        walls = Output("walls", segments, "vectors", display={"edge_width": 0.8, "features": of})
        return [
            Output("regions", self.labels, "labels", display={"features": table}),
            *([walls] if len(segments) else []),
            Output("entropy", self.entropy, display={"visible": False}),
            Output("probabilities", self.probabilities, axes=("region", "y", "x")),
        ]


@dataclass
class FakeRegions:
    """A job with the contract of the region tool: walls move right as they get dearer."""

    pause: float = 0.002
    steps: int = 8
    kind: str = "spectra"
    fails: Exception | None = None
    heard: list[Any] = field(default_factory=list)
    given: list[tuple[RegionSettings, Any, Any]] = field(default_factory=list)

    def map_regions(self, data, settings, mask=None):
        self.given.append((settings, data, mask))
        shape = data.shape[:2] if settings.signal_axis == "last" else data.shape[-2:]
        shape = data.shape[:2] if data.ndim == 4 else shape
        for step in range(self.steps):
            time.sleep(self.pause)
            if self.fails:
                raise self.fails
            labels = _labels(shape, settings, mask)
            command = yield Progress(
                step,
                self.steps,
                "network",
                {"misfit": 1 / (step + 1)},
                lambda labels=labels: [Output("regions", labels, "labels")],
            )
            if command is not None:
                self.heard.append(command)
            if isinstance(command, Tune):
                settings = settings.tuned(**command.changes)
            if isinstance(command, Stop):
                break
        return self._map(data, shape, settings, mask)

    def _map(self, data, shape, settings, mask):
        labels = _labels(shape, settings, mask)
        q = np.stack([labels == k for k in range(1, labels.max() + 1)]).astype(np.float32)
        window = 1 if self.kind == "spectra" else 16
        size = {"spectra": (40,), "channels": (3,), "lattice": (16, 16), "diffraction": (8, 8)}
        prototypes = np.ones((2, *size[self.kind]), np.float32)
        found = Choices(
            self.kind,
            window,
            1,
            2,
            settings.wall_cost or 1.0,
            counts=COUNTS if settings.regions == "auto" else (),
            walls=WALLS if self.given[-1][0].wall_cost is None else (),
            notes=("No lattice was found.",),
        )
        return FakeMap(
            labels,
            q,
            np.zeros(shape, np.float32),
            q,
            labels,
            (1.0, 1.0),
            (0.0, 0.0),
            trace_walls(q, labels),
            prototypes,
            0.1 * prototypes,
            found,
            settings,
            summary="2 regions.",
            metrics={"regions": 2},
            device="cpu",
        )


def _labels(shape, settings, mask):
    labels = np.ones(shape, np.uint8)
    if settings.wall_cost == TOO_DEAR:
        return labels
    labels[:, min(shape[1] // 3 + int(settings.wall_cost or 1), shape[1] - 1) :] = 2
    return labels if mask is None else np.where(mask, labels, 0).astype(np.uint8)


@pytest.fixture
def fake(monkeypatch):
    fake = FakeRegions()
    tool = SimpleNamespace(
        settings_class=lambda: RegionSettings, job_function=lambda: fake.map_regions
    )
    monkeypatch.setitem(recipe.TOOLS, "regions", tool)
    return fake


@pytest.fixture
def cube(viewer):
    """A spectrum image of 0.5 nm pixels whose spectra differ from place to place."""
    data = np.random.default_rng(0).poisson(3, (40, 20, 30)).astype(np.uint16)
    return viewer.add_image(
        data,
        name="map",
        scale=(0.07, 0.5, 0.5),
        units=("keV", "nm", "nm"),
        axis_labels=("energy", "y", "x"),
        metadata={KEY: {**ENERGY, "modality": "EDS"}},
    )


@pytest.fixture
def panel(viewer, cube, qtbot, fake, monkeypatch):
    errors: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_error", errors.append)
    widget = MapRegions(viewer)
    widget.errors = errors
    qtbot.addWidget(widget)
    widget.wait = lambda: qtbot.waitUntil(lambda: not widget.runner.running, timeout=30000)
    yield widget
    widget.abandon()


def title(panel):
    return panel.review.curve.plot.getPlotItem().titleLabel.text


def names(panel):
    return [layer.name for layer in panel.viewer.layers]


def test_the_panel_says_what_it_has_and_takes_the_pixel_size_from_it(panel, cube):
    assert panel.chooser.layer is cube
    assert "20 x 30 spectra of 40 energies, 0.1 to 3 keV" in panel.reading.text()
    values = panel.form.values()
    assert values["pixel_size_nm"] == 0.5
    assert values["pixel_height_nm"] is None


def test_oblong_pixels_are_taken_with_both_sides(panel, viewer):
    image = viewer.add_image(np.zeros((32, 32)), name="oblong", scale=(4, 2), units=("nm", "nm"))
    panel.chooser.choose(image)
    values = panel.form.values()
    assert (values["pixel_size_nm"], values["pixel_height_nm"]) == (2, 4)
    assert "pixels of 4 x 2 nm" in panel.reading.text()


def test_run_puts_map_and_walls_above_the_scan_with_a_record(panel, cube, fake):
    panel.run()
    panel.wait()
    assert panel.errors == []
    assert names(panel) == [
        "map",
        "map probabilities",
        "map entropy",
        "map mean of the signal",
        "map regions",
        "map walls",
    ]
    labels, walls = (panel.viewer.layers[f"map {name}"] for name in ("regions", "walls"))
    assert labels.features["share"].tolist() == [0.5, 0.5]
    assert set(walls.features["pair"]) == {"1-2"}
    for layer in (labels, walls):
        np.testing.assert_allclose(layer.scale, (0.5, 0.5))
        assert [str(unit) for unit in layer.units] == ["nanometer"] * 2
    assert labels.opacity == 0.4
    # Regions have a slider of their own: at every energy there is a share to see.
    shares = panel.viewer.layers["map probabilities"]
    assert shares.data.shape == (2, 1, 20, 30)
    low, high = shares.extent.world[:, 1]
    np.testing.assert_allclose((low + high) / 2, cube.extent.world[:, 0].mean())
    # The wall is between the columns of the two regions.
    start = labels.world_to_data(walls.data_to_world(walls.data[0, 0]))
    assert start[1] == pytest.approx(30 // 3 + 1 - 0.5)
    record = Record.from_dict(labels.metadata[KEY])
    assert record.inputs[0].source == "map"
    assert fake.given[0][0].signal_axis == "first"
    assert "2 regions." in panel.results.summary.text()


def test_the_quick_map_takes_the_mixture_model_alone(panel, fake):
    panel.quick()
    panel.wait()
    assert fake.given[0][0].method == "fast"
    assert panel.form.values()["method"] == "vae"


def test_the_next_map_takes_the_place_of_the_last_unless_it_was_renamed(panel):
    panel.run()
    panel.wait()
    panel.viewer.layers["map regions"].name = "kept"
    before = names(panel)
    panel.form.put({"wall_cost": 5.0})
    panel.run()
    panel.wait()
    assert sorted(names(panel)) == sorted([*before, "map regions"])
    assert (panel.viewer.layers["kept"].data[0] == 2).argmax() == 11
    assert (panel.viewer.layers["map regions"].data[0] == 2).argmax() == 15
    walls = panel.viewer.layers["map walls"]
    assert len(walls.edge_color) == len(walls.data) == len(walls.features)


def test_the_view_stays_where_it_is(panel, viewer, fake):
    panel.chooser.choose(viewer.add_image(np.ones((32, 32)), name="flat"))
    viewer.layers.remove("map")
    viewer.scene.camera.center, viewer.scene.camera.zoom = (3, 4), 7.5
    panel.run()
    panel.wait()
    assert viewer.scene.camera.center[-2:] == (3, 4)
    assert viewer.scene.camera.zoom == 7.5


def test_walls_do_not_outlive_the_map_that_had_them(panel):
    panel.run()
    panel.wait()
    assert "map walls" in names(panel)
    panel.form.put({"wall_cost": TOO_DEAR})
    panel.run()
    panel.wait()
    assert panel.errors == []
    assert names(panel) == [
        "map",
        "map probabilities",
        "map entropy",
        "map mean of the signal",
        "map regions",
    ]


def test_a_cube_with_the_spectra_behind_gets_a_map_on_its_own_axes(panel, viewer, fake):
    cube = viewer.add_image(np.ones((24, 20, 60), np.float32), name="raw")
    panel.chooser.choose(cube)
    panel.form.put({"signal_axis": "last"})
    panel.run()
    panel.wait()
    assert panel.errors == []
    assert viewer.layers["raw regions"].data.shape == (24, 20)
    assert fake.given[0][0].signal_axis == "last"
    assert not cube.visible
    assert viewer.layers["raw mean of the signal"].visible


def test_only_what_is_painted_is_mapped(panel, viewer, fake):
    inside = np.zeros((20, 30), np.uint8)
    inside[:5] = 1
    painted = viewer.add_labels(inside, name="painted")
    panel.masks.choose(painted)
    panel.run()
    panel.wait()
    np.testing.assert_array_equal(fake.given[0][2], inside > 0)
    assert not viewer.layers["map regions"].data[5:].any()
    viewer.layers.remove(painted)
    small = viewer.add_labels(inside[:7], name="small")
    panel.masks.choose(small)
    assert "7 x 30 pixels, but the scan 20 x 30" in panel.reading.text()
    panel.attempt(panel.run)
    assert "7 x 30" in panel.errors[0]


def test_results_are_not_offered_as_input(panel):
    panel.run()
    panel.wait()
    assert [panel.chooser.itemText(i) for i in range(panel.chooser.count())] == ["map"]
    assert panel.masks.count() == 1


def test_live_labels_come_and_go_and_the_last_map_steps_aside(panel, fake, qtbot):
    panel.quick()
    panel.wait()
    fake.steps, fake.pause = 400, 0.005
    panel.run()
    qtbot.waitUntil(lambda: panel.live.layer is not None, timeout=30000)
    last = panel.viewer.layers["map regions"]
    assert not last.visible
    assert "found by itself" in title(panel)
    panel.form.put({"wall_cost": 7.0})
    qtbot.waitUntil(lambda: bool(fake.heard), timeout=30000)
    assert fake.heard == [Tune(wall_cost=7.0)]
    panel.stop()
    panel.wait()
    assert last.visible
    assert names(panel).count("map regions") == 1
    assert not any("live" in name for name in names(panel))
    assert (last.data[0] == 2).argmax() == 17
    assert "found by itself" not in title(panel)


def test_a_failed_job_brings_the_last_map_back_unchanged(panel, fake):
    panel.quick()
    panel.wait()
    before = names(panel), panel.viewer.layers["map regions"].data.copy()
    fake.fails = UserError("The spectra hold negative counts: subtract no background.")
    panel.run()
    panel.wait()
    assert names(panel) == before[0]
    np.testing.assert_array_equal(panel.viewer.layers["map regions"].data, before[1])
    assert panel.viewer.layers["map regions"].visible
    assert "negative counts" in panel.errors[0]


def test_the_l_curve_gives_the_wall_cost_of_the_place_pointed_at():
    curve = CostCurve(WALLS)
    for wall in WALLS:
        assert curve.nearest(*curve.place(wall.wall_cost)) == wall.wall_cost
    assert 1 < curve.nearest(*curve.place(1.8)) < 3
    x = [curve.place(cost)[0] for cost in (0.3, 0.5, 1, 2, 3, 5)]
    assert x == sorted(x, reverse=True)


def test_walls_that_cost_nothing_have_a_place_on_the_l_curve():
    curve = CostCurve([replace(WALLS[0], wall_cost=0.0, length=900.0), *WALLS])
    assert curve.nearest(*curve.place(0.0)) == 0
    assert 0 < curve.nearest(*curve.place(0.2)) < 0.3


def test_marks_of_the_length_axis_never_crowd():
    assert [words for _, words in ticks(2.0, 2.7)] == ["100", "200", "500"]
    assert [words for _, words in ticks(4.0, 0.5)] == ["10", "100", "1000", "10000"]
    assert sum(2.2 < at < 2.5 for at, _ in ticks(2.2, 2.5)) >= 2


def test_pointing_at_the_l_curve_makes_the_map_follow(panel, fake, qtbot):
    panel.run()
    panel.wait()
    curve = panel.review.curve
    assert not curve.isHidden()
    assert curve.mark.pos().x() == pytest.approx(curve.curve.place(1.0)[0])
    curve.point_at(*curve.curve.place(10.0))
    assert panel.form.values()["wall_cost"] == 10
    qtbot.waitUntil(lambda: len(fake.given) == 2, timeout=30000)
    panel.wait()
    settings = fake.given[1][0]
    assert (settings.method, settings.regions, settings.wall_cost) == ("fast", 2, 10)
    assert (panel.viewer.layers["map regions"].data[0] == 2).argmax() == 20
    assert not curve.isHidden()  # the curve stays although the last job tried one cost alone
    assert "wall cost 10" in title(panel)
    assert "found by itself" not in title(panel)


def test_moving_on_while_the_map_follows_ends_at_the_last_place(panel, fake, qtbot):
    panel.run()
    panel.wait()
    fake.steps, fake.pause = 30, 0.01
    curve = panel.review.curve
    curve.point_at(*curve.curve.place(3.0))
    qtbot.waitUntil(lambda: panel.runner.running, timeout=30000)
    curve.point_at(*curve.curve.place(10.0))
    qtbot.waitUntil(lambda: len(fake.given) == 3, timeout=30000)
    panel.wait()
    assert fake.heard == []
    assert fake.given[-1][0].wall_cost == 10
    assert (panel.viewer.layers["map regions"].data[0] == 2).argmax() == 20


def test_the_map_that_follows_keeps_the_mask_it_was_made_with(panel, viewer, fake, qtbot):
    inside = np.ones((20, 30), np.uint8)
    inside[5:] = 0
    painted = viewer.add_labels(inside, name="painted")
    panel.masks.choose(painted)
    panel.quick()
    panel.wait()
    viewer.layers.remove(painted)
    panel.review.curve.point_at(*panel.review.curve.curve.place(10.0))
    qtbot.waitUntil(lambda: len(fake.given) == 2, timeout=30000)
    panel.wait()
    np.testing.assert_array_equal(fake.given[1][2], inside > 0)
    record = Record.from_dict(viewer.layers["map regions"].metadata[KEY])
    assert record.inputs[1].source == "painted"


def test_a_running_network_hears_of_the_place_pointed_at(panel, fake, qtbot):
    panel.quick()
    panel.wait()
    fake.steps, fake.pause = 400, 0.005
    panel.run()
    qtbot.waitUntil(lambda: panel.bar.value() > 0, timeout=30000)
    curve = panel.review.curve
    curve.point_at(*curve.curve.place(3.0))
    qtbot.waitUntil(lambda: bool(fake.heard), timeout=30000)
    assert fake.heard == [Tune(wall_cost=3.0)]
    panel.stop()
    panel.wait()
    assert len(fake.given) == 2


def test_a_wall_cost_taken_from_one_scan_is_not_used_for_the_next(panel, viewer):
    panel.run()
    panel.wait()
    panel.review.curve.point_at(*panel.review.curve.curve.place(10.0))
    assert not panel.review.isHidden()
    panel.chooser.choose(viewer.add_image(np.zeros((32, 32)), name="next"))
    assert panel.form.values()["wall_cost"] is None
    assert panel.review.isHidden()
    panel.chooser.choose(viewer.layers["map"])
    assert not panel.review.isHidden()


def test_behind_auto_is_what_was_found(panel):
    panel.run()
    panel.wait()
    editor = panel.form._editors["wall_cost"]
    assert panel.form.values()["wall_cost"] is None
    editor.auto.setChecked(False)
    assert panel.form.values()["wall_cost"] == 1.0


@pytest.mark.parametrize("kind", ["spectra", "channels", "lattice", "diffraction"])
def test_the_place_under_the_cursor_is_shown_beside_its_region(panel, viewer, fake, qtbot, kind):
    fake.kind = kind
    shape = {"channels": (3, 20, 30), "lattice": (20, 30), "diffraction": (20, 30, 8, 8)}
    if kind != "spectra":
        data = np.random.default_rng(0).random(shape[kind]).astype(np.float32)
        panel.chooser.choose(viewer.add_image(data, name=kind))
    panel.show()
    panel.run()
    panel.wait()
    labels = viewer.layers[f"{panel.chooser.layer.name} regions"]
    probe = panel.review.probe
    for pixel, words in (((3, 28), "region 2"), ((0, 0), "region 1")):
        world = labels.data_to_world(pixel)
        viewer.cursor.position = (*(0,) * (viewer.dims.ndim - 2), *world)
        assert probe.place() == pixel
        qtbot.waitUntil(lambda words=words: words in probe.words.text(), timeout=2000)
        assert f"y {pixel[0]}, x {pixel[1]}" in probe.words.text()
    if kind == "spectra":
        here = probe._curves[2].getData()
        np.testing.assert_allclose(here[0], ENERGY["values"])
        near = panel.chooser.layer.data[:, :3, :3].reshape(40, -1).mean(1)
        np.testing.assert_allclose(here[1], near)
    elif kind == "channels":
        assert "value 3" in probe.values.text()
    else:
        assert not any(picture.pixmap().isNull() for picture in probe.pictures)
    viewer.cursor.position = (*(0,) * (viewer.dims.ndim - 2), -1000, 0)
    assert probe.place() is None


def test_outside_of_the_mask_there_is_nothing_to_compare(panel, viewer, qtbot):
    inside = np.ones((20, 30), np.uint8)
    inside[:5] = 0
    panel.masks.choose(viewer.add_labels(inside, name="painted"))
    panel.show()
    panel.run()
    panel.wait()
    for pixel, words in (((10, 4), "region 1"), ((2, 4), "no data")):
        world = viewer.layers["map regions"].data_to_world(pixel)
        viewer.cursor.position = (*(0,) * (viewer.dims.ndim - 2), *world)
        qtbot.waitUntil(lambda words=words: words in panel.review.probe.words.text(), timeout=2000)
    assert panel.review.probe._curves[2].getData()[0] is None


def test_the_mouse_costs_nothing_before_there_is_a_map(panel, viewer):
    viewer.cursor.position = (0, 1, 1)
    assert panel.review.probe.place() is None
    assert not panel.review.probe._timer.isActive()


def test_what_was_decided_is_said(panel, fake):
    fake.kind = "lattice"
    panel.run()
    panel.wait()
    review = panel.review
    assert "Window 16 px, grid step 1 px. Wall cost 1." in review.notes.text()
    assert "<b>2</b>" in review.counts.text()
    assert "-400" in review.counts.text()
    assert counts_table((), 1) == ""
    assert "lattice period 5.3 px" in decided(Choices("lattice", 16, 4, 2, 1.0, period=5.3))


def test_the_map_is_exported_with_the_true_shape_of_its_pixels(panel, viewer, tmp_path):
    import tifffile

    image = viewer.add_image(np.zeros((32, 48)), name="oblong", scale=(4, 2), units=("nm", "nm"))
    panel.chooser.choose(image)
    panel.run()
    panel.wait()
    path = panel.results.export(tmp_path / "map.ome.tif")
    assert read_record(path).tool == "regions"
    with tifffile.TiffFile(path) as file:
        words = file.ome_metadata
    assert "walls" not in words
    assert 'PhysicalSizeX="0.002"' in words
    assert 'PhysicalSizeY="0.004"' in words


def test_a_report_is_saved_beside_the_map(panel, tmp_path):
    with pytest.raises(UserError, match="no map"):
        panel.save_report(tmp_path)
    assert not panel.report_button.isEnabled()
    panel.run()
    panel.wait()
    panel.save_report(tmp_path)
    assert (tmp_path / "map_regions.csv").is_file()
    assert str(tmp_path) in panel.message.text()
    assert panel.report_button.isEnabled()


def test_settings_of_a_scan_are_not_taken_over_to_the_next_session(panel, viewer, qtbot, fake):
    panel.form.put({"wall_cost": 4.0, "most_regions": 4, "kind": "spectra"})
    panel.quick()
    panel.wait()
    again = MapRegions(viewer)
    qtbot.addWidget(again)
    values = again.form.values()
    assert (values["wall_cost"], values["kind"], values["most_regions"]) == (None, "auto", 4)


def test_the_tool_itself_finds_the_halves_of_a_small_scan(viewer, qtbot):
    spectra = np.stack([np.hanning(32), np.roll(np.hanning(32), 6)]) + 0.1
    halves = (np.arange(24) > 9).astype(int)
    rates = np.broadcast_to(spectra[halves].T[:, None], (32, 20, 24))
    data = np.random.default_rng(0).poisson(6 * rates).astype(np.uint16)
    scan = viewer.add_image(data, name="halves", scale=(1, 3, 3), units=("pixel", "nm", "nm"))
    panel = MapRegions(viewer)
    qtbot.addWidget(panel)
    panel.form.put({"regions": 2, "wall_cost": 2.0, "device": "cpu"})
    panel.quick()
    qtbot.waitUntil(lambda: not panel.runner.running, timeout=30000)
    labels = viewer.layers["halves regions"]
    assert len(np.unique(labels.data[:, 10:])) == len(np.unique(labels.data[:, :10])) == 1
    np.testing.assert_allclose(labels.scale, scan.scale[1:])
    assert len(viewer.layers["halves walls"].data) > 0
    assert "60.0" in panel.results.summary.text() or "60 nm" in panel.results.summary.text()
    panel.abandon()
