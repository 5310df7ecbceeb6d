"""What files say of the microscope is found with its place, and nonsense is not taken."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile

from napari_physgen.errors import UserError
from napari_physgen.io.acquisition import read_acquisition

FRAMES = np.arange(9 * 8 * 6, dtype=np.uint16).reshape(9, 8, 6)


def numbers(path, channel=0):
    return {name: entry.value for name, entry in read_acquisition(path, channel).found.items()}


OME = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
 <Instrument ID="Instrument:0">
  <Detector ID="Detector:0" Manufacturer="Hamamatsu" Model="Flash4"/>
  <Objective ID="Objective:0" LensNA="{na}"/><Objective ID="Objective:1" LensNA="0.3"/>
 </Instrument>
 <Image ID="Image:0"><ObjectiveSettings ID="Objective:0"/>
  <Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="6" SizeY="8" SizeZ="9"
   SizeC="1" SizeT="1" PhysicalSizeX="65" PhysicalSizeXUnit="nm" PhysicalSizeZ="0.125"
   TimeIncrement="200" TimeIncrementUnit="ms">
   <Channel ID="Channel:0:0" EmissionWavelength="{emission}" EmissionWavelengthUnit="{unit}"
    ExcitationWavelength="488" SamplesPerPixel="1"/><TiffData/>
  </Pixels></Image>
 <StructuredAnnotations><XMLAnnotation ID="Annotation:0"><Value><Modulo>
  <ModuloAlongZ Type="phase" Start="0" End="2" Step="1"/>
  <ModuloAlongT Type="angle"><Label>0</Label><Label>60</Label><Label>120</Label></ModuloAlongT>
 </Modulo></Value></XMLAnnotation></StructuredAnnotations>
</OME>"""


def write_ome(path, na="1.4", emission="525", unit="nm", text=OME):
    xml = text.format(na=na, emission=emission, unit=unit).encode()
    tifffile.imwrite(path, FRAMES, description=xml, metadata=None, photometric="minisblack")
    return path


def test_ome_says_everything_with_its_units(tmp_path):
    found = numbers(write_ome(tmp_path / "a.ome.tif"))
    assert found == pytest.approx(
        {
            "na": 1.4,
            "wavelength_nm": 525,
            "excitation_nm": 488,
            "pixel_size_nm": 65,
            "z_step_nm": 125,
            "time_step_s": 0.2,
            "channels": 1,
            "phases": 3,
            "angles": 3,
        }
        | {"camera": "Hamamatsu Flash4", "axes": "TCZYX"}
    )


def test_each_value_tells_that_it_is_from_the_file_and_from_where(tmp_path):
    found = read_acquisition(write_ome(tmp_path / "a.ome.tif"))
    assert str(found.found["na"]) == "1.4 (from file: OME Objective LensNA)"
    assert "emission 525 nm (from file: OME Channel EmissionWavelength)" in str(found)


@pytest.mark.parametrize(
    ("na", "emission", "unit"), [("0", "0", "nm"), ("14", "5.25e-7", "nm"), ("x", "5", "pixel")]
)
def test_values_that_cannot_be_are_not_taken(tmp_path, na, emission, unit):
    found = numbers(write_ome(tmp_path / "a.ome.tif", na, emission, unit))
    assert "na" not in found
    assert "wavelength_nm" not in found
    assert found["excitation_nm"] == 488


def test_a_wavelength_in_metres_with_its_unit_is_understood(tmp_path):
    found = numbers(write_ome(tmp_path / "a.ome.tif", "1.4", "5.25e-7", "m"))
    assert found["wavelength_nm"] == pytest.approx(525)


def test_entities_in_xml_are_refused(tmp_path):
    bomb = OME.replace("<OME ", '<!DOCTYPE o [<!ENTITY a "aaaa">]><OME ')
    with pytest.raises(UserError, match="entities"):
        read_acquisition(write_ome(tmp_path / "a.ome.tif", text=bomb))


def test_imagej_header_and_info_are_read(tmp_path):
    info = """ Information|Image|Channel|EmissionWavelength #1 = 525.0
 Information|Image|Channel|EmissionWavelength #2 = 0.61 µm
 Information|Image|Channel|ExcitationWavelength #1 = 488
 Information|Instrument|Objective|LensNA #1 = 1.46
Camera name: Andor iXon
"""
    metadata = {"unit": "um", "spacing": 0.11, "finterval": 2.5, "axes": "TYX", "Info": info}
    tifffile.imwrite(
        tmp_path / "a.tif", FRAMES, imagej=True, resolution=(1 / 0.08, 1 / 0.08), metadata=metadata
    )
    found = numbers(tmp_path / "a.tif")
    assert found["na"] == 1.46
    assert found["camera"] == "Andor iXon"
    assert found["wavelength_nm"] == 525
    assert found["excitation_nm"] == 488
    assert found["pixel_size_nm"] == pytest.approx(80, rel=1e-5)
    assert found["z_step_nm"] == pytest.approx(110)
    assert found["time_step_s"] == 2.5
    second = numbers(tmp_path / "a.tif", channel=1)
    assert second["wavelength_nm"] == pytest.approx(610)
    assert "excitation_nm" not in second


def test_a_print_resolution_is_no_pixel_size(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", FRAMES, resolution=(72, 72), resolutionunit="INCH")
    assert numbers(tmp_path / "a.tif") == {}
    tifffile.imwrite(tmp_path / "b.tif", FRAMES, resolution=(28.3, 28.3), resolutionunit=3)
    assert numbers(tmp_path / "b.tif") == {}


def write_dv(path, order="<", waves=(525, 610), excitation=488.0):
    head = bytearray(1024)
    put = lambda at, kind, *values: struct.pack_into(order + kind, head, at, *values)  # noqa: E731
    put(0, "4i", 6, 8, 9, 6)
    put(40, "3f", 0.08, 0.08, 0.125)
    put(92, "i", 9 * 4 * 40)
    put(96, "h", -16224)
    put(128, "2h", 8, 32)
    put(180, "2h", 1, 2)
    put(196, "3h", len(waves), *waves)
    section = np.zeros(40, f"{order}f4")
    section[8 + 10] = excitation
    path.write_bytes(bytes(head) + section.tobytes() * 9 + FRAMES.astype(f"{order}u2").tobytes())
    return path


@pytest.mark.parametrize("order", "<>")
def test_a_dv_header_is_read_in_both_byte_orders(tmp_path, order):
    path = write_dv(tmp_path / "a.dv", order)
    assert numbers(path) == pytest.approx(
        {
            "pixel_size_nm": 80,
            "z_step_nm": 125,
            "channels": 2,
            "wavelength_nm": 525,
            "excitation_nm": 488,
        }
        | {"axes": "TWZYX"}
    )
    assert numbers(path, channel=1)["wavelength_nm"] == 610
    assert "wavelength_nm" not in numbers(path, channel=2)


CZI = """<ImageDocument><Metadata><Information>
<Instrument><Objectives><Objective Id="Objective:1"><LensNA>1.4</LensNA></Objective></Objectives>
<Detectors><Detector Id="Detector:1" Name="pco.edge"/></Detectors></Instrument>
<Image><SizeX>6</SizeX><SizeC>2</SizeC><SizeH>5</SizeH><SizeR>3</SizeR>
<Dimensions><Channels><Channel Id="Channel:0"><EmissionWavelength>517</EmissionWavelength>
<ExcitationWavelength>488</ExcitationWavelength></Channel></Channels></Dimensions></Image>
</Information><Scaling><Items><Distance Id="X"><Value>6.3e-008</Value></Distance>
<Distance Id="Z"><Value>1.1e-007</Value></Distance></Items></Scaling></Metadata></ImageDocument>"""


def write_czi(path, text=CZI, at=1024):
    head = bytearray(at)
    head[0:10] = b"ZISRAWFILE"
    struct.pack_into("<q", head, 92, at)
    segment = bytearray(32 + 256)
    segment[0:14] = b"ZISRAWMETADATA"
    struct.pack_into("<i", segment, 32, len(text))
    path.write_bytes(bytes(head) + bytes(segment) + text.encode() + b"\0" * 32)
    return path


def test_the_metadata_of_a_czi_file_are_read_without_its_pixels(tmp_path):
    assert numbers(write_czi(tmp_path / "a.czi")) == pytest.approx(
        {
            "na": 1.4,
            "pixel_size_nm": 63,
            "z_step_nm": 110,
            "wavelength_nm": 517,
            "excitation_nm": 488,
            "channels": 2,
            "angles": 3,
            "phases": 5,
        }
        | {"camera": "pco.edge"}
    )


def test_damaged_files_are_refused_in_words(tmp_path):
    path = write_czi(tmp_path / "a.czi")
    path.write_bytes(path.read_bytes()[:1030])
    with pytest.raises(UserError, match="damaged"):
        read_acquisition(path)
    path.write_bytes(b"PK")
    with pytest.raises(UserError, match="no CZI"):
        read_acquisition(path)
    (tmp_path / "a.mrc").write_bytes(b"short")
    with pytest.raises(UserError, match="damaged"):
        read_acquisition(tmp_path / "a.mrc")
    with pytest.raises(UserError, match="no file"):
        read_acquisition(tmp_path / "absent.czi")


def test_formats_that_say_nothing_give_an_empty_answer(tmp_path):
    np.save(tmp_path / "a.npy", FRAMES)
    assert read_acquisition(tmp_path / "a.npy").found == {}


def test_only_real_differences_to_the_settings_are_told(tmp_path):
    found = read_acquisition(write_ome(tmp_path / "a.ome.tif"))
    same = {"na": 1.41, "wavelength_nm": 525, "pixel_size_nm": 65, "camera_offset": None}
    assert found.differences(same) == []
    (phrase,) = found.differences(same | {"na": 1.2})
    assert phrase == "NA 1.4 (OME Objective LensNA), settings 1.2"


@pytest.mark.data
def test_measured_otfs_know_their_emission(data):
    for file in sorted((data / "sim/tirf_rdl_microtubules").glob("*.mrc")):
        wavelength = {"488": 515, "560": 610, "647": 660}[file.name[4:7]]
        assert numbers(file)["wavelength_nm"] == wavelength
