"""Acquisition parameters in the metadata of Zeiss CZI files, without reading pixels.

A CZI file is a chain of segments: 16 bytes of name, two lengths of 8 bytes, then the content. The
first, ZISRAWFILE, says at byte 92 where ZISRAWMETADATA is; there a length of 4 bytes, and after
256 bytes the XML. In it, SizeH counts the phases of structured illumination and SizeR its angles
(documentation of libCZI: dimensions H "phase", R "rotation").
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from napari_physgen.errors import UserError
from napari_physgen.io._found import Found, keep, number
from napari_physgen.io._xml import parse_xml

if TYPE_CHECKING:
    from pathlib import Path
    from xml.etree.ElementTree import Element

_LONGEST = 1 << 28


def czi_values(path: Path, channel: int) -> dict[str, Found]:
    """Return what the metadata say."""
    root = _metadata(path)
    found: dict[str, Found] = {}
    image = root.find(".//Information/Image")
    objectives = root.findall(".//Information/Instrument/Objectives/Objective")
    used = None if image is None else image.find("ObjectiveSettings/ObjectiveRef")
    used_id = None if used is None else used.get("Id")
    objective = next((o for o in objectives if o.get("Id") == used_id), None)
    if objective is None and len(objectives) == 1:
        objective = objectives[0]
    if objective is not None:
        keep(found, "na", _text(objective, "LensNA"), "", "CZI Objective LensNA")
    for name, axis in (("pixel_size_nm", "X"), ("z_step_nm", "Z")):
        step = root.find(f".//Scaling/Items/Distance[@Id='{axis}']")
        metres = None if step is None else _text(step, "Value")
        if metres is not None:
            keep(found, name, metres * 1e9, "nm", f"CZI Scaling {axis}")
    camera = root.find(".//Information/Instrument/Detectors/Detector")
    if camera is not None:
        model = camera.findtext("Manufacturer/Model") or camera.get("Name") or ""
        found["camera"] = Found(model, "", "CZI Detector")
    if image is None:
        return found
    channels = image.findall("Dimensions/Channels/Channel")
    if channel < len(channels):
        for name, kind in (("wavelength_nm", "Emission"), ("excitation_nm", "Excitation")):
            length = _text(channels[channel], f"{kind}Wavelength")
            keep(found, name, length, "nm", f"CZI Channel {kind}Wavelength")
    for name, axis in (("channels", "C"), ("angles", "R"), ("phases", "H")):
        keep(found, name, _text(image, f"Size{axis}"), "", f"CZI Size{axis}")
    return found


def _text(node: Element, name: str) -> float | None:
    return number(node.findtext(name))


def _metadata(path: Path) -> Element:
    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    try:
        with path.open("rb") as file:
            head = file.read(104)
            if not head.startswith(b"ZISRAWFILE"):
                raise UserError(f"{path.name} is no CZI file.")
            (at,) = struct.unpack_from("<q", head, 92)
            file.seek(at)
            segment = file.read(40)
            if not segment.startswith(b"ZISRAWMETADATA"):
                raise UserError(f"{path.name} holds no metadata where it says: it may be damaged.")
            (length,) = struct.unpack_from("<i", segment, 32)
            file.seek(at + 32 + 256)
            text = file.read(min(max(length, 0), _LONGEST))
    except (OSError, ValueError, struct.error) as error:
        raise UserError(f"{path.name} cannot be read: it may be damaged or incomplete.") from error
    return parse_xml(text.strip(b"\0 \r\n"), path.name)
