"""What a microscopist may choose when regions are mapped."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from napari_physgen.settings import Settings, setting

Kind = Literal["lattice", "channels", "spectra", "diffraction"]
Perimeter = Literal["crofton", "tv", "modica-mortola", "mumford-shah"]


class RegionSettings(Settings):
    """Settings of a region map."""

    kind: Literal["auto", "lattice", "channels", "spectra", "diffraction"] = setting(
        "auto",
        title="Data",
        description="What was measured: an image of a lattice, a few channels of a scanning probe, "
        "a spectrum per pixel, or a diffraction pattern per pixel; auto looks at the data.",
    )
    signal_axis: Literal["auto", "first", "last"] = setting(
        "auto",
        title="Signal axis",
        description="Where the channel, energy or bias axis of the array is.",
        advanced=True,
    )
    channels: str = setting(
        "auto",
        title="Channels",
        description="What the channels are, in order and with commas: value, amplitude, phase, "
        "phase in degrees, real, imaginary or skip; auto finds wrapped phases.",
        advanced=True,
        only={"kind": ("auto", "channels")},
    )
    method: Literal["vae", "fast", "classic"] = setting(
        "vae",
        title="Method",
        description="The physics VAE, the mixture model that it starts from (seconds), or the "
        "classic shift/rotation VAE with latent maps.",
    )
    regions: Annotated[int, Field(ge=1, le=16)] | Literal["auto"] = setting(
        "auto",
        title="Regions",
        description="How many kinds of region there are; auto decides by evidence and stability.",
        start="auto",
    )
    most_regions: int = setting(
        6,
        title="At most",
        description="The largest number of kinds of region that auto tries.",
        advanced=True,
        ge=1,
        le=16,
    )
    wall_cost: float | None = setting(
        None,
        title="Wall cost",
        description="What a wall costs, in nats of evidence per grid step of its length; larger "
        "values give fewer and smoother walls. Auto keeps the usual 2.5 unless another is clearly "
        "more stable.",
        tunable=True,
        ge=0.0,
        le=1000.0,
    )
    perimeter: Perimeter = setting(
        "crofton",
        title="Wall length",
        description="How the length of walls is measured: Cauchy-Crofton over eight neighbours, "
        "total variation, Modica-Mortola (walls of finite width), or Mumford-Shah "
        "(slow changes inside a region are free).",
        advanced=True,
        only={"method": ("vae", "classic")},
    )
    window: int | None = setting(
        None,
        title="Window",
        description="Side of the square that describes a point; auto takes 2.2 lattice periods, "
        "or what resolves the channels.",
        unit="px",
        ge=3,
        le=1024,
        advanced=True,
    )
    stride: int | None = setting(
        None,
        title="Grid step",
        description="Pixels between two points of the map before it is refined; auto takes 4 for "
        "lattices and 1 for channels and spectra unless the scan is very large.",
        unit="px",
        ge=1,
        le=64,
        advanced=True,
    )
    ignore_rotation: bool = setting(
        False,
        title="Ignore rotation",
        description="Treat the same structure in another orientation as the same region.",
    )
    refine: bool = setting(
        True,
        title="Refine walls",
        description="Place walls at the resolution of the image with smaller windows around them.",
        advanced=True,
    )
    latent: int = setting(
        2,
        title="Latent variables",
        description="How many latent maps the networks make.",
        advanced=True,
        ge=1,
        le=16,
        only={"method": ("vae", "classic")},
    )
    invariances: Literal["shift", "rotation", "shift and rotation", "none"] = setting(
        "shift",
        title="Invariances",
        description="What the classic VAE takes out of every window by itself.",
        only={"method": ("classic",)},
    )
    steps: int = setting(
        300,
        title="Training steps",
        description="Most steps of the network; it stops earlier when nothing changes any more.",
        advanced=True,
        ge=1,
        le=100_000,
        only={"method": ("vae", "classic")},
    )
    restarts: int = setting(
        4,
        title="Restarts",
        description="Starting points of the mixture model; the best by evidence minus wall cost "
        "is kept.",
        advanced=True,
        ge=1,
        le=64,
    )
    pixel_size_nm: float | None = setting(
        None,
        title="Pixel size",
        description="Distance of two pixels along x; without it lengths are in pixels.",
        unit="nm",
        gt=0.0,
        start=1.0,
    )
    pixel_height_nm: float | None = setting(
        None,
        title="Pixel height",
        description="Distance of two pixels along y; auto takes that along x.",
        unit="nm",
        gt=0.0,
        start=1.0,
        advanced=True,
    )
    seed: int = setting(
        0,
        title="Seed",
        description="Start of all random numbers: the same seed gives the same map.",
        advanced=True,
        ge=0,
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = setting(
        "auto",
        title="Device",
        description="Where to compute; auto takes a GPU if there is one.",
        advanced=True,
    )
