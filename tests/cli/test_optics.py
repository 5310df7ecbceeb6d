"""What a file says is told where it differs from the settings, and the settings are used."""

from __future__ import annotations

from pathlib import Path

import pytest
import tifffile

from napari_physgen.cli import main
from napari_physgen.io import read_stack
from napari_physgen.sim import SimSettings
from napari_physgen.sim.simulate import filaments, simulate


def test_a_file_that_contradicts_the_settings_is_told_and_not_followed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = SimSettings(na=1.4, wavelength_nm=525, pixel_size_nm=80)
    raw = simulate(filaments((128, 128), 2), settings, 100, seed=1)
    tifffile.imwrite(
        tmp_path / "raw.tif",
        raw,
        imagej=True,
        resolution=(1 / 0.08, 1 / 0.08),
        metadata={"unit": "um", "Info": "LensNA = 1.2\nEmissionWavelength = 525 nm\n"},
    )
    microscope = [
        "--na",
        "1.4",
        "--wavelength-nm",
        "525",
        "--pixel-size-nm",
        "80",
        "--method",
        "wiener",
    ]
    main(["sim", str(tmp_path / "raw.tif"), "-o", str(tmp_path / "out"), *microscope])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "raw.tif says otherwise: NA 1.2 (ImageJ Info), settings 1.4."
    assert len([line for line in lines if "otherwise" in line]) == 1
    saved = read_stack(tmp_path / "out" / "raw_sim.ome.tif")
    assert saved.pixel_size_nm == pytest.approx(40)
