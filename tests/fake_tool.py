"""A tool that takes no time: its image is gain x mean of the frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_physgen.backend.job import Progress, Stop, Tune
from napari_physgen.errors import UserError
from napari_physgen.outputs import Output
from napari_physgen.recipe import Tool
from napari_physgen.settings import Settings, setting

if TYPE_CHECKING:
    from napari_physgen.backend.job import Job

TOOL = Tool(f"{__name__}:FakeSettings", f"{__name__}:reconstruct")


class FakeSettings(Settings):
    na: float = setting(title="NA", description="Aperture.", gt=0, le=1.7)
    pixel_size_nm: float = setting(80.0, title="Pixel", description="Pixel size.", unit="nm")
    gain: float = setting(1.0, title="Gain", description="Factor.", tunable=True, gt=0)
    steps: int = setting(5, title="Steps", description="How many.")
    seed: int = setting(0, title="Seed", description="Seed.")
    device: Literal["cpu"] = setting("cpu", title="Device", description="Where.")


@dataclass(frozen=True)
class FakeResult:
    image: np.ndarray
    steps: int

    @property
    def metrics(self):
        return {"steps": self.steps}

    @property
    def summary(self):
        return f"done in {self.steps} steps"

    def outputs(self):
        return [
            Output("SIM", self.image, zoom=2),
            Output("widefield", self.image[::2, ::2]),
            Output("spectrum", self.image, export=False),
            Output("circles", np.ones((1, 4, 2)), kind="shapes"),
        ]


def reconstruct(raw: np.ndarray, settings: FakeSettings) -> Job[FakeResult]:
    if raw.shape[0] != 9:
        raise UserError(f"{len(raw)} frames are not 9.")
    done = 0
    while done < settings.steps:
        done += 1
        command = yield Progress(done, settings.steps, "averaging")
        if isinstance(command, Stop):
            break
        if isinstance(command, Tune):
            settings = settings.tuned(**command.changes)
    noise = np.random.default_rng(settings.seed).normal(size=raw.shape[1:])
    image = np.kron(settings.gain * raw.mean(0) + noise, np.ones((2, 2)))
    return FakeResult(image.astype(np.float32), done)
