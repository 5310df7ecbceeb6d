"""Acquisition parameters in the OME-XML of a TIFF (OME schema 2016-06)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_physgen.io._found import Found, keep, number
from napari_physgen.io._xml import parse_xml
from napari_physgen.io.image import length_factor, time_factor

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


def ome_values(text: str, name: str, channel: int) -> dict[str, Found]:
    """Return what the first image says; wavelengths of one channel."""
    root = parse_xml(text, name)
    found: dict[str, Found] = {}
    image = root.find("{*}Image")
    pixels = None if image is None else image.find("{*}Pixels")
    if image is None or pixels is None:
        return found
    objective = _referred(root, image, "Objective")
    if objective is not None:
        keep(found, "na", number(objective.get("LensNA")), "", "OME Objective LensNA")
    channels = pixels.findall("{*}Channel")
    if channel < len(channels):
        for key, kind in (("wavelength_nm", "Emission"), ("excitation_nm", "Excitation")):
            size = _length_nm(channels[channel], f"{kind}Wavelength", "nm")
            keep(found, key, size, "nm", f"OME Channel {kind}Wavelength")
    for key, axis in (("pixel_size_nm", "X"), ("z_step_nm", "Z")):
        size = _length_nm(pixels, f"PhysicalSize{axis}", "µm")
        keep(found, key, size, "nm", f"OME Pixels PhysicalSize{axis}")
    step, factor = (
        number(pixels.get("TimeIncrement")),
        time_factor(pixels.get("TimeIncrementUnit", "s")),
    )
    if step is not None and factor is not None:
        keep(found, "time_step_s", step * factor, "s", "OME Pixels TimeIncrement")
    keep(found, "channels", number(pixels.get("SizeC")), "", "OME Pixels SizeC")
    detector = root.find("{*}Instrument/{*}Detector")
    if detector is not None:
        words = [detector.get("Manufacturer", ""), detector.get("Model", "")]
        found["camera"] = Found(" ".join(words).strip(), "", "OME Detector Model")
    if order := pixels.get("DimensionOrder"):
        found["axes"] = Found(order[::-1], "", "OME Pixels DimensionOrder")
    return found | _modulo(root)


def _referred(root: Element, image: Element, kind: str) -> Element | None:
    """Return the part of the instrument that the image refers to, or the only one."""
    parts = root.findall(f"{{*}}Instrument/{{*}}{kind}")
    settings = image.find(f"{{*}}{kind}Settings")
    if settings is not None:
        return next((p for p in parts if p.get("ID") == settings.get("ID")), None)
    return parts[0] if len(parts) == 1 else None


def _length_nm(node: Element, attribute: str, default: str) -> float | None:
    value, factor = (
        number(node.get(attribute)),
        length_factor(node.get(f"{attribute}Unit", default)),
    )
    return None if value is None or factor is None else value * factor * 1000


def _modulo(root: Element) -> dict[str, Found]:
    """Return angles and phases that are folded into another axis (OME's 6D, 7D, 8D storage)."""
    found: dict[str, Found] = {}
    for along in "ZTC":
        for node in root.iterfind(f".//{{*}}ModuloAlong{along}"):
            key = {"angle": "angles", "phase": "phases"}.get(node.get("Type", "").lower())
            if key:
                keep(found, key, _entries(node), "", f"OME ModuloAlong{along}")
    return found


def _entries(node: Element) -> float | None:
    if labels := node.findall("{*}Label"):
        return float(len(labels))
    first, last, step = (number(node.get(k, d)) for k, d in (("Start", 0), ("End", 0), ("Step", 1)))
    if first is None or last is None or not step:
        return None
    return float(round((last - first) / step)) + 1
