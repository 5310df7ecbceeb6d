"""The form shows any settings model and gives back exactly what it was given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent

from napari_physgen.app.form import SettingsForm
from napari_physgen.app.sliders import STEPS, Span
from napari_physgen.errors import UserError
from napari_physgen.settings import Settings, setting
from napari_physgen.sim.settings import SimSettings


class Everything(Settings):
    rate: float = setting(1e-3, title="Rate", description="Step size.", gt=0, lt=1)
    tiny: float = setting(2.5e-7, title="Tiny", description="Very small.")
    count: int = setting(3, title="Count", description="How many.", gt=0, le=10)
    on: bool = setting(False, title="On", description="Yes or no.")
    name: str = setting("cell", title="Name", description="Any text.")
    kind: Literal["a", "b"] = setting("a", title="Kind", description="One of two.")
    sizes: tuple[int, ...] = setting((1, 2), title="Sizes", description="A list.")
    file: Path | None = setting(None, title="File", description="A file.", advanced=True)
    weight: float | None = setting(
        None, title="Weight", description="Or auto.", advanced=True, tunable=True, ge=0
    )
    needed: float = setting(title="Needed", description="No default.", unit="nm", start=65.0)


class Choosy(Settings):
    """Fields that matter only for some choices, in a row, a table and the advanced section."""

    kind: Literal["a", "b", "c"] = setting("a", title="Kind", description="One of three.")
    always: int = setting(1, title="Always", description="Matters everywhere.")
    first: int = setting(1, title="First", description="A.", only={"kind": ("a",)})
    second: float = setting(
        0.5, title="Second", description="B.", only={"kind": ("b", "c")}, ge=0, le=1
    )
    rare: int = setting(
        7, title="Rare", description="C.", only={"kind": ("c",)}, advanced=True, tunable=True
    )


@pytest.fixture
def form(qtbot):
    widget = SettingsForm(Everything)
    qtbot.addWidget(widget)
    return widget


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rate": 1e-3, "tiny": 3e-9},
        {"rate": 0.12345678901234567, "needed": 86.67000000000002},
        {"count": 10, "on": True, "name": "raw 1", "kind": "b", "sizes": (4, 5, 6)},
        {"file": Path("/tmp/otf.tif"), "weight": 1e-4},
        {"weight": 0.0},
    ],
)
def test_settings_come_back_exactly_as_they_were_put(form, changes):
    settings = Everything(**({"needed": 65.0} | changes))
    form.set_value(settings)
    assert form.value() == settings


def test_the_form_starts_with_the_defaults_of_the_model(form):
    assert form.value() == Everything(needed=65.0)


def test_the_sim_form_starts_with_values_that_can_be_run(qtbot):
    form = SettingsForm(SimSettings)
    qtbot.addWidget(form)
    assert form.value() == SimSettings(na=1.49, wavelength_nm=525, pixel_size_nm=65)


@pytest.mark.parametrize(("text", "value"), [("3e-4", 3e-4), ("0.001 ", 1e-3), ("0,25", 0.25)])
def test_typed_numbers_count_without_pressing_enter(form, text, value):
    form._editors["rate"].box.lineEdit().setText(text)
    assert form.value().rate == pytest.approx(value, rel=1e-12)


def test_an_arrow_changes_the_second_digit_of_a_small_number(form):
    box = form._editors["rate"].box
    box.stepBy(1)
    assert form.value().rate == pytest.approx(1.1e-3)


@pytest.mark.parametrize(("name", "low", "high"), [("count", 1, 10), ("rate", 0, 1)])
def test_numbers_stay_within_the_bounds_of_the_model(form, name, low, high):
    for wild in (-1000, 1000):
        form.put({name: wild})
        assert low <= form.values()[name] <= high
        form.value()


def test_an_impossible_setting_is_said_in_one_sentence(qtbot):
    form = SettingsForm(SimSettings)
    qtbot.addWidget(form)
    form.put({"wavelength_nm": 0.525})
    with pytest.raises(UserError, match="looks like micrometres"):
        form.value()


def test_an_edit_is_told_once_with_the_name_of_the_field(form, qtbot):
    with qtbot.waitSignal(form.changed) as told:
        form.put({"count": 5})
    assert told.args == ["count"]


def test_auto_hides_the_number_that_is_not_used(form):
    assert form._editors["weight"].editor.isHidden()
    form.put({"weight": 0.5})
    assert not form._editors["weight"].editor.isHidden()


def test_a_running_job_leaves_only_tunable_fields_open(form):
    form.lock(True)
    open_fields = {name for name, editor in form._editors.items() if editor.isEnabled()}
    assert open_fields == {"weight"}


def test_hidden_fields_keep_their_value(qtbot):
    form = SettingsForm(Everything, hidden=("rate", "weight"))
    qtbot.addWidget(form)
    settings = Everything(needed=1.0, rate=0.5, weight=2.0)
    form.set_value(settings)
    assert form.value() == settings


@pytest.fixture
def choosy(qtbot):
    widget = SettingsForm(
        Choosy, rows=[("Row", ("first",))], sliders={"second": Span(0, 1), "first": Span(1, 100)}
    )
    qtbot.addWidget(widget)
    return widget


def visible(form):
    return {name for name, editor in form._editors.items() if editor.isVisibleTo(form)}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [("a", {"first"}), ("b", {"second"}), ("c", {"second", "rare"})],
)
def test_fields_are_shown_only_with_the_choices_that_they_matter_for(choosy, kind, fields):
    choosy.put({"kind": "c"})
    choosy.put({"kind": kind})
    choosy.advanced.expand()
    assert visible(choosy) == {"kind", "always"} | fields
    assert {name for name in Choosy.model_fields if choosy.matters(name)} == visible(choosy)
    # A row or a section of which nothing is left goes, too, and with it its title.
    assert choosy.advanced.isHidden() == (kind != "c")
    assert choosy._lines[0][0].isHidden() == (kind != "a")


def test_a_field_that_does_not_matter_keeps_its_value(choosy):
    settings = Choosy(kind="b", first=9, second=0.25, rare=3)
    choosy.set_value(settings)
    assert choosy.value() == settings


def test_a_choice_that_is_not_shown_still_decides(qtbot):
    form = SettingsForm(Choosy, hidden=("kind",))
    qtbot.addWidget(form)
    assert "second" not in visible(form)


def test_a_slider_and_its_box_agree_and_the_box_knows_more(choosy, qtbot):
    editor = choosy._editors["second"]
    with qtbot.waitSignal(choosy.changed) as told:
        editor.slider.setValue(50)
    assert told.args == ["second"]
    assert choosy.value().second == 0.25
    choosy.put({"second": 1 / 3})
    assert choosy.value().second == 1 / 3
    assert editor.slider.value() == 67


def test_a_slider_of_whole_numbers_gives_whole_numbers(choosy):
    for step in range(0, 201, 7):
        choosy._editors["first"].slider.setValue(step)
        assert isinstance(choosy.value().first, int)


@pytest.mark.parametrize("span", [Span(0.05, 0.95), Span(10, 10000, log=True), Span(-90, 90)])
def test_every_slider_position_gives_a_number_within_its_span_that_leads_back(span):
    numbers = [span.value(step) for step in range(STEPS + 1)]
    assert numbers == sorted(numbers)
    assert (numbers[0], numbers[-1]) == (span.low, span.high)
    assert all(abs(span.step(span.value(step)) - step) <= 1 for step in range(STEPS + 1))


def test_scrolling_past_a_number_does_not_change_it(form):
    box = form._editors["count"].box
    event = QWheelEvent(
        QPointF(5, 5),
        QPointF(5, 5),
        QPoint(0, 120),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    box.wheelEvent(event)
    assert form.value().count == 3
    assert not event.isAccepted()


def test_unit_and_tooltip_come_from_the_model(form):
    editor = form._editors["needed"]
    assert editor.box.text() == "65 nm"
    assert "No default." in editor.toolTip()


class Groups(Settings):
    groups: Annotated[int, Field(ge=1, le=16)] | Literal["auto"] = setting(
        "auto", title="Groups", description="How many, or auto."
    )


def test_a_number_or_the_word_auto_is_a_box_behind_a_tick(qtbot):
    form = SettingsForm(Groups)
    qtbot.addWidget(form)
    assert form.value() == Groups()
    form.put({"groups": 4})
    assert form.value().groups == 4
    box = form._editors["groups"].editor.box
    assert (box.minimum(), box.maximum()) == (1, 16)
    form.put({"groups": "auto"})
    assert form.value().groups == "auto"
