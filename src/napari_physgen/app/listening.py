"""Widgets that listen to the viewer."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.utils.events import EventEmitter
    from qtpy.QtWidgets import QWidget


def listen(widget: QWidget, emitter: EventEmitter, callback: Callable[..., Any]) -> None:
    """Have events of the viewer call a method of a widget, for as long as the widget lives."""
    emitter.connect(callback)
    source = weakref.ref(emitter)

    def end() -> None:
        # Viewer and widget may be thrown away together: what is left of the viewer is then no use.
        still = source()
        if still is not None:
            still.disconnect(callback)

    widget.destroyed.connect(end)
