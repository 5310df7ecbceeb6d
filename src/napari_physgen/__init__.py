"""Physics-informed generative microscopy in napari."""

from importlib.metadata import version

__version__ = version("napari-physgen")
