"""Starting napari with the plugin installed costs nothing until a tool is used.

The modules that the manifest names are tested in tests/app/test_manifest.py.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "monai", "lightning_fabric", "sklearn")
LIGHT = ["", ".sim", ".backend", ".io", ".recipe", ".cli", ".provenance", ".settings", ".synthesis"]
LIGHT += [f".synthesis.{name}" for name in ("settings", "results", "presets")]
LIGHT += [f".synthesis.{name}" for name in ("dataset_settings", "calibration_settings")]
LIGHT += [".regions", ".regions.settings", ".regions.results", ".io.scans", ".app.reader"]


def loaded_after(code: str) -> set[str]:
    """Return the modules that a fresh Python holds after running `code`."""
    code += "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return set(json.loads(output.splitlines()[-1]))


@pytest.mark.parametrize("module", [f"napari_physgen{name}" for name in LIGHT])
def test_importing_the_package_loads_neither_torch_nor_qt(module):
    loaded = loaded_after(f"import {module}")
    assert not loaded.intersection((*HEAVY, "napari", "qtpy", "PyQt6", "skimage"))


@pytest.mark.parametrize("command", ["sim", "simulate", "dataset", "calibrate", "pfhub", "regions"])
def test_help_on_the_command_line_loads_neither_torch_nor_qt(command):
    code = f"from napari_physgen.cli import main\nmain(['{command}', '--help'])"
    assert not loaded_after(code).intersection((*HEAVY, "napari", "qtpy", "PyQt6"))


def test_discovering_the_manifest_imports_nothing_of_ours():
    """napari reads the manifest of every plugin at start: reading must be all it does."""
    code = (
        "import npe2\n"
        "manager = npe2.PluginManager.instance()\n"
        "manager.discover()\n"
        "assert manager.get_manifest('napari-physgen')"
    )
    loaded = loaded_after(code)
    assert not [name for name in loaded if name.startswith("napari_physgen.")]
    assert not loaded.intersection(HEAVY)


def test_reading_the_manifest_takes_less_than_50_ms():
    """Beside finding its file, this is the whole price at the start of napari."""
    code = (
        "import time, npe2\n"
        "from importlib.metadata import distribution\n"
        "list(npe2.PluginManifest.discover())\n"
        "dist = distribution('napari-physgen')\n"
        "times = []\n"
        "for _ in range(5):\n"
        "    start = time.perf_counter()\n"
        "    npe2.PluginManifest.from_distribution('napari-physgen')\n"
        "    times.append(time.perf_counter() - start)\n"
        "print(min(times))"
    )
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert float(output.splitlines()[-1]) < 0.05
