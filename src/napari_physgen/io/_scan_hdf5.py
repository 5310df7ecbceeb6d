"""HDF5 files: NSID, USID, NCEM/py4DSTEM EMD, HyperSpy, NeXus, and whatever else holds numbers.

All of them are arrays with axes beside them; they differ in where the axes are written.
NSID: github.com/pycroscopy/pyNSID; USID: pycroscopy.github.io/USID; EMD:
emdatasets.com/format; HyperSpy: one group axis-i per axis.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_physgen.io._scan_axes import Axis, Role, roles, signal_roles
from napari_physgen.io._scan_file import LAZY_ABOVE, ScanFile, scan_files
from napari_physgen.io._scan_numpy import axes_beside, is_vector
from napari_physgen.io._scan_units import text
from napari_physgen.io._scan_usid import is_usid, usid_scans

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_DIMENSIONS: dict[str, Role] = {
    "SPATIAL": "scan",
    "SPECTRAL": "signal",
    "RECIPROCAL": "pattern",
    "TEMPORAL": "frame",
    "FRAME": "frame",
    "TIME": "frame",
    "CHANNEL": "signal",
}
_ANCILLARY = re.compile(
    r"(^|/)(_axes|__dict__|(original_)?metadata|learning_results|metadatabundle"
    r"|(Position|Spectroscopic)_(Indices|Values)|dim\d+)(/|$)"
)
_BLOCK = 2**24  # bytes
_UNTELLING = {"data", "raw_data", "image", "generic", "dataset"}


@dataclass(frozen=True)
class H5Array:
    """A dataset that opens its file for every read, so that no file stays open behind a layer.

    Parameters
    ----------
    path : path
    key : str
        Name of the dataset in the file.
    shape, dtype
        Of the dataset.
    """

    path: Path
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, index: Any) -> Any:
        import h5py

        with h5py.File(self.path, "r") as file:
            return file[self.key][index]


def h5_array(dataset: Any, found: Sequence[Role]) -> Any:
    """Return a dataset's values, or a dask array of them where they are many.

    Blocks keep the length that the file has along signal axes and grow along the others, so that
    a slider over energies does not read the whole map for every picture.
    """
    if dataset.size * dataset.dtype.itemsize <= LAZY_ABOVE:
        return dataset[()]
    import dask.array

    source = H5Array(dataset.file.filename, dataset.name, dataset.shape, dataset.dtype)
    stored = dataset.chunks or (1, *dataset.shape[1:])
    wanted = [n if role == "signal" else "auto" for n, role in zip(stored, found, strict=True)]
    blocks = dask.array.core.normalize_chunks(  # type: ignore[no-untyped-call]
        wanted, dataset.shape, _BLOCK, dataset.dtype, previous_chunks=stored
    )
    return dask.array.from_array(source, blocks, name=False)  # type: ignore[no-untyped-call]


def read_hdf5(path: Path) -> list[ScanFile]:
    """Read every data set of a file that is no axis or note of another."""
    import h5py

    with h5py.File(path, "r") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if _is_data(name, item) else None)
        scans: list[ScanFile] = []
        for name in names:
            dataset = file[name]
            title = _title(dataset, names)
            if is_usid(dataset):
                scans += usid_scans(title, dataset, h5_array(dataset, ("scan", "signal")))
            else:
                axes = _axes(dataset)
                data = h5_array(dataset, roles(axes, dataset.shape))
                scans += scan_files(title, data, axes, _modality(dataset))
    return scans


def _is_data(name: str, item: Any) -> bool:
    import h5py

    if not isinstance(item, h5py.Dataset) or not item.shape or 0 in item.shape:
        return False
    numbers = item.dtype.kind in "buifc" or _numeric_fields(item.dtype)
    return (
        numbers
        and item.attrs.get("CLASS") != b"DIMENSION_SCALE"
        and not _ANCILLARY.search(name)
        and not is_vector(name.rpartition("/")[2], item.ndim)
    )


def _numeric_fields(dtype: np.dtype[Any]) -> bool:
    names = dtype.names
    return names is not None and any(dtype[name].kind in "buifc" for name in names)


def _title(dataset: Any, names: list[str]) -> str:
    """Return the shortest telling name: the title, the dataset's name, its group's, or the path."""
    said = text(dataset.parent.attrs.get("title", ""))
    parts: list[str] = [part for part in dataset.name.split("/") if part]
    group = dataset.parent.name.strip("/")
    siblings = [name for name in names if name.rpartition("/")[0] == group]
    namesakes = [name for name in names if name.rpartition("/")[2] == parts[-1]]
    if said and len(siblings) == 1:
        return said
    if parts[-1].lower() in _UNTELLING and len(parts) > 1 and len(siblings) == 1:
        return parts[-2]
    return parts[-1] if len(namesakes) == 1 else "/".join(dict.fromkeys(parts))


def _modality(dataset: Any) -> str:
    """Return what HyperSpy or NSID say about the kind of signal."""
    signal = dataset.parent.get("metadata/Signal")
    if signal is not None:
        return text(signal.attrs.get("signal_type", ""))
    return text(dataset.attrs.get("modality", "")) + " " + text(dataset.attrs.get("data_type", ""))


def _axes(dataset: Any) -> list[Axis]:
    """Return the axes from wherever the format keeps them."""
    group = dataset.parent
    if "axis-0" in group:
        return _hyperspy_axes(dataset)
    named = [text(name) for name in np.atleast_1d(group.attrs.get("axes", []))]
    vectors = {
        name: item[()]
        for name, item in group.items()
        if getattr(item, "ndim", 0) == 1 and item.dtype.kind in "uif"
    }
    guessed = axes_beside(dataset.shape, vectors)
    return [
        _scale_axis(dataset, i) or _emd_axis(dataset, i) or _nexus_axis(group, named, i) or other
        for i, other in enumerate(guessed)
    ]


def _scale_axis(dataset: Any, i: int) -> Axis | None:
    """Return an axis of NSID or netCDF: a dimension scale attached to the dataset."""
    if len(dataset.dims[i]) == 0:
        return None
    scale = dataset.dims[i][0]
    name = scale.name.rpartition("/")[2]
    kind = text(scale.attrs.get("dimension_type", "")).rpartition(".")[2].upper()
    return _vector_axis(name, scale, dataset.shape[i], _DIMENSIONS.get(kind, ""))


def _emd_axis(dataset: Any, i: int) -> Axis | None:
    """Return an axis of an EMD group: dim1, dim2 ... (before 1.0) or dim0, dim1 ... beside it."""
    group = dataset.parent
    if "emd_group_type" not in group.attrs:
        return None
    dim = group.get(f"dim{i if 'dim0' in group else i + 1}")
    if dim is None:
        return None
    axis = _vector_axis(text(dim.attrs.get("name", "")), dim, dataset.shape[i])
    unit = {"A": "angstrom", "A^-1": "1/angstrom"}.get(axis.unit, axis.unit)
    # py4DSTEM counts x downward: its order is that of the array.
    role = {"R": "scan", "Q": "pattern"}.get(axis.name[:1]) if len(axis.name) == 2 else None
    if role is None:
        return replace(axis, unit=unit)
    return replace(axis, unit=unit, name="", role=cast("Role", role))


def _nexus_axis(group: Any, named: list[str], i: int) -> Axis | None:
    """Return an axis of a NeXus group, whose attribute `axes` lists names of datasets."""
    if i >= len(named) or named[i] not in group:
        return None
    return _vector_axis(named[i], group[named[i]], group[named[i]].size)


def _vector_axis(name: str, vector: Any, size: int, role: Role = "") -> Axis:
    unit = text(vector.attrs.get("units", ""))
    values = np.asarray(vector[()], np.float64).ravel()
    if values.size == 2 < size:  # EMD writes even axes by their first two positions
        return Axis(name, unit, values[0], values[1] - values[0], role=role)
    return Axis(name, unit, values=values if values.size == size else None, role=role)


def _hyperspy_axes(dataset: Any) -> list[Axis]:
    groups = [dataset.parent[f"axis-{i}"] for i in range(dataset.ndim)]
    flags = [bool(group.attrs.get("navigate", False)) for group in groups]
    declared = signal_roles(flags)
    return [
        Axis(
            text(group.attrs.get("name", "")),
            text(group.attrs.get("units", "")),
            float(group.attrs.get("offset", 0.0)),
            float(group.attrs.get("scale", 1.0)),
            np.asarray(group["axis"][()]) if "axis" in group else None,
            role,
        )
        for group, role in zip(groups, declared, strict=True)
    ]
