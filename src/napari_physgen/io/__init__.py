"""Files: TIFF with units and provenance out, raw stacks and measured OTFs in."""

from napari_physgen.io.image import Image
from napari_physgen.io.imagej import write_imagej_tiff
from napari_physgen.io.ome_tiff import write_ome_tiff
from napari_physgen.io.pictures import read_mask, read_picture
from napari_physgen.io.readers import OtfFile, Stack, read_otf, read_stack, write_otf
from napari_physgen.io.records import read_record

__all__ = [
    "Image",
    "OtfFile",
    "Stack",
    "read_mask",
    "read_otf",
    "read_picture",
    "read_record",
    "read_stack",
    "write_imagej_tiff",
    "write_ome_tiff",
    "write_otf",
]
