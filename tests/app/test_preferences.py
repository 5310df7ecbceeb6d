"""Preferences live on napari's own page and are what forms start with."""

from __future__ import annotations

import pytest
from napari.settings import get_plugin_settings
from npe2 import PluginManifest

from napari_physgen.app import preferences
from napari_physgen.app.widgets.sim import ReconstructSim
from napari_physgen.sim.settings import SimSettings

SETTINGS = SimSettings(na=1.2, wavelength_nm=525, pixel_size_nm=80, regularisation=1e-3, otf="/a/b")


@pytest.fixture
def page(plugin_settings, npe2pm):
    """The plugin's page in napari's Preferences, in a folder of its own."""
    npe2pm.register(PluginManifest.from_distribution("napari-physgen"))
    return get_plugin_settings("napari-physgen")


def test_forms_start_with_the_preferred_device_and_precision(page, viewer, qtbot, monkeypatch):
    monkeypatch.setattr("napari_physgen.app.job_panel.preference", preferences.preference)
    preferences.remember("sim", SETTINGS.model_copy(update={"device": "mps"}))
    page.computing.device = "cpu"
    page.computing.precision = "bf16-mixed"
    panel = ReconstructSim(viewer)
    qtbot.addWidget(panel)
    assert panel.form.values()["device"] == "cpu"
    assert panel.form.values()["precision"] == "bf16-mixed"
    assert panel.form.values()["regularisation"] == 1e-3


def test_a_device_that_does_not_exist_is_refused(page):
    with pytest.raises(ValueError, match="auto"):
        page.computing.device = "abacus"


def test_without_the_plugin_installed_there_are_no_preferences():
    assert preferences.preference("no such thing") is None


def test_settings_are_remembered_exactly():
    preferences.remember("sim", SETTINGS)
    assert SimSettings.parse(preferences.recall("sim")) == SETTINGS


def test_nothing_is_remembered_where_nothing_can_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(preferences, "config_dir", lambda: tmp_path / "file" / "folder")
    preferences.remember("sim", SETTINGS)
    assert preferences.recall("sim") == {}


def test_save_dialogs_open_in_the_preferred_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(preferences, "preference", lambda name: str(tmp_path))
    assert preferences.output_folder() == tmp_path
    monkeypatch.setattr(preferences, "preference", lambda name: str(tmp_path / "gone"))
    assert preferences.output_folder().is_dir()
