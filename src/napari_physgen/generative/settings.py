"""Settings of priors: how they are trained, distilled, and used to restore and to synthesise."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from napari_physgen.settings import Settings, setting

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
Preset = Literal["edm", "ddpm", "iddpm", "ncsn", "ve", "vp", "sub-vp", "pfgm", "pfgm++", "trigflow"]
Learn = Literal["images", "pairs", "masks", "noisy"]
Domain = Literal["linear", "square root"]
Task = Literal["denoise", "deconvolve", "super-resolve", "inpaint", "sim"]
Method = Literal[
    "auto",
    "direct",
    "mmps",
    "pigdm",
    "dps",
    "mcg",
    "diffpir",
    "ddnm",
    "ddrm",
    "ald",
    "repaint",
]


_SMOOTH = ("edm", "trigflow", "pfgm", "pfgm++")


class GenerativeSettings(Settings):
    """How a prior is trained."""

    conditional: Learn = setting(
        "images",
        title="Learn from",
        description="images: clean-ish images of the kind to be restored; pairs: noisy images with "
        "their clean partners; masks: images with their masks; noisy: noisy images alone.",
    )
    preset: Preset = setting(
        "edm",
        title="Model",
        description="Family of generative models: diffusion (edm, ddpm, iddpm, ncsn, ve, vp, "
        "sub-vp, trigflow) or Poisson flow (pfgm, pfgm++).",
        advanced=True,
    )
    poisson_dimensions: float | None = setting(
        None,
        title="Poisson dimensions",
        description="Dimensions D of a Poisson flow; about 6 makes a denoiser that need not know "
        "the noise level; empty: those of the model.",
        advanced=True,
        gt=0,
        le=1e9,
    )
    domain: Domain = setting(
        "linear",
        title="Grey levels",
        description="square root: for counted photons, whose noise grows with the light; linear: "
        "for constant noise, and for all tasks beyond denoising.",
    )
    steps: int = setting(
        3000,
        title="Training steps",
        description="Batches of crops; stop when it is good enough.",
        ge=1,
        le=1_000_000,
    )
    features: int = setting(
        16,
        title="Features",
        description="Features of the finest level; each coarser level has twice as many, up to "
        "eight times.",
        advanced=True,
        ge=4,
        le=256,
    )
    levels: int = setting(
        4,
        title="Levels",
        description="Resolutions of the network; more see farther.",
        advanced=True,
        ge=1,
        le=6,
    )
    blocks: int = setting(
        1,
        title="Blocks",
        description="Residual blocks per level.",
        advanced=True,
        ge=1,
        le=4,
    )
    crop: int = setting(
        64,
        title="Crop",
        description="Size of the training crops.",
        unit="px",
        advanced=True,
        ge=8,
        le=1024,
    )
    batch: int = setting(
        16, title="Batch", description="Crops per step.", advanced=True, ge=1, le=1024
    )
    learning_rate: float = setting(
        1e-2,
        title="Learning rate",
        description="Largest step of the optimiser.",
        advanced=True,
        gt=0,
        le=1,
    )
    averaging: float = setting(
        0.1,
        title="Averaging",
        description="Width of the running average of the weights, as a share of the training.",
        advanced=True,
        gt=0,
        lt=0.28,
    )
    contrast: float = setting(
        0.0,
        title="Contrast variation",
        description="Random changes of brightness and contrast of the crops, for images that "
        "differ from those at hand.",
        advanced=True,
        ge=0,
        le=1,
    )
    volumes: bool = setting(
        False,
        title="Volumes",
        description="Learn volumes (z, y, x) instead of planes.",
        advanced=True,
    )
    camera_offset: float | None = setting(
        None,
        title="Camera offset",
        description="Grey level without light; empty: estimated.",
        unit="grey levels",
        advanced=True,
    )
    camera_gain: float | None = setting(
        None,
        title="Camera gain",
        description="Grey levels per detected photon of noisy images; empty: estimated.",
        advanced=True,
        ge=0,
        only={"conditional": ("noisy",)},
    )
    read_noise: float | None = setting(
        None,
        title="Read noise",
        description="Standard deviation of the noise without light; empty: estimated.",
        unit="grey levels",
        advanced=True,
        ge=0,
        only={"conditional": ("noisy",)},
    )
    pixel_size_nm: float | None = setting(
        None,
        title="Pixel",
        description="Pixel size of the images; a prior fits images of the same pixel size.",
        unit="nm",
        gt=0,
        le=1e6,
    )
    seed: int = setting(0, title="Seed", description="Same seed, same result.", advanced=True, ge=0)
    device: Device = setting("auto", title="Device", description="Where to compute.", advanced=True)
    precision: Precision = setting(
        "auto", title="Precision", description="Number format of the network.", advanced=True
    )

    @model_validator(mode="after")
    def _diffuses(self) -> Self:
        if self.poisson_dimensions is not None and self.preset not in _SMOOTH:
            raise ValueError(
                f"the model '{self.preset}' is sampled with fresh Gaussian noise, which Poisson "
                "dimensions do not allow: choose edm, trigflow or pfgm++"
            )
        if self.conditional in ("pairs", "noisy") and self.preset not in _SMOOTH:
            raise ValueError(
                f"the model '{self.preset}' predicts noise and cannot restore in one step: choose "
                "edm, trigflow, pfgm or pfgm++"
            )
        return self


class DistillSettings(Settings):
    """How a prior becomes a consistency model, which needs one evaluation per image."""

    method: Literal["tuning", "distillation", "training"] = setting(
        "tuning",
        title="Method",
        description="tuning: goes on from the prior, quickest (ECT); distillation: follows the "
        "prior's own paths (CD); training: starts anew (iCT).",
    )
    steps: int = setting(2000, title="Training steps", description="Batches.", ge=1, le=1_000_000)
    batch: int = setting(
        16, title="Batch", description="Crops per step.", advanced=True, ge=1, le=1024
    )
    crop: int = setting(
        64, title="Crop", description="Size of the crops.", unit="px", advanced=True, ge=8, le=1024
    )
    learning_rate: float = setting(
        2e-3,
        title="Learning rate",
        description="Largest step of the optimiser.",
        advanced=True,
        gt=0,
        le=1,
    )
    images: int = setting(
        256,
        title="Own images",
        description="Images to draw from the prior where none are given.",
        advanced=True,
        ge=1,
        le=100_000,
    )
    seed: int = setting(0, title="Seed", description="Same seed, same result.", advanced=True, ge=0)
    device: Device = setting("auto", title="Device", description="Where to compute.", advanced=True)
    precision: Precision = setting(
        "auto", title="Precision", description="Number format of the network.", advanced=True
    )


class RestoreSettings(Settings):
    """What was measured and how to restore it."""

    task: Task = setting(
        "denoise",
        title="Task",
        description="denoise; deconvolve: undo a blur; super-resolve: finer pixels; inpaint: fill "
        "what is masked; sim: reconstruct structured illumination.",
    )
    model: str = setting(
        "", title="Prior", description="File of the prior (.safetensors).", advanced=True
    )
    method: Method = setting(
        "auto",
        title="Method",
        description="auto: one evaluation for noise, moment matching (mmps) otherwise; the others "
        "are for comparison, and the spread of their samples is no uncertainty.",
        advanced=True,
    )
    samples: int | None = setting(
        None,
        title="Samples",
        description="Images that explain the data equally well; empty: none where one evaluation "
        "gives mean and uncertainty, else 8.",
        ge=0,
        le=256,
    )
    steps: int = setting(
        18,
        title="Sampling steps",
        description="Noise levels from nothing to the image.",
        advanced=True,
        ge=2,
        le=1000,
    )
    learning_steps: int = setting(
        1500,
        title="Learning steps",
        description="Without a prior: batches of crops to learn from the noisy image itself.",
        advanced=True,
        ge=1,
        le=1_000_000,
    )
    psf: Path | None = setting(
        None,
        title="PSF",
        description="TIFF or MRC file with the point spread function; empty: a Gaussian of the "
        "width below.",
        only={"task": ("deconvolve",)},
    )
    blur: float = setting(
        1.5,
        title="Blur",
        description="Standard deviation of the blur.",
        unit="px",
        ge=0.1,
        le=50,
        only={"task": ("deconvolve",)},
    )
    zoom: int = setting(
        2,
        title="Zoom",
        description="Result pixels per image pixel.",
        unit="x",
        ge=2,
        le=8,
        only={"task": ("super-resolve",)},
    )
    camera_offset: float | None = setting(
        None,
        title="Camera offset",
        description="Grey level without light; empty: estimated.",
        unit="grey levels",
        advanced=True,
    )
    camera_gain: float | None = setting(
        None,
        title="Camera gain",
        description="Grey levels per detected photon; 0 for noise that does not depend on the "
        "light; empty: estimated.",
        advanced=True,
        ge=0,
    )
    read_noise: float | None = setting(
        None,
        title="Read noise",
        description="Standard deviation of the noise without light; empty: estimated.",
        unit="grey levels",
        advanced=True,
        ge=0,
    )
    na: float = setting(
        1.49,
        title="NA",
        description="Numerical aperture of the objective.",
        gt=0,
        le=1.7,
        only={"task": ("sim",)},
    )
    wavelength_nm: float = setting(
        525.0,
        title="Emission",
        description="Emission wavelength.",
        unit="nm",
        gt=0,
        le=2000,
        only={"task": ("sim",)},
    )
    angles: int = setting(
        3,
        title="Angles",
        description="Number of pattern orientations.",
        ge=2,
        le=9,
        only={"task": ("sim",)},
    )
    phases: int = setting(
        3,
        title="Phases",
        description="Number of pattern shifts per orientation.",
        ge=3,
        le=15,
        only={"task": ("sim",)},
    )
    brightness: Literal["as learned", "fit"] = setting(
        "as learned",
        title="Grey levels",
        description="as learned: the image is as bright as those that the prior learned from; fit: "
        "its own range is mapped to theirs.",
        advanced=True,
    )
    anomalies: bool = setting(
        False,
        title="Anomalies",
        description="Also show where the result is unlike what the prior learned.",
        advanced=True,
    )
    noise_factor: float = setting(
        1.0,
        title="Noise",
        description="How strong the noise is taken to be, relative to what was measured.",
        unit="x",
        gt=0.05,
        le=20,
    )
    trust: float = setting(
        1.0,
        title="Trust",
        description="Where the result counts as sure: its standard deviation is below this share "
        "of the local contrast.",
        advanced=True,
        gt=0,
        le=10,
    )
    pixel_size_nm: float | None = setting(
        None, title="Pixel", description="Pixel size of the image.", unit="nm", gt=0, le=1e6
    )
    tile: int = setting(
        1024,
        title="Tile",
        description="Largest piece that is worked on at once; the result is the same.",
        unit="px",
        advanced=True,
        ge=256,
        le=16384,
    )
    seed: int = setting(0, title="Seed", description="Same seed, same result.", advanced=True, ge=0)
    device: Device = setting("auto", title="Device", description="Where to compute.", advanced=True)


class GenerateSettings(Settings):
    """How new images are made."""

    model: str = setting(
        "", title="Prior", description="File of the prior (.safetensors).", advanced=True
    )
    count: int = setting(4, title="Images", description="How many to make.", ge=1, le=10_000)
    size: int = setting(
        256, title="Size", description="Side of the images.", unit="px", ge=16, le=4096
    )
    steps: int | None = setting(
        None,
        title="Sampling steps",
        description="Noise levels from nothing to the image; empty: those of the model.",
        advanced=True,
        ge=1,
        le=5000,
    )
    eta: float | None = setting(
        None,
        title="Fresh noise",
        description="0: none (DDIM, probability flow); 1: as the reverse diffusion (DDPM); empty: "
        "that of the model.",
        advanced=True,
        ge=0,
        le=1,
    )
    guidance: float = setting(
        1.0,
        title="Guidance",
        description="How strictly images follow their masks; 1: as learned.",
        advanced=True,
        ge=0,
        le=10,
    )
    seed: int = setting(0, title="Seed", description="Same seed, same result.", ge=0)
    device: Device = setting("auto", title="Device", description="Where to compute.", advanced=True)
