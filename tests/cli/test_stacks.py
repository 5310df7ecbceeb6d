"""Time-lapses and folders on the command line: what is saved, what is named, what goes on."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import tifffile
from sim_sample import PATTERNS, SETTINGS, truth

from napari_physgen import batch as batch_module
from napari_physgen import cli
from napari_physgen.backend import Job, Progress, Stop, run
from napari_physgen.batch import Done, process_files, stacks_in
from napari_physgen.errors import UserError
from napari_physgen.io import read_record, read_stack
from napari_physgen.sim import series as series_module
from napari_physgen.sim.simulate import simulate

FLAGS = ["--na", "1.4", "--wavelength-nm", "525", "--pixel-size-nm", "80", "--method", "wiener"]
QUICK = SETTINGS.model_copy(update={"method": "wiener"})


@pytest.fixture(scope="module")
def movie() -> np.ndarray:
    return np.stack([simulate(truth(), SETTINGS, 300, seed, PATTERNS) for seed in range(3)])


@pytest.fixture
def folder(tmp_path: Path, movie: np.ndarray) -> Path:
    made = tmp_path / "raw"
    made.mkdir()
    tifffile.imwrite(made / "a.tif", movie, imagej=True, metadata={"axes": "TZYX"})
    np.save(made / "b.npy", movie[0, :5])
    np.save(made / "c.npy", movie[0])
    return made


def test_a_folder_is_all_stacks_in_it_and_one_that_fails_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as caught:
        cli.main(["sim", str(folder), "-o", str(out), *FLAGS])
    assert caught.value.code == 2
    told = capsys.readouterr()
    assert "b.npy: The stack has 5 frames" in told.err
    assert "a.tif: 3 of 3 stacks, held-out misfit" in told.out
    with tifffile.TiffFile(out / "a_sim.ome.tif") as tif:
        assert [s.axes for s in tif.series] == ["TCYX", "TCYX"]
    assert read_stack(out / "c_sim.ome.tif").data.shape[-2:] == (128, 128)
    assert not list(out.glob("*unfinished*"))
    assert not list(out.glob("b*"))


def test_a_series_is_repeated_from_its_file(folder: Path, tmp_path: Path) -> None:
    cli.main(["sim", str(folder), "-o", str(folder), *FLAGS, "--files", "a*"])
    record = read_record(folder / "a_sim.ome.tif")
    assert record is not None
    assert record.inputs[0].shape == (3, 9, 64, 64)
    assert {"chi2", "chi2_1", "chi2_3"} <= set(record.metrics)
    again = tmp_path / "again"
    cli.main(["run", str(folder / "a_sim.ome.tif"), str(folder / "a.tif"), "-o", str(again)])
    first, second = (tifffile.imread(f / "a_sim.ome.tif") for f in (folder, again))
    np.testing.assert_array_equal(first, second)
    assert [path.name for path in stacks_in([folder], "sim")] == ["a.tif", "b.npy", "c.npy"]


def test_planes_of_a_frame_order_are_an_axis_of_the_file(tmp_path: Path, movie: np.ndarray) -> None:
    """Two time points of two planes, the frames of an angle plane after plane."""
    times = np.stack([movie[:2], movie[1:]]).reshape(2, 2, 3, 3, 64, 64)
    raw = times.swapaxes(1, 2).reshape(2, 18, 64, 64)
    tifffile.imwrite(tmp_path / "a.tif", raw, imagej=True, metadata={"axes": "TZYX"})
    flags = [*FLAGS, "--order", "angle-z-phase"]
    cli.main(["sim", str(tmp_path / "a.tif"), "-o", str(tmp_path / "out"), *flags])
    made = read_stack(tmp_path / "out/a_sim.ome.tif")
    assert made.axes[:2] == ("t", "z")
    assert made.data.shape[:2] == (2, 2)


def test_ctrl_c_saves_the_time_points_that_are_finished(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = series_module.followed
    calls = []

    def interrupted(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return whole(*arguments)

    monkeypatch.setattr(series_module, "followed", interrupted)
    cli.main(["sim", str(folder / "a.tif"), "-o", str(tmp_path), *FLAGS])
    assert read_stack(tmp_path / "a_sim.ome.tif").data.shape[0] == 2


def test_a_batch_is_a_job_that_says_where_it_is(folder: Path, tmp_path: Path) -> None:
    told: list[str] = []
    paths = [folder / "a.tif", folder / "b.npy"]
    batch = run(process_files("sim", QUICK, paths, tmp_path), lambda p: told.append(p.message))
    assert "file 1 of 2, a.tif: time 2 of 3: Wiener" in told
    assert batch.metrics == {"files": 2, "failed": 1}
    assert batch.summary.startswith("1 of 2 files are done. b.npy: The stack has 5 frames")


def test_a_stop_in_a_file_that_fails_leaves_out_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> Job[Done]:
        yield Progress(0, 1, "looking")
        raise UserError("No patterns.")

    monkeypatch.setattr(batch_module, "process_file", failing)
    paths = [Path("a.tif"), Path("b.tif")]
    batch = run(process_files("sim", QUICK, paths, tmp_path), lambda _: Stop())
    assert [done.words[0] for done in batch.files] == ["No patterns.", "left out after the stop"]


def test_a_folder_without_stacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no raw stack named \*"):
        stacks_in([tmp_path], "sim")
