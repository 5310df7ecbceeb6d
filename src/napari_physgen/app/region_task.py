"""One map to make: of which scan, within which mask, with which settings. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_physgen.app.region_scan import Scan
    from napari_physgen.backend import Job
    from napari_physgen.recipe import Finished
    from napari_physgen.regions.results import Choices, RegionMap
    from napari_physgen.regions.settings import RegionSettings

LEAST_WINDOW = 3  # px; 1 in a result means that there is none


@dataclass(frozen=True)
class Channels:
    """Channels as they are compared: phases as real and imaginary parts, levelled rows.

    Parameters
    ----------
    values : numpy.ndarray
        (channel, y, x).
    names : tuple of str
    """

    values: NDArray[np.float32]
    names: tuple[str, ...]


@dataclass(frozen=True)
class MapTask:
    """A scan and what to do with it.

    Parameters
    ----------
    scan : Scan
    settings : RegionSettings
    mask : numpy.ndarray or None
        (y, x) bool: what is mapped.
    mask_name : str
        Of the layer that the mask is from.
    """

    scan: Scan
    settings: RegionSettings
    mask: NDArray[np.bool_] | None = None
    mask_name: str = ""

    def start(self) -> Job[Finished[RegionMap]]:
        """Start the job."""
        from napari_physgen import recipe

        inputs: dict[str, Any] = {"data": self.scan.data}
        sources = {"data": self.scan.layer.name}
        if self.mask is not None:
            inputs["mask"], sources["mask"] = self.mask, self.mask_name
        return recipe.start("regions", self.settings, inputs, sources=sources)

    def channels(self, result: RegionMap) -> list[Channels]:
        """Return what the prototypes of channels are means of; nothing for other kinds."""
        if result.choices.kind != "channels":
            return []
        from napari_physgen.regions.scan import read_scan

        settings = self.settings.model_copy(update={"kind": "channels"})
        read = read_scan(self.scan.data, settings, self.mask)
        return [Channels(read.values, read.names)]

    def again(self, found: Choices, wall_cost: float | None) -> MapTask:
        """Return the quick map with another wall cost and everything else as it was found."""
        update: dict[str, Any] = {
            "method": "fast",
            "kind": found.kind,
            "regions": found.regions,
            "stride": found.stride,
            "wall_cost": wall_cost,
            "restarts": min(self.settings.restarts, 3),
        }
        if found.window >= LEAST_WINDOW:
            update["window"] = found.window
        return replace(self, settings=self.settings.model_copy(update=update))
