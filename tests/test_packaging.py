"""What the wheel, the manifest and the tree promise to each other."""

from __future__ import annotations

import re
from importlib.metadata import distribution
from pathlib import Path

import npe2
import pytest

import napari_physgen
from napari_physgen import recipe

PACKAGE = Path(napari_physgen.__file__).parent
ROOT = PACKAGE.parents[1]
MANIFEST = npe2.PluginManifest.from_distribution("napari-physgen")
in_tree = pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="installed wheel")


def test_the_entry_point_leads_to_the_manifest_in_the_package():
    (entry,) = distribution("napari-physgen").entry_points.select(group="napari.manifest")
    assert entry.value == "napari_physgen:napari.yaml"
    assert (PACKAGE / "napari.yaml").is_file()
    assert MANIFEST.name == "napari-physgen"


@in_tree
def test_the_manifest_at_the_top_is_the_one_in_the_package():
    assert (ROOT / "napari.yaml").resolve() == (PACKAGE / "napari.yaml").resolve()


@in_tree
def test_the_changelog_tells_about_this_version_and_the_readme_about_every_tool():
    assert napari_physgen.__version__ in (ROOT / "CHANGELOG.md").read_text("utf-8")
    readme = (ROOT / "README.md").read_text("utf-8")
    assert all(f"`{name}`" in readme for name in recipe.TOOLS)


def test_no_qt_binding_is_a_base_requirement():
    base = [line for line in distribution("napari-physgen").requires if "extra ==" not in line]
    names = {re.split(r"[^\w\[\]-]", line.lower())[0] for line in base}
    assert {"napari", "torch"} <= names
    assert not names & {"pyqt5", "pyqt6", "pyside2", "pyside6", "napari[all]", "torchvision"}
