"""The record inside a TIFF file: written by the two writers, read back here."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

import tifffile

from napari_physgen.io.readers import opened_tiff
from napari_physgen.provenance import Record

if TYPE_CHECKING:
    import os

NAMESPACE = "napari-physgen"
KEY = "record"


def annotation(record: Record) -> dict[str, str]:
    """Return the record as an OME MapAnnotation for tifffile."""
    return {"Namespace": NAMESPACE, KEY: record.to_json()}


def info(record: Record) -> str:
    """Return the record as the text that ImageJ shows as Image > Show Info."""
    return f"{NAMESPACE} {KEY}\n{record.to_json()}"


def read_record(path: str | os.PathLike[str]) -> Record | None:
    """Return the first record in a TIFF file, None if it has none.

    Raises
    ------
    UserError
        If the file is missing or no TIFF, or its record is damaged.
    """
    with opened_tiff(path) as tif:
        text = _ome_text(tif) or _imagej_text(tif)
    return Record.from_json(text) if text else None


def _ome_text(tif: tifffile.TiffFile) -> str | None:
    if not tif.ome_metadata:
        return None
    for node in ElementTree.fromstring(tif.ome_metadata).iterfind(".//{*}MapAnnotation"):
        if node.get("Namespace") == NAMESPACE:
            for entry in node.iterfind(".//{*}M"):
                if entry.get("K") == KEY:
                    return entry.text
    return None


def _imagej_text(tif: tifffile.TiffFile) -> str | None:
    text = str((tif.imagej_metadata or {}).get("Info", ""))
    head, _, body = text.partition("\n")
    return body if head == f"{NAMESPACE} {KEY}" else None
