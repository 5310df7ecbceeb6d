"""OTFs saved by fairSIM are read as that program means them."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from napari_physgen.errors import UserError
from napari_physgen.physics.optics import Otf
from napari_physgen.sim import SimSettings
from napari_physgen.sim.detection import detection_otf

SETTINGS = SimSettings(na=1.4, wavelength_nm=525, pixel_size_nm=80)
K = np.linspace(0, 0.97, 40) * SETTINGS.cutoff


def written(path: Path, inside: str, na: float = 1.4) -> Path:
    path.write_text(
        f'<fairsim><otf2d><NA type="decimal"> {na:.5e} </NA><emission type="int"> 525 </emission>'
        f"{inside}</otf2d></fairsim>"
    )
    return path


def read(path: Path) -> Otf:
    otf = detection_otf(SETTINGS.model_copy(update={"otf": path}), (64, 64))
    assert otf is not None
    return otf


def data(values: np.ndarray, step: float, samples: int | None = None) -> str:
    pairs = np.stack([values.real, values.imag], -1).astype(">f4").tobytes()
    text = base64.b64encode(pairs).decode()
    return (
        f'<data><bands type="int"> 2 </bands><samples type="int"> {samples or values.size} '
        f'</samples><cycles type="decimal"> {step:.5e} </cycles>'
        f'<band-0 type="data"> BASE64:{text[:40]}\n{text[40:]}:END64 </band-0></data>'
    )


def test_measured_values_are_big_endian_pairs_with_their_step(tmp_path: Path) -> None:
    step = 0.03
    values = Otf.ideal(1.4, 525, 0.3)(0, np.arange(200) * step) * np.exp(0.2j) * 7
    otf = read(written(tmp_path / "otf.xml", data(values, step)))
    assert otf(0, K) == pytest.approx(Otf.ideal(1.4, 525, 0.3)(0, K), abs=2e-3)


@pytest.mark.parametrize("kind", ["exponential", ""])
def test_an_estimate_is_the_damped_ideal_otf(tmp_path: Path, kind: str) -> None:
    words = f"<estimation-type>{kind}</estimation-type>" if kind else ""
    path = written(tmp_path / "otf.xml", f'<a-estimate type="decimal"> 0.31 </a-estimate>{words}')
    assert read(path)(0, K) == pytest.approx(Otf.ideal(1.4, 525, 0.31)(0, K), abs=2e-3)


def test_the_spherical_estimate_has_its_factor_in_the_middle(tmp_path: Path) -> None:
    inside = "<a-estimate> 0.4 </a-estimate><estimation-type>spherical</estimation-type>"
    otf = read(written(tmp_path / "otf.xml", inside))
    half = SETTINGS.cutoff / 2
    assert otf(0, half) == pytest.approx(0.4 * Otf.ideal(1.4, 525)(0, half), rel=1e-3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<fairsim><otf2d></otf2d>", "damaged XML"),
        ("<other/>", "no entry 'otf2d'"),
        ("<fairsim><otf2d/></fairsim>", "'NA' is missing"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><fairsim/>', "entities"),
    ],
)
def test_other_files_are_refused_in_words(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "otf.xml").write_text(text)
    with pytest.raises(UserError, match=says):
        read(tmp_path / "otf.xml")


def test_damaged_data_are_refused_in_words(tmp_path: Path) -> None:
    values = np.linspace(1, 0, 60).astype(complex)
    with pytest.raises(UserError, match="another length"):
        read(written(tmp_path / "otf.xml", data(values, 0.1, samples=61)))
    with pytest.raises(UserError, match="damaged OTF"):
        read(written(tmp_path / "otf.xml", data(values, 0.1).replace(":END64", "#:END64")))
    with pytest.raises(UserError, match="no file"):
        read(tmp_path / "absent.xml")
