"""A SIM tool that takes no time, and panels that forget everything after the test."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_physgen import recipe
from napari_physgen.backend import Progress, Stop, Tune
from napari_physgen.outputs import Output
from napari_physgen.sim.results import Patterns, Reconstruction


@dataclass
class FakeSim:
    """Jobs with the contract of the SIM tool; the test says how they behave."""

    pause: float = 0.005
    fails: Exception | None = None
    heard: list[Any] = field(default_factory=list)
    previews: list[float] = field(default_factory=list)
    given: Any = None
    closed: int = 0

    def estimate_patterns(self, raw, settings):
        yield Progress(1, 1, "patterns")
        return fake_patterns(settings)

    def reconstruct(self, raw, settings, patterns=None):
        self.given = patterns
        patterns = patterns or fake_patterns(settings)
        image = np.kron(raw.mean(0), np.ones((settings.zoom, settings.zoom))).astype(np.float32)

        def preview():
            self.previews.append(time.monotonic())
            return [Output("SIM", image, zoom=settings.zoom)]

        try:
            for step in range(settings.iterations):
                time.sleep(self.pause)
                if self.fails and step == 3:
                    raise self.fails
                command = yield Progress(
                    step,
                    settings.iterations,
                    "variational",
                    {"held-out": 1 + 1 / (step + 1)},
                    preview,
                )
                if command is not None:
                    self.heard.append(command)
                if isinstance(command, Tune):
                    settings = settings.tuned(**command.changes)
                if isinstance(command, Stop):
                    break
        finally:
            self.closed += 1
        mean = raw.mean(0).astype(np.float32)
        return Reconstruction(
            image,
            None,
            mean,
            image,
            mean,
            1.0,
            patterns,
            "variational",
            "All is well.",
            {"chi2": 1},
        )


def fake_patterns(settings) -> Patterns:
    return Patterns(
        wavevectors=np.array([[0, 4.0], [3.46, 2], [3.46, -2]]),
        phases=np.zeros((settings.angles, settings.phases)),
        modulation=np.full(settings.angles, 0.5),
        peak_ratio=np.full(settings.angles, 9.0),
        order="angle-phase",
        verdict="good",
        pixel_size_nm=settings.pixel_size_nm,
        figures=(Output("spectrum", np.ones((32, 32), np.float32), offset=(0, 100)),),
    )


@pytest.fixture
def fake_sim(monkeypatch):
    """The SIM tool replaced by one that takes no time."""
    fake = FakeSim()
    tool = recipe.TOOLS["sim"]
    job = SimpleNamespace(settings_class=tool.settings_class, job_function=lambda: fake.reconstruct)
    monkeypatch.setitem(recipe.TOOLS, "sim", job)
    monkeypatch.setattr(
        "napari_physgen.sim.estimate_patterns", fake.estimate_patterns, raising=False
    )
    return fake


@pytest.fixture(autouse=True)
def config(monkeypatch, tmp_path):
    """Nothing of the user's own settings is read or written."""
    folder = tmp_path / "config"
    monkeypatch.setattr("napari_physgen.app.preferences.config_dir", lambda: folder)
    monkeypatch.setattr("napari_physgen.app.job_panel.preference", lambda name: None)
    return folder


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def add_raw(viewer):
    """Add a raw stack of 80 nm pixels to the viewer."""
    return partial(_add_raw, viewer)


def _add_raw(viewer, shape=(9, 64, 72), **arguments):
    raw = np.random.default_rng(0).poisson(50, shape).astype(np.uint16)
    lead = len(shape) - 2
    arguments = {
        "name": "cell",
        "scale": (1,) * lead + (0.08, 0.08),
        "units": ("pixel",) * lead + ("um", "um"),
    } | arguments
    return viewer.add_image(raw, **arguments)


@pytest.fixture
def panel(viewer, add_raw, qtbot, fake_sim, monkeypatch):
    """The SIM panel on a viewer with one raw stack; `panel.errors` are the sentences shown."""
    from napari_physgen.app.widgets.sim import ReconstructSim

    errors: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_error", errors.append)
    add_raw()
    widget = ReconstructSim(viewer)
    widget.errors = errors
    qtbot.addWidget(widget)
    widget.wait = lambda: qtbot.waitUntil(lambda: not widget.runner.running, timeout=10000)
    widget.form.put({"iterations": 20, "na": 1.2})
    yield widget
    widget.abandon()


@pytest.fixture
def errors(monkeypatch):
    """The sentences shown; one that begins with "traceback" is a bug."""
    told: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_error", told.append)
    monkeypatch.setattr(
        "napari.utils.notifications.notification_manager.receive_error",
        lambda kind, error, trace: told.append(f"traceback: {error!r}"),
    )
    return told


@pytest.fixture
def opened(viewer, qtbot, errors):
    """Open a panel; `panel.press(text)` clicks and waits, `panel.errors` are the sentences."""
    panels = []

    def press(panel, text):
        next(button for button in panel.buttons if button.text() == text).click()
        panel.wait()

    def open_it(kind):
        panel = kind(viewer)
        panel.errors = errors
        panel.press = partial(press, panel)
        panel.wait = lambda: qtbot.waitUntil(lambda: not panel.runner.running, timeout=60000)
        qtbot.addWidget(panel)
        panels.append(panel)
        return panel

    yield open_it
    for panel in panels:
        panel.abandon()
