"""USID: measurements unrolled into (position, spectroscopic step) tables.

Every main dataset refers to tables that give, for each of its rows and columns, the index along
the axes that were unrolled; the fastest axis comes first (pycroscopy.github.io/USID).
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from napari_physgen.io._scan_axes import Axis, Role
from napari_physgen.io._scan_file import ScanFile, scan_files
from napari_physgen.io._scan_units import text

_TABLES = ("Position_Indices", "Position_Values", "Spectroscopic_Indices", "Spectroscopic_Values")


def is_usid(dataset: Any) -> bool:
    """Whether a dataset is a main dataset of USID."""
    return dataset.ndim == 2 and all(table in dataset.attrs for table in _TABLES)


def usid_scans(name: str, dataset: Any, data: Any) -> list[ScanFile]:
    """Return a main dataset rolled up again, from the slowest to the fastest axis.

    Parameters
    ----------
    name : str
    dataset : h5py.Dataset
        With its references.
    data : array
        (position, step), in memory or lazy.
    """
    tables = [dataset.file[dataset.attrs[table]] for table in _TABLES]
    positions = _unrolled(tables[0], tables[1], "scan", data.shape[0])
    steps = _unrolled(tables[2], tables[3], "signal", data.shape[1])
    sizes = [size for _, size in (*positions, *steps)]
    axes = [axis for axis, _ in (*positions, *steps)]
    return scan_files(name, data.reshape(sizes), axes, text(dataset.attrs.get("quantity", "")))


def _unrolled(indices: Any, values: Any, role: Role, total: int) -> list[tuple[Axis, int]]:
    """Return axes and their lengths, slowest first; one axis where the grid has holes."""
    table, at = np.asarray(indices[()]), np.asarray(values[()], float)
    if role == "scan":
        table, at = table.T, at.T  # positions are rows, spectroscopic steps are columns
    labels = _texts(indices.attrs.get("labels"), len(table))
    units = _texts(indices.attrs.get("units"), len(table))
    changes = [np.count_nonzero(np.diff(row)) for row in table]
    axes = []
    for i in np.argsort(changes, kind="stable"):
        _, first = np.unique(table[i], return_index=True)
        axis = Axis(labels[i], units[i], values=at[i][first], role=_role(role, len(first)))
        axes.append((axis, len(first)))
    if prod(size for _, size in axes) != total:
        return [(Axis(labels[0], role=role), total)]
    return axes


def _role(role: Role, size: int) -> Role:
    return "" if size == 1 else role


def _texts(value: Any, count: int) -> list[str]:
    found = [] if value is None else [text(item) for item in np.atleast_1d(value)]
    return (found + [""] * count)[:count]
