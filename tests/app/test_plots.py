"""Curves show what the tool chose, across the stages of a job."""

from __future__ import annotations

import numpy as np
import pytest

from napari_physgen.app.plots import MOST, Comparison, LiveCurves


@pytest.fixture
def curves(qtbot):
    widget = LiveCurves({"held-out": "misfit"})
    qtbot.addWidget(widget)
    return widget


def test_only_the_chosen_figures_are_drawn(curves):
    curves.add([(0, {"loss": 5.0})])
    assert curves.isHidden()
    curves.add([(1, {"loss": 4.0, "held-out": 2.0})])
    assert not curves.isHidden()
    assert curves.points == {"held-out": ([1], [2.0])}


def test_a_new_stage_goes_on_to_the_right(curves):
    for _ in range(2):
        curves.add([(step, {"held-out": 1.0}) for step in range(3)])
    assert curves.points["held-out"][0] == [0, 1, 2, 2, 3, 4]


def test_the_steep_start_does_not_flatten_the_rest(curves):
    curves.add([(step, {"held-out": 100.0 if step < 10 else 1 + 1 / step}) for step in range(100)])
    low, high = curves._plot.viewRange()[1]
    assert low < 1.02
    assert high < 1.2


def test_the_network_is_seen_after_the_long_fall_of_the_variational_image(curves):
    fall = [(step, {"held-out": 1.06 + 100 * 0.8**step}) for step in range(0, 250, 10)]
    network = [(step, {"held-out": 1.06 - step * 1e-4}) for step in range(0, 301, 10)]
    curves.add(fall)
    curves.add(network)
    low, high = curves._plot.viewRange()[1]
    assert (low, high) == pytest.approx((1.03, 1.06), abs=0.02)
    assert curves.points["held-out"][0][-1] == 240 + 300


def test_long_runs_are_thinned_and_numbers_that_are_none_are_harmless(curves):
    for start in range(0, 3 * MOST, MOST):
        curves.add([(start + i, {"held-out": float("nan")}) for i in range(MOST)])
    assert len(curves.points["held-out"][0]) <= MOST


def test_clearing_starts_over(curves):
    curves.add([(7, {"held-out": 1.0})])
    curves.clear()
    assert curves.isHidden()
    curves.add([(0, {"held-out": 3.0})])
    assert curves.points["held-out"] == ([0], [3.0])


@pytest.fixture
def over_time(qtbot):
    widget = LiveCurves({"energy": "free energy"}, along="time")
    qtbot.addWidget(widget)
    return widget


def test_a_curve_over_time_has_a_logarithmic_axis_and_no_zero(over_time):
    over_time.add([(i, {"time": float(i), "energy": 100.0 - i}) for i in range(5)])
    assert over_time.points["energy"] == ([1, 2, 3, 4], [99, 98, 97, 96])
    assert over_time._plot.getAxis("bottom").logMode
    low, high = over_time._plot.viewRange()[1]
    assert low < 96
    assert high > 99


def test_a_result_replaces_its_live_curve(over_time):
    over_time.add([(1, {"time": 1.0, "energy": 5.0})])
    over_time.replace("energy", [0, 2, 4], [9, 8, 7])
    assert over_time.points["energy"] == ([2, 4], [8, 7])
    over_time.replace("energy", range(3 * MOST), range(3 * MOST))
    assert len(over_time.points["energy"][0]) <= MOST


def test_a_comparison_draws_both_curves_and_starts_over(qtbot):
    widget = Comparison({"spectrum": "power spectrum", "correlation": "two-point correlation"})
    qtbot.addWidget(widget)
    assert widget.isHidden()
    x = np.linspace(0, 1, 9)
    for _ in range(2):
        widget.show_curves({"spectrum": (x, x, x**2)}, {"spectrum": "1/nm"})
    (plot,) = widget.plots.values()
    drawn = [item.getData()[1] for item in plot.listDataItems()]
    np.testing.assert_array_equal(drawn, [x, x**2])
    assert plot.getAxis("bottom").labelText == "1/nm"
