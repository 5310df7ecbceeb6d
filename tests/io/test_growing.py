"""The file of a series while it is computed, and when it is finished."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_physgen.errors import UserError
from napari_physgen.io import Image, read_stack
from napari_physgen.io.growing import GrowingTiff
from napari_physgen.outputs import Output

SIM = Output("SIM", np.full((8, 6), 3, np.float32), zoom=2)
WIDE = Output("widefield", np.full((4, 3), 1, np.float32))


def test_the_file_opens_at_any_time_with_what_is_finished(tmp_path: Path) -> None:
    growing = GrowingTiff(tmp_path / "cell.ome.tif", 80.0)
    sim, wide = growing([SIM, WIDE], {"t": 4, "z": 2})
    assert sim.shape == (4, 2, 8, 6)
    sim[0, 1], wide[0, 1] = SIM.data, WIDE.data
    assert growing.unfinished.name == "cell.unfinished.ome.tif"
    stack = read_stack(growing.unfinished)
    assert stack.axes == ("t", "z", "y", "x")
    assert stack.pixel_size_nm == pytest.approx(40)
    np.testing.assert_array_equal(stack.data[0, 1], SIM.data)
    assert not stack.data[1:].any()
    with tifffile.TiffFile(growing.unfinished) as tif:
        assert [series.name for series in tif.series] == ["SIM", "widefield"]
        np.testing.assert_array_equal(tif.series[1].asarray()[0, 1], WIDE.data)


def test_the_final_file_takes_its_place(tmp_path: Path) -> None:
    growing = GrowingTiff(tmp_path / "cell.ome.tif")
    (sim,) = growing([SIM], {"t": 3})
    sim[:2] = SIM.data
    growing.finish([Image("SIM", sim[:2], ("t", "y", "x"))])
    assert [path.name for path in tmp_path.iterdir()] == ["cell.ome.tif"]
    assert read_stack(tmp_path / "cell.ome.tif").data.shape == (2, 8, 6)


def test_a_file_in_use_that_cannot_be_taken_away_does_not_lose_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows while its arrays are in memory."""

    unlink = Path.unlink

    def refused(path: Path, missing_ok: bool = False) -> None:
        if path == growing.unfinished:
            raise PermissionError("used by another process")
        unlink(path, missing_ok)

    growing = GrowingTiff(tmp_path / "cell.ome.tif")
    (sim,) = growing([SIM], {"t": 3})
    sim[:] = SIM.data
    monkeypatch.setattr(Path, "unlink", refused)
    assert growing.finish([Image("SIM", sim, ("t", "y", "x"))]) == growing.path
    assert read_stack(growing.path).data.shape == (3, 8, 6)


def test_a_killed_program_leaves_the_finished_planes(tmp_path: Path) -> None:
    program = f"""
import os, signal
import numpy as np
from napari_physgen.io.growing import GrowingTiff
from napari_physgen.outputs import Output
sim, = GrowingTiff({str(tmp_path / "cell.ome.tif")!r})(
    [Output("SIM", np.zeros((64, 64), np.float32))], {{"t": 5}})
sim[0], sim[1] = 1, 2
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    data = read_stack(tmp_path / "cell.unfinished.ome.tif").data
    assert data.shape == (5, 64, 64)
    np.testing.assert_array_equal(data.mean((1, 2)), [1, 2, 0, 0, 0])


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="could not be saved"):
        GrowingTiff(tmp_path / "none/cell.ome.tif")([SIM], {"t": 2})
