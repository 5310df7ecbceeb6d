"""The command that measures an OTF from beads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from napari_physgen.cli.options import given, partial
from napari_physgen.errors import UserError
from napari_physgen.sim.beads import BeadSettings

if TYPE_CHECKING:
    from pydantic import BaseModel as Given
else:
    Given = partial(BeadSettings)


def sim_otf(
    beads: Annotated[Path, Parameter(help="Image of beads, or a stack in focus: TIFF, NPY, MRC.")],
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="TIFF file to write the OTF to.")],
    settings: Annotated[Given | None, Parameter(name="*")] = None,
) -> None:
    """Measure the detection OTF in an image of small beads.

    The file is what the setting *otf* of the reconstruction takes. NA, emission and pixel size that
    are not given are taken from the file, if it says them, and printed.
    """
    from napari_physgen.io import read_stack, write_otf
    from napari_physgen.io.acquisition import read_acquisition
    from napari_physgen.sim.beads import otf_from_beads

    values = given(settings)
    stack = read_stack(beads)
    says = read_acquisition(beads)
    for name in ("na", "wavelength_nm", "pixel_size_nm"):
        if name not in values and name in says.found:
            values[name] = says.value(name)
            print(f"{name} = {says.found[name]}")
    if stack.axes[-1] == "rgb":
        raise UserError(f"{beads.name} is a colour picture: give the grey image of the camera.")
    parsed = BeadSettings.parse(values)
    for phrase in says.differences(parsed.model_dump()):
        print(f"{beads.name} says otherwise: {phrase}.")
    measured = otf_from_beads(stack.data.reshape(-1, *stack.data.shape[-2:]), parsed)
    write_otf(out, measured.profile, measured.step, measured.error)
    print(f"{beads.name}: {measured.summary}")
    print(f"  saved as {out}")
