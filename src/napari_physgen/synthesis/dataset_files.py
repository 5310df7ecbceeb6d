"""The folder of a data set: what is in it, and how to read it.

::

    dataset.recipe.yaml       the settings: run again, it continues
    samples.csv               one line per finished sample: parameters, seed, figures, problem
    sample_00000.ome.tif      field, labels (and boundaries) of one sample, with its record
    dataset.zarr              or all of them in one OME-Zarr (NGFF 0.5), one chunk per sample

A sample is finished once its line is in ``samples.csv``, which is written after its pixels.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from napari_physgen.errors import UserError
from napari_physgen.io.atomic import in_words, replacing
from napari_physgen.io.recipes import read_values, write_recipe
from napari_physgen.synthesis.dataset_settings import DatasetSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_physgen.provenance import Record
    from napari_physgen.synthesis.results import Microstructure
    from napari_physgen.synthesis.settings import PhaseFieldSettings

RECIPE, TABLE = "dataset.recipe.yaml", "samples.csv"
# Figures of the finished sample by column: not to be mistaken for the settings of the same name.
FIGURES = {
    "end_time": "time",
    "phase_fraction": "fraction",
    "final_grains": "grains",
    "length_nm": "length_nm",
    "free_energy": "free_energy",
}


class Pixels(Protocol):
    """Where the pixels of the samples are."""

    def write(self, index: int, sample: Microstructure, record: Record) -> None:
        """Keep one sample; raises UserError where that cannot be done."""

    def read(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return field and labels ([z,] y, x) of a finished sample."""


def pixels(settings: DatasetSettings, folder: Path) -> Pixels:
    """Return the store that the settings ask for."""
    if settings.format == "zarr":
        from napari_physgen.synthesis.dataset_zarr import ZarrPixels

        return ZarrPixels(settings, folder)
    from napari_physgen.synthesis.dataset_tiff import TiffPixels

    return TiffPixels(settings, folder)


class Table:
    """The lines of ``samples.csv`` by sample number; appended to, one by one."""

    def __init__(self, path: Path, varied: Sequence[str]) -> None:
        self.path = path
        self.columns = ("sample", "seed", *varied, *FIGURES, "problem")
        self.rows = self._read()

    @property
    def finished(self) -> list[int]:
        """The samples that have pixels."""
        return sorted(index for index, row in self.rows.items() if not row["problem"])

    @property
    def problems(self) -> dict[int, str]:
        """What went wrong, by sample."""
        return {i: row["problem"] for i, row in sorted(self.rows.items()) if row["problem"]}

    def add(
        self,
        index: int,
        settings: PhaseFieldSettings,
        figures: Mapping[str, float],
        problem: str = "",
    ) -> None:
        """Append one line; raises UserError where that cannot be done."""
        values = settings.model_dump() | {"sample": index, "problem": problem}
        row = {name: f"{values.get(name, '')}" for name in self.columns}
        for name, figure in FIGURES.items():
            row[name] = f"{figures[figure]:.7g}" if figure in figures else ""
        header = not self.rows
        try:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                file.write(self._line(self.columns) * header + self._line(row.values()))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise in_words(error, self.path) from error
        self.rows[index] = row

    def _read(self) -> dict[int, dict[str, str]]:
        """Return the lines; a last one that was cut off while it was written is dropped."""
        if not self.path.exists():
            return {}
        text = self.path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            with replacing(self.path) as temporary:
                temporary.write_text(whole, encoding="utf-8")
        lines = list(csv.reader(io.StringIO(whole)))
        if lines and tuple(lines[0]) != self.columns:
            raise UserError(f"{self.path} is not the table of this data set: move it away.")
        rows = [dict(zip(self.columns, line, strict=True)) for line in lines[1:]]
        return {int(row["sample"]): row for row in rows}

    @staticmethod
    def _line(values: Any) -> str:
        line = io.StringIO(newline="")
        csv.writer(line, lineterminator="\n").writerow(values)
        return line.getvalue()


def claim(settings: DatasetSettings, folder: Path) -> Table:
    """Open a folder for a data set, new or begun; return what is finished.

    Raises
    ------
    UserError
        If the folder cannot be made or holds a data set with other settings.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise UserError(f"The folder {folder} cannot be made: choose another one.") from None
    if (folder / RECIPE).exists():
        difference = _difference(_settings_in(folder), settings)
        if difference:
            raise UserError(
                f"The folder {folder} holds a data set with another {difference}: choose another "
                "folder, or the same settings to continue it."
            )
    table = Table(folder / TABLE, tuple(settings.ranges))
    write_recipe(folder / RECIPE, "dataset", settings.model_dump(mode="json"))
    return table


def _settings_in(folder: Path) -> DatasetSettings:
    values = read_values(folder / RECIPE)
    if not isinstance(values, dict) or values.get("tool") != "dataset":
        raise UserError(f"{folder / RECIPE} is no recipe of a data set: move it away.")
    return DatasetSettings.parse(values["settings"])


def _difference(old: DatasetSettings, new: DatasetSettings) -> str:
    """Return the name of the first setting that makes other samples, if any.

    More samples are the same data set, and another device makes the same samples.
    """
    free = {"count", "simulation"}
    pairs = [
        (old.simulation.model_dump(exclude={"device"}), new.simulation.model_dump()),
        (old.model_dump(exclude=free), new.model_dump()),
    ]
    for before, after in pairs:
        for name, value in before.items():
            if after[name] != value:
                return name
    return ""


class Sample(NamedTuple):
    """One training picture.

    Parameters
    ----------
    field : numpy.ndarray
        (y, x), float32.
    labels : numpy.ndarray
        (y, x), unsigned integers.
    parameters : dict
        Settings that vary, seed and figures, and "sample" and "plane" where it comes from.
    """

    field: NDArray[np.float32]
    labels: NDArray[Any]
    parameters: dict[str, float]


@dataclass(frozen=True)
class Samples(Sequence[Sample]):
    """The pictures of a data set, read when they are asked for.

    Parameters
    ----------
    settings : DatasetSettings
    numbers : tuple of int
        The finished samples.
    """

    settings: DatasetSettings
    numbers: tuple[int, ...]
    table: Table
    pixels: Pixels

    def __len__(self) -> int:
        return len(self.numbers) * self._planes

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, slice):
            return [self[i] for i in range(*item.indices(len(self)))]
        if not -len(self) <= item < len(self):
            raise IndexError(f"picture {item} of {len(self)}")
        which, plane = divmod(item % len(self), self._planes)
        number = self.numbers[which]
        field, labels = self.pixels.read(number)
        if self.settings.simulation.depth > 1:
            field, labels = field[plane], labels[plane]
        row = {name: float(text) for name, text in self.table.rows[number].items() if text}
        z = {"plane": float(self.settings.slices[plane])}
        return Sample(field, labels, row | z)

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    @property
    def _planes(self) -> int:
        return len(self.settings.slices)


def open_dataset(folder: str | os.PathLike[str]) -> Samples:
    """Open a data set, finished or still growing.

    Parameters
    ----------
    folder : path-like
        Where `make_dataset` wrote it.

    Returns
    -------
    Samples
        A sequence of (field, labels, parameters), each (y, x).

    Raises
    ------
    UserError
        If the folder holds no data set.
    """
    folder = Path(folder)
    if not (folder / RECIPE).exists():
        raise UserError(f"{folder} holds no data set: {RECIPE} is missing.")
    settings = _settings_in(folder)
    table = Table(folder / TABLE, tuple(settings.ranges))
    return Samples(settings, tuple(table.finished), table, pixels(settings, folder))
