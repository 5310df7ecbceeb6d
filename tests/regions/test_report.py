"""The report says what the map says, in files that anything can read."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_physgen.errors import UserError
from napari_physgen.regions.boundaries import trace_walls
from napari_physgen.regions.report import region_table, write_report
from napari_physgen.regions.results import Choices, CountChoice, RegionMap, WallChoice
from napari_physgen.regions.settings import RegionSettings


def halves(width_nm: float | None = None, height_nm: float | None = None) -> RegionMap:
    """40 x 60 pixels: region 1 left of x = 35, region 2 right of it, 4 x 60 without data."""
    labels = np.ones((40, 60), np.uint8)
    labels[:, 35:] = 2
    labels[:4] = 0
    probabilities = np.stack([labels == 1, labels == 2]).astype(np.float32)
    entropy = np.zeros((40, 60), np.float32)
    entropy[20, 34], entropy[30, 50] = 0.7, 0.36
    settings = RegionSettings(pixel_size_nm=width_nm, pixel_height_nm=height_nm, regions=2)
    pixel = None if width_nm is None else (height_nm or width_nm, width_nm)
    return RegionMap(
        labels=labels,
        probabilities=probabilities,
        entropy=entropy,
        latent=np.zeros((2, 10, 15), np.float32),
        grid=labels[::4, ::4],
        step=(4.0, 4.0),
        start=(0.0, 0.0),
        walls=trace_walls(probabilities, labels, pixel),
        prototypes=np.zeros((2, 8, 8), np.float32),
        prototype_errors=np.zeros((2, 8, 8), np.float32),
        choices=Choices(
            "lattice",
            window=24,
            stride=4,
            regions=2,
            wall_cost=1.0,
            period=8.5,
            counts=(CountChoice(1, -20.0, -21.0, math.nan), CountChoice(2, -10.0, -11.0, 0.98)),
            walls=(WallChoice(1.0, 0.5, 9.0, 0.97),),
            notes=("The period is weak.",),
        ),
        settings=settings,
        summary="2 regions.",
        metrics={"stability": 0.97, "evidence": math.inf},
        device="cpu",
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def columns(result: RegionMap) -> dict[str, list[Any]]:
    return {name: values.tolist() for name, values in region_table(result).items()}


def test_table_of_regions_gives_share_area_entropy_and_walls_in_nm() -> None:
    table = columns(halves(0.5, 2.0))
    assert table["index"] == [1, 2]
    assert table["share"] == pytest.approx([35 / 60, 25 / 60])
    assert table["area_nm2"] == pytest.approx([36 * 35, 36 * 25])
    assert table["mean_entropy_bit"] == pytest.approx([0.7 / (36 * 35), 0.36 / (36 * 25)])
    assert (table["least_sure_y_px"], table["least_sure_x_px"]) == ([20, 30], [34, 50])
    assert table["wall_length_nm"] == pytest.approx([72, 72], rel=0.02)


def test_without_a_pixel_size_lengths_and_areas_are_in_pixels() -> None:
    table = columns(halves())
    assert table["area_px2"] == [36 * 35, 36 * 25]
    assert table["wall_length_px"] == pytest.approx([36, 36], rel=0.02)


def test_region_without_pixels_has_no_entropy_and_an_empty_cell(tmp_path: Path) -> None:
    result = halves()
    result = replace(result, probabilities=np.pad(result.probabilities, ((0, 1), (0, 0), (0, 0))))
    table = columns(result)
    assert table["area_px2"][2] == 0
    assert math.isnan(table["mean_entropy_bit"][2])
    path = write_report(result, tmp_path)[0]
    assert rows(path)[2]["mean_entropy_bit"] == ""
    assert rows(path)[2]["index"] == "3"


def test_interfaces_and_lines_are_written_per_pair(tmp_path: Path) -> None:
    result = halves(0.5)
    _, interfaces, walls, _ = write_report(result, tmp_path, "film")
    assert interfaces.name == "film_interfaces.csv"
    (row,) = rows(interfaces)
    assert (row["region_a"], row["region_b"], row["lines"]) == ("1", "2", "1")
    assert float(row["length_nm"]) == pytest.approx(result.wall_length)
    points = rows(walls)
    assert len(points) == len(result.boundaries[0])
    assert {float(point["x_px"]) for point in points} == {34.5}
    assert {float(point["x_nm"]) for point in points} == {17.25}


def test_json_holds_every_choice_with_its_curve_and_the_settings(tmp_path: Path) -> None:
    result = halves(0.5, 2.0)
    path = write_report(result, tmp_path)[3]
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["choices"]["period"] == 8.5
    assert found["choices"]["counts"][0]["stability"] is None
    assert found["choices"]["counts"][1]["icl"] == -11
    assert found["choices"]["walls"] == [
        {"wall_cost": 1.0, "misfit": 0.5, "length": 9.0, "stability": 0.97}
    ]
    assert found["choices"]["notes"] == ["The period is weak."]
    assert RegionSettings.parse(found["settings"]) == result.settings
    assert found["units"]["pixel"] == [2.0, 0.5, "nm"]
    assert found["regions"][0]["area_nm2"] == 36 * 35
    assert found["metrics"] == {"stability": 0.97, "evidence": None}
    assert found["summary"] == "2 regions."


def test_report_of_one_region_has_empty_tables(tmp_path: Path) -> None:
    labels = np.ones((10, 12), np.uint8)
    one = np.ones((1, 10, 12), np.float32)
    result = replace(halves(), labels=labels, probabilities=one, walls=trace_walls(one, labels))
    result = replace(result, entropy=np.zeros((10, 12), np.float32))
    _, interfaces, walls, report = write_report(result, tmp_path)
    assert rows(interfaces) == rows(walls) == []
    assert json.loads(report.read_text(encoding="utf-8"))["wall_length"] == 0


def test_missing_folder_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        write_report(halves(), tmp_path / "nowhere")
