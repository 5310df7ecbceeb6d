"""Sphinx: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

from napari_physgen import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from constants import constants

project = "napari-physgen"
author = "napari-physgen developers"
copyright = "napari-physgen developers"
version = release = __version__

extensions = [
    "generated",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build", "_ext"]
nitpicky = False

myst_enable_extensions = ["dollarmath", "substitution"]
myst_heading_anchors = 3
myst_substitutions = constants()

autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "pydata_sphinx_theme"
html_title = "napari-physgen"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
}
