"""What the manifest promises exists, and importing it costs nothing."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest
from npe2 import PluginManifest

MANIFEST = PluginManifest.from_distribution("napari-physgen")


@pytest.mark.parametrize("command", MANIFEST.contributions.commands, ids=lambda c: c.id)
def test_every_command_can_be_called(command):
    assert callable(pkgutil.resolve_name(command.python_name))


def test_every_contribution_refers_to_a_command():
    contributions = MANIFEST.contributions
    ids = {command.id for command in contributions.commands}
    used = {item.command for item in contributions.widgets + contributions.writers}
    used |= {item.command for item in contributions.readers}
    used |= {item.command for item in contributions.sample_data}
    used |= {item.command for menu in contributions.menus.values() for item in menu}
    assert used == ids


def test_titles_in_the_palette_begin_with_a_verb():
    verbs = {
        "Reconstruct",
        "Restore",
        "Generate",
        "Simulate",
        "Segment",
        "Map",
        "Export",
        "Save",
        "Open",
    }
    assert {command.title.split()[0] for command in MANIFEST.contributions.commands} <= verbs


def test_nothing_that_the_manifest_names_imports_torch():
    modules = sorted({c.python_name.split(":")[0] for c in MANIFEST.contributions.commands})
    code = (
        f"import sys, importlib; [importlib.import_module(m) for m in {modules}]; "
        "heavy = {'torch', 'monai', 'sklearn', 'lightning_fabric', 'skimage', 'pyqtgraph'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
