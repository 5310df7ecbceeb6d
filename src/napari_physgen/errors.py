"""Errors meant for the person in front of the screen."""

from __future__ import annotations


class UserError(Exception):
    """What is wrong with the input and what to do about it, in one sentence.

    Shown as a notification in the viewer and as one line (exit code 2) on the
    command line; never as a traceback.
    """
