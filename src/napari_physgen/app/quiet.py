"""Warnings of libraries are for the log, not for the person at the microscope.

superqt's workers use `warnings.catch_warnings` for that, which changes the whole process: of two
workers that overlap, the first to end puts back what was, the second to end what the first had
set, and every later warning goes to an object that is gone. Here the hook looks at who warns.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from functools import wraps
from threading import get_ident
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG = logging.getLogger(__name__)
_quiet: set[int] = set()
_ours: Any = None


@contextmanager
def warnings_to_log() -> Iterator[None]:
    """Log what the current thread warns of; other threads warn as ever."""
    _look_who_warns()
    _quiet.add(get_ident())
    try:
        yield
    finally:
        _quiet.discard(get_ident())


def _look_who_warns() -> None:
    global _ours
    shown = warnings.showwarning
    if shown is _ours:
        return

    @wraps(shown)
    def show(message: Warning | str, *where: Any, **more: Any) -> None:
        if get_ident() in _quiet:
            LOG.warning("%s", message)
        else:
            shown(message, *where, **more)

    _ours = warnings.showwarning = show
