"""A layer with many raw stacks: time points, planes, channels; read, reconstructed and shown."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.app.inputs import axis_names, pixels
from napari_physgen.outputs import Output
from napari_physgen.sim.stacks import in_memory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_physgen.app.frames import Layout
    from napari_physgen.backend import Job, Progress
    from napari_physgen.backend.job import Command

USUAL = ("channel", "z", "time")
"""Names of axes that nobody named, the last one first."""


@dataclass(frozen=True)
class SeriesAxes:
    """The axes of a layer along which its raw stacks lie.

    Parameters
    ----------
    axes : tuple of int
        Axes of the layer that do not run over raw frames.
    names : tuple of str
        Their names, then that of the stacks that lie one after the other, if there are any.
    shape : tuple of int
    """

    axes: tuple[int, ...]
    names: tuple[str, ...]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, layer: Layer, layout: Layout) -> SeriesAxes:
        """Find them."""
        shape, known = pixels(layer).shape, axis_names(layer)
        axes = tuple(a for a in range(len(shape) - 2) if a not in layout.used and shape[a] > 1)
        names = [known[a] for a in axes]
        sizes = [shape[a] for a in axes]
        if len(layout.picks) > 1:
            names.append("" if layout.along in names else layout.along)
            sizes.append(len(layout.picks))
        free = [name for name in USUAL if name not in names]
        for at in reversed(range(len(names))):
            if not names[at]:
                names[at] = free.pop() if free else f"axis {at + 1}"
        return cls(axes, tuple(names), tuple(sizes))

    def __len__(self) -> int:
        return prod(self.shape)

    @property
    def words(self) -> str:
        """Say what there is: "all 20 time points", "all 60 (20 time x 3 channel)"."""
        things = {"time": "time points", "z": "z planes", "channel": "channels"}
        if len(self.shape) == 1:
            return f"all {len(self)} {things.get(self.names[0], 'stacks')}"
        parts = zip(self.shape, self.names, strict=True)
        return f"all {len(self)} ({' x '.join(f'{n} {name}' for n, name in parts)})"


def read_series(layer: Layer, layout: Layout) -> Any:
    """Return all raw stacks of a layer (series..., frame, y, x), lazy where the layer is."""
    data = pixels(layer)
    if not isinstance(data, np.ndarray):
        import dask.array

        data = dask.array.asarray(data)  # type: ignore[no-untyped-call]
    series = SeriesAxes.of(layer, layout)
    lead = tuple(data.shape[a] for a in series.axes)
    front = (*series.axes, *layout.used)
    ones = tuple(a for a in range(data.ndim - 2) if a not in front)
    data = np.moveaxis(data, (*ones, *front), range(data.ndim - 2))
    flat = data.reshape(*lead, -1, *data.shape[-2:])
    if not layout.picks:
        return flat if layout.used else flat[..., 0, :, :]  # a montage
    if sum(layout.picks, ()) == tuple(range(flat.shape[-3])):
        return flat.reshape(*lead, len(layout.picks), -1, *data.shape[-2:])
    return np.stack([flat[..., list(row), :, :] for row in layout.picks], axis=-4)


class Growing:
    """The images of a series while it is computed.

    The job's own arrays are shown: what is finished, and the stack in work as far as it is.
    `place` is an empty layer that says where the images belong.

    Parameters
    ----------
    layer : napari.layers.Layer
    layout : Layout
    """

    def __init__(self, layer: Layer, layout: Layout) -> None:
        self.axes = SeriesAxes.of(layer, layout)
        self.place = _place(layer, layout, self.axes)
        self.done = 0
        self.left: float | None = None
        self._layout = layout
        self._went: list[float] | None = None
        self._image: np.ndarray | None = None
        self._zoom = 1.0

    def sink(self, first: Sequence[Output], sizes: Mapping[str, int]) -> list[np.ndarray]:
        """Make the arrays of the series; called by the job."""
        arrays = in_memory(first, sizes)
        self._image, self._zoom = arrays[0], first[0].zoom
        return arrays

    def watched(self, job: Job[Any]) -> Job[Any]:
        """Run the job of a series; its pictures show the whole series."""
        command: Command | None = None
        labels: list[str] = []
        began = time.monotonic()
        while True:
            try:
                progress: Progress = job.send(command)
            except StopIteration as end:
                return end.value
            label, colon, _ = progress.message.partition(": ")
            if colon and label not in labels:
                labels.append(label)
                self.done, now = len(labels) - 1, time.monotonic()
                if self.done > 1:  # the first stack takes longer than those that follow
                    self.left = (now - began) * (len(self.axes) - self.done)
                began = now
            if progress.preview is not None and self._image is not None:
                progress = replace(progress, preview=self._picture(progress.preview))
            command = yield progress

    @property
    def steps(self) -> dict[str, tuple[float, str]]:
        """Distance and unit of the stacks along each axis, for a file."""
        place = self.place
        return {
            name: (float(place.scale[axis]), str(place.units[axis]))
            for name, axis in zip(self.axes.names, self._sources, strict=True)
        }

    def follow(self, viewer: ViewerModel) -> None:
        """Move the sliders to the stack in work, unless somebody has moved them since."""
        dims, first = viewer.dims, viewer.dims.ndim - self.place.ndim
        axes = [first + axis for axis in self._sources]
        now = [dims.point[axis] for axis in axes]
        if self._went is not None and not np.allclose(now, self._went):
            return
        at = np.zeros(self.place.ndim)
        at[self._sources] = np.unravel_index(min(self.done, len(self.axes) - 1), self.axes.shape)
        world = self.place.data_to_world(tuple(at))
        for axis, source in zip(axes, self._sources, strict=True):
            dims.set_point(axis, world[source])
        self._went = [dims.point[axis] for axis in axes]

    @property
    def _sources(self) -> list[int]:
        """The axis of the layer that each axis of the series is."""
        sources = list(self.axes.axes)
        return (
            sources if len(sources) == len(self.axes.shape) else [*sources, self._layout.used[-1]]
        )

    def _picture(self, current: Any) -> Any:
        def picture() -> list[Output]:
            assert self._image is not None
            place = np.unravel_index(min(self.done, len(self.axes) - 1), self.axes.shape)
            now: Output = current()[0]
            images = self._image[: place[0] + 1].copy()
            if images[place].shape == now.data.shape:
                images[place] = now.data
            axes = (*self.axes.names, "y", "x")
            return self.placed([replace(now, data=images, axes=axes, zoom=self._zoom)])

        return picture

    def placed(self, outputs: Sequence[Output]) -> list[Output]:
        """Return images (series..., y, x) with all axes of `place`, so that sliders fit."""
        lead = len(self.axes.shape)
        return [self._placed(o) if o.data.ndim == lead + 2 else o for o in outputs]

    def _placed(self, output: Output) -> Output:
        sources = self._sources
        data = np.moveaxis(output.data, np.argsort(sources), range(len(sources)))
        for axis in range(self.place.ndim - 2):
            if axis not in sources:
                data = np.expand_dims(data, axis)
        return replace(output, data=data, axes=tuple(self.place.axis_labels))


def _place(source: Layer, layout: Layout, axes: SeriesAxes) -> Layer:
    """Return an empty layer with one entry for all raw frames of a stack, to put images on."""
    from napari.layers import Image

    shape, scale, translate = pixels(source).shape, source.scale.copy(), source.translate.copy()
    names = [name or "frame" for name in axis_names(source)]
    for axis, name in zip(axes.axes, axes.names, strict=False):
        names[axis] = name
    for axis in range(len(shape) - 2):
        if axis in axes.axes:
            continue
        frames = shape[axis] // max(len(layout.picks), 1)
        scale[axis] *= frames
        translate[axis] += source.scale[axis] * (frames - 1) / 2
    return Image(
        np.zeros((1,) * len(shape), np.uint8),
        name=source.name,
        scale=scale,
        translate=translate,
        rotate=source.rotate,
        shear=source.shear,
        affine=source.affine,
        units=source.units,
        axis_labels=names,
        contrast_limits=(0, 1),
    )
