"""Hand a segmentation network to other programs: a BioImage.IO model package.

One zip file with the network as TorchScript, a description that says how to prepare images, and a
pair of tensors with which every program can check that it computes the same. Format 0.5:
https://github.com/bioimage-io/spec-bioimage-io
"""

from __future__ import annotations

import copy
import io
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.errors import UserError
from napari_physgen.io.atomic import replacing
from napari_physgen.segmentation._bioimageio_card import cover, description, readme

if TYPE_CHECKING:
    import os

    import torch
    from numpy.typing import NDArray
    from torch import nn

    Tensor4 = NDArray[np.float32]

PERCENTILES = (0.5, 99.5)
"""Grey levels of an image that become 0 and 1, see `prepare.normalised`."""

_TEST_SIZE = 256
_AGREE = 1e-4
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+- ()"


@dataclass(frozen=True)
class Card:
    """What people should know of the model.

    Parameters
    ----------
    name : str
        5 to 128 letters, digits, blanks and ``_+-()``.
    description : str
        One or two sentences, up to 1024 characters.
    classes : tuple of str
        Of the outputs, the background first.
    channels : tuple of str
        Of the inputs.
    authors : tuple of str or mapping
        Names, or mappings with "name" and what is wanted of "affiliation", "orcid", "email",
        "github_user". Without any it says that they are not stated.
    licence : str, optional
        SPDX identifier ("CC-BY-4.0", "BSD-3-Clause"). Without it nobody else may use the model,
        and the read-me file says so; the model zoo takes no such package.
    documentation : str
        How it was trained and for what, in Markdown.
    validation : str
        How good it is on which images, in Markdown.
    tags : tuple of str
        Besides those of every such package.
    cite : tuple of mapping
        With "text" and "doi" or "url"; the U-Net's paper by default.
    pixel_size_nm : float, optional
        Of the images that the network was made for.
    percentiles : tuple of float
        Of every channel of an image: what becomes 0 and 1.
    record : mapping
        JSON values that are kept in the description, e.g. `SegmentationModel.header`.
    """

    name: str
    description: str
    classes: tuple[str, ...]
    channels: tuple[str, ...] = ("intensity",)
    authors: tuple[str | Mapping[str, str], ...] = ()
    licence: str | None = None
    documentation: str = ""
    validation: str = ""
    tags: tuple[str, ...] = ()
    cite: tuple[Mapping[str, str], ...] = ()
    pixel_size_nm: float | None = None
    percentiles: tuple[float, float] = PERCENTILES
    record: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 5 <= len(self.name) <= 128 or set(self.name) - set(_LETTERS):
            raise UserError(
                f"'{self.name}' cannot name a BioImage.IO model: take 5 to 128 letters, digits, "
                "blanks or _+-()."
            )
        if not self.description or len(self.description) > 1024:
            raise UserError("The description needs 1 to 1024 characters.")
        if len(self.classes) < 2 or not self.channels:
            raise UserError("A package needs the names of two classes or more and of a channel.")


def export_bioimageio(
    net: nn.Module,
    path: str | os.PathLike[str],
    *,
    name: str,
    description: str,
    classes: Sequence[str],
    example: NDArray[np.generic] | None = None,
    multiple: int | None = None,
    halo: int | None = None,
    **about: Any,
) -> Path:
    """Write a network as a BioImage.IO model package.

    Parameters
    ----------
    net : torch.nn.Module
        Logits (batch, class, y, x) of images (batch, channel, y, x); it stays as it is.
    path : path
        Ends in ".zip"; an existing file is replaced.
    name, description, classes
        See `Card`.
    example : numpy.ndarray, optional
        Image (y, x) or (channel, y, x) with its raw grey values, for the pair of test tensors and
        for the cover; drawn at random if there is none.
    multiple : int, optional
        Tiles must be multiples of it; that of the network (``net.multiple``) or 16 by default.
    halo : int, optional
        Pixels at a tile's edge that depend on what lies beyond, rounded up to whole `multiple`;
        ``net.halo`` or 32 by default.
    **about
        Further fields of `Card`.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    UserError
        If the name, the description or the example cannot be used, if the network takes volumes or
        cannot be turned into TorchScript, or if the file cannot be written.
    """
    card = Card(name, description, tuple(classes), **about)
    target = Path(path)
    if target.suffix.lower() != ".zip":
        raise UserError(f"A BioImage.IO package is a zip file: let {target.name} end in '.zip'.")
    if getattr(net, "dimensions", 2) != 2:
        raise UserError("Only networks for single images can be exported, this one takes volumes.")
    multiple = int(getattr(net, "multiple", 16) if multiple is None else multiple)
    halo = int(getattr(net, "halo", 32) if halo is None else halo)
    # Other programs pad by the halo: in whole steps, or pooling would see another grid.
    halo = -(-halo // multiple) * multiple
    smallest = 2 * halo + multiple
    picture = _example(example, card, smallest, multiple)
    script = _scripted(net, picture.shape[1], smallest, multiple)
    prepared = _prepared(picture, card.percentiles)
    output = _applied(script, prepared)
    if output.shape[1] != len(card.classes):
        raise UserError(
            f"The network tells {output.shape[1]} classes apart but {len(card.classes)} names are "
            "given: name every class."
        )
    files = {
        "weights.pt": _saved(script),
        "test_input.npy": _npy(picture),
        "test_output.npy": _npy(output),
        "cover.png": cover(prepared[0, 0], output[0].argmax(0), len(card.classes)),
        "README.md": readme(card, multiple, halo).encode(),
    }
    files["rdf.yaml"] = _description(card, files, smallest, multiple, halo)
    with replacing(target) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as package:
        for file, content in files.items():
            package.writestr(file, content)
    return target


def _description(
    card: Card, files: Mapping[str, bytes], smallest: int, multiple: int, halo: int
) -> bytes:
    import torch
    import yaml

    values = description(card, files, smallest, multiple, halo, torch.__version__.split("+")[0])
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode()


def _example(
    example: NDArray[np.generic] | None, card: Card, smallest: int, multiple: int
) -> Tensor4:
    """Return the test image (1, channel, y, x), cut or mirrored to a size that tiles may have."""
    size = max(smallest, smallest + (_TEST_SIZE - smallest) // multiple * multiple)
    channels = len(card.channels)
    if example is None:
        return _drawn(channels, size)
    picture = np.asarray(example, np.float32)
    picture = picture[None] if picture.ndim == 2 else picture
    if picture.ndim != 3 or len(picture) != channels or not np.isfinite(picture).all():
        raise UserError(
            f"The example has the shape {np.shape(example)}: give a finite image (y, x), or "
            f"(channel, y, x) with {channels} channel{'s' * (channels > 1)}."
        )
    picture = picture[:, :size, :size]
    missing = [(0, size - n) for n in picture.shape[1:]]
    return np.ascontiguousarray(np.pad(picture, [(0, 0), *missing], mode="symmetric")[None])


def _drawn(channels: int, size: int) -> Tensor4:
    """Return blobs with noise, 8-bit grey values."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    blobs = gaussian_filter(rng.normal(size=(channels, size, size)), (0, 6, 6))
    picture = np.where(blobs > 0, 160, 90) + rng.normal(0, 12, blobs.shape)
    return np.asarray(np.clip(np.rint(picture), 0, 255)[None], np.float32)


def _prepared(picture: Tensor4, percentiles: tuple[float, float]) -> Tensor4:
    """Scale each channel as `prepare.normalised` does."""
    low, high = np.percentile(picture.astype(np.float64), percentiles, axis=(2, 3), keepdims=True)
    if (high <= low).any():
        raise UserError("The example is flat: give an image in which something can be seen.")
    return np.asarray((picture - low) / (high - low), np.float32)


def _scripted(
    net: nn.Module, channels: int, smallest: int, multiple: int
) -> torch.jit.ScriptModule:
    """Return the network with a softmax as TorchScript that takes any size."""
    import torch

    whole = torch.nn.Sequential(copy.deepcopy(net), torch.nn.Softmax(dim=1)).cpu().float().eval()
    generator = torch.Generator().manual_seed(0)
    sizes = [(1, channels, smallest, smallest)]
    sizes.append((2, channels, smallest + multiple, smallest + 3 * multiple))
    small, other = (torch.rand(size, generator=generator) for size in sizes)
    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        # What a trace keeps fixed is found by the other size; TorchScript is what the format has.
        warnings.simplefilter("ignore")
        try:
            script = torch.jit.trace(whole, small, check_trace=False)  # type: ignore[no-untyped-call]
            difference = float((script(other) - whole(other)).abs().max())
        except (RuntimeError, TypeError) as error:
            raise UserError(
                f"This network cannot be turned into TorchScript for other programs ({error})."
            ) from error
    if not difference < _AGREE:
        raise UserError(
            "As TorchScript this network gives other results for images of another size, so that "
            "it cannot be exported."
        )
    result: torch.jit.ScriptModule = script
    return result


def _applied(script: torch.jit.ScriptModule, prepared: Tensor4) -> Tensor4:
    import torch

    with torch.no_grad():
        return np.asarray(script(torch.from_numpy(prepared)).numpy(), np.float32)


def _saved(script: torch.jit.ScriptModule) -> bytes:
    import torch

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(script, buffer)
    return buffer.getvalue()


def _npy(array: Tensor4) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
