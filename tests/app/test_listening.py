"""Widgets listen to the viewer as long as both live."""

from __future__ import annotations

import gc
import weakref

import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import QWidget

from napari_physgen.app.listening import listen

pytestmark = pytest.mark.gui


class Listener(QWidget):
    def __init__(self, viewer: ViewerModel, heard: list[object]) -> None:
        super().__init__()
        self.heard = heard
        listen(self, viewer.cursor.events.position, self._moved)

    def _moved(self, event: object) -> None:
        self.heard.append(event)


def destroy(widget: QWidget) -> None:
    widget.deleteLater()
    QCoreApplication.sendPostedEvents(widget, QEvent.Type.DeferredDelete)


def test_a_widget_hears_until_it_is_destroyed(qtbot):
    viewer, heard = ViewerModel(), []
    widget = Listener(viewer, heard)
    viewer.cursor.position = (3, 4)
    assert len(heard) == 1
    destroy(widget)
    viewer.cursor.position = (5, 6)
    assert len(heard) == 1


def test_a_viewer_can_be_thrown_away_before_its_listener(qtbot):
    viewer = ViewerModel()
    widget = Listener(viewer, [])
    gone = weakref.ref(viewer)
    del viewer
    gc.collect()
    assert gone() is None
    with qtbot.capture_exceptions() as raised:
        destroy(widget)
    assert not raised
