"""What is known about a region map, as tables for a spreadsheet and one JSON file.

NAME_regions.csv      one line per region: share, area, entropy, least sure place, walls
NAME_interfaces.csv   one line per pair of regions that touch: length, pieces
NAME_walls.csv        the points of all wall lines
NAME_report.json      both tables, junctions, automatic choices, settings and units
"""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen import __version__
from napari_physgen.io.atomic import replacing
from napari_physgen.provenance import json_value

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from napari_physgen.regions.results import RegionMap

Table = dict[str, "NDArray[np.generic]"]


def write_report(
    result: RegionMap, folder: str | os.PathLike[str], name: str = "regions"
) -> tuple[Path, ...]:
    """Write the tables and the JSON file into an existing folder.

    Parameters
    ----------
    result : RegionMap
    folder : path
    name : str
        First part of the file names.

    Returns
    -------
    tuple of Path
        The files: regions, interfaces, walls, report.

    Raises
    ------
    UserError
        If the folder is missing or not writable or the disk is full.
    """
    regions, interfaces, walls, report = (
        Path(folder, f"{name}_{part}")
        for part in ("regions.csv", "interfaces.csv", "walls.csv", "report.json")
    )
    _save_table(regions, region_table(result))
    _save_table(interfaces, interface_table(result))
    _save_table(walls, wall_table(result))
    with replacing(report) as temporary:
        text = json.dumps(json_value(as_mapping(result)), indent=1, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return regions, interfaces, walls, report


def region_table(result: RegionMap) -> Table:
    """Return one row per region as columns, also for `layer.features` of the labels.

    Columns: `index` (label), `share` of the pixels with data, area, mean entropy, the place where
    the region is least sure (y, x) and the length of its walls; not a number where a region has
    no pixels.
    """
    pixel, unit = _pixel(result)
    index = np.arange(1, len(result.probabilities) + 1)
    counts = np.bincount(result.labels.ravel(), minlength=index.size + 1)[1 : index.size + 1]
    place = [_least_sure(result, label) for label in index.tolist()]
    lengths = np.zeros(index.size + 1)
    for interface in result.walls.interfaces:
        lengths[list(interface.pair)] += interface.length
    return {
        "index": index,
        "share": counts / max(counts.sum(), 1),
        f"area_{unit}2": counts * math.prod(pixel),
        "mean_entropy_bit": np.array([_mean_entropy(result, label) for label in index.tolist()]),
        "least_sure_y_px": np.array([y for y, _ in place]),
        "least_sure_x_px": np.array([x for _, x in place]),
        f"wall_length_{result.walls.unit}": lengths[1:],
    }


def interface_table(result: RegionMap) -> Table:
    """Return one row per pair of regions that touch, as columns."""
    found = result.walls.interfaces
    return {
        "region_a": np.array([interface.pair[0] for interface in found], int),
        "region_b": np.array([interface.pair[1] for interface in found], int),
        f"length_{result.walls.unit}": np.array([interface.length for interface in found], float),
        "lines": np.array([len(interface.lines) for interface in found], int),
    }


def wall_table(result: RegionMap) -> Table:
    """Return one row per point of the wall lines, as columns."""
    lines = result.walls.lines
    sizes = [len(line.points) for line in lines]
    pairs = np.repeat(np.array([line.pair for line in lines], int).reshape(-1, 2), sizes, axis=0)
    points = np.concatenate([np.zeros((0, 2)), *(line.points for line in lines)])
    table: Table = {
        "line": np.repeat(np.arange(1, len(lines) + 1), sizes),
        "region_a": pairs[:, 0],
        "region_b": pairs[:, 1],
        "y_px": points[:, 0].round(3),
        "x_px": points[:, 1].round(3),
    }
    pixel, unit = _pixel(result)
    if unit == "nm":
        table |= {"y_nm": points[:, 0] * pixel[0], "x_nm": points[:, 1] * pixel[1]}
    return table


def as_mapping(result: RegionMap) -> dict[str, Any]:
    """Return what the JSON file holds."""
    pixel, unit = _pixel(result)
    return {
        "tool": "regions",
        "version": __version__,
        "device": result.device,
        "summary": result.summary,
        "units": {
            "length": result.walls.unit,
            "area": f"{unit}2",
            "pixel": [*pixel, unit],
            "places": "px (y, x), centre of the first pixel is 0, 0",
            "entropy": "bit",
            "wall_cost": "nat per grid step",
            "evidence, icl, misfit": "nat",
        },
        "shape": result.labels.shape,
        "grid": {"shape": result.grid.shape, "step_px": result.step, "start_px": result.start},
        "metrics": result.metrics,
        "wall_length": result.walls.length,
        "regions": _rows(region_table(result)),
        "interfaces": _rows(interface_table(result)),
        "junctions": result.walls.junctions.round(3),
        "choices": asdict(result.choices),
        "settings": result.settings.model_dump(mode="json"),
    }


def _pixel(result: RegionMap) -> tuple[tuple[float, float], str]:
    """Return the pixel size along y and x, and its unit."""
    width = result.settings.pixel_size_nm
    if width is None:
        return (1.0, 1.0), "px"
    return (result.settings.pixel_height_nm or width, width), "nm"


def _mean_entropy(result: RegionMap, label: int) -> float:
    inside = result.entropy[result.labels == label]
    return float(inside.mean()) if inside.size else math.nan


def _least_sure(result: RegionMap, label: int) -> tuple[float, float]:
    inside = result.labels == label
    if not inside.any():
        return math.nan, math.nan
    worst = int(np.where(inside, result.entropy, -1).argmax())
    y, x = divmod(worst, inside.shape[1])
    return float(y), float(x)


def _save_table(path: Path, table: Table) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(table)
        lines.writerows(map(_cells, zip(*(c.tolist() for c in table.values()), strict=True)))


def _cells(row: Iterable[float]) -> list[float | str]:
    """Leave cells empty that are not a number."""
    return ["" if math.isnan(value) else value for value in row]


def _rows(table: Table) -> list[dict[str, Any]]:
    columns = (column.tolist() for column in table.values())
    return [dict(zip(table, row, strict=True)) for row in zip(*columns, strict=True)]
