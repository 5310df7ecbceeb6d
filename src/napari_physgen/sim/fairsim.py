"""OTFs that fairSIM (Müller et al., Nat. Commun. 7, 10980, 2016) saved as XML.

The format, as the program writes it: under ``otf2d`` the entries ``NA`` and ``emission`` (nm), then
either ``a-estimate`` with ``estimation-type`` (an ideal OTF, damped), or ``data`` with ``cycles``
(frequency step, 1/um), ``samples`` and ``band-0`` ... ``band-2``: pairs (real, imaginary) of
big-endian float32 in Base64 between the words BASE64: and :END64. Attenuation belongs to the
reconstruction, not to the microscope, and is not read.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.errors import UserError
from napari_physgen.io._xml import parse_xml
from napari_physgen.physics.optics import ideal_otf

if TYPE_CHECKING:
    from pathlib import Path
    from xml.etree import ElementTree

    from numpy.typing import NDArray

SAMPLES = 512
"""Samples up to the cutoff where only a formula is given."""


def read_fairsim_otf(path: Path) -> tuple[NDArray[np.complex128], float]:
    """Return the radial profile of the band in focus and its frequency step, 1/um.

    Raises
    ------
    UserError
        If the file is missing, damaged, or holds no OTF of fairSIM.
    """
    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    otf = parse_xml(path.read_bytes(), path.name).find(".//otf2d")
    if otf is None:
        raise UserError(f"{path.name} is no OTF of fairSIM: it has no entry 'otf2d'.")
    try:
        data = otf.find("data")
        return _formula(otf) if data is None else _measured(data)
    except (ValueError, binascii.Error) as error:
        raise UserError(f"{path.name} holds a damaged OTF ({error}).") from None


def _formula(otf: ElementTree.Element) -> tuple[NDArray[np.complex128], float]:
    """Return the ideal OTF times fairSIM's compensation."""
    cutoff = 2000 * _number(otf, "NA") / _number(otf, "emission")
    a = _number(otf, "a-estimate")
    ratio = np.arange(SAMPLES) / SAMPLES
    kind = (otf.findtext("estimation-type") or "exponential").strip()
    damping = {
        "exponential": a**ratio,
        "spherical": 1 - (1 - a) * (1 - 4 * (ratio - 0.5) ** 2),
        "none": np.ones(SAMPLES),
    }
    if kind not in damping:
        raise ValueError(f"unknown estimation-type '{kind}'")
    return (ideal_otf(ratio, 1) * damping[kind]).astype(complex), cutoff / SAMPLES


def _measured(data: ElementTree.Element) -> tuple[NDArray[np.complex128], float]:
    text = data.findtext("band-0") or ""
    if "BASE64:" not in text or ":END64" not in text:
        raise ValueError("no band-0")
    code = text.partition("BASE64:")[2].partition(":END64")[0]
    pairs = np.frombuffer(base64.b64decode("".join(code.split()), validate=True), ">f4")
    if pairs.size != 2 * round(_number(data, "samples")):
        raise ValueError("band-0 has another length than 'samples' says")
    return pairs[::2] + 1j * pairs[1::2].astype(float), _number(data, "cycles")


def _number(node: ElementTree.Element, name: str) -> float:
    text = (node.findtext(name) or "").split()
    if not text or not 0 < float(text[0]) < np.inf:
        raise ValueError(f"'{name}' is missing or not above 0")
    return float(text[0])
