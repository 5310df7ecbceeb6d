"""What a BioImage.IO package says about its model: description, read-me file and cover."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_physgen.segmentation.bioimageio import Card

FORMAT = "0.5.4"
TAGS = ("2d", "pytorch", "unet", "semantic-segmentation", "napari", "napari-physgen")
NOT_STATED = "not stated"
_COLOURS = np.array(
    [(30, 30, 36), (222, 134, 49), (66, 146, 198), (116, 196, 118), (200, 90, 160)], np.uint8
)
_CITE = (
    {
        "text": "Ronneberger, Fischer, Brox: U-Net: Convolutional networks for biomedical image "
        "segmentation. MICCAI 2015.",
        "doi": "10.1007/978-3-319-24574-4_28",
    },
)


def description(
    card: Card,
    files: Mapping[str, bytes],
    smallest: int,
    multiple: int,
    halo: int,
    torch_version: str,
) -> dict[str, Any]:
    """Return the resource description (rdf.yaml) as plain values.

    Parameters
    ----------
    card : Card
    files : mapping
        Contents of the package's other files by name.
    smallest, multiple : int
        Sizes along y and x are smallest + n multiple.
    halo : int
        To be cut from the output.
    torch_version : str
    """
    values: dict[str, Any] = {
        "format_version": FORMAT,
        "type": "model",
        "name": card.name,
        "description": card.description,
        "authors": _authors(card),
        "cite": [dict(entry) for entry in card.cite or _CITE],
        "license": card.licence,
        "documentation": "README.md",
        "covers": ["cover.png"],
        "tags": list(dict.fromkeys([*TAGS, *card.tags])),
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": [_input(card, files["test_input.npy"], smallest, multiple)],
        "outputs": [_output(card, files["test_output.npy"], halo)],
        "weights": {
            "torchscript": {
                "source": "weights.pt",
                "sha256": _sha256(files["weights.pt"]),
                "pytorch_version": torch_version,
            }
        },
        "config": {"napari_physgen": {"version": __version__, "model": _plain(card.record)}},
    }
    return {key: value for key, value in values.items() if value is not None}


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what YAML can hold: lists for tuples, and words for what else there is."""
    values: dict[str, Any] = json.loads(json.dumps(dict(record), default=str))
    return values


def _authors(card: Card) -> list[dict[str, str]]:
    authors = card.authors or (NOT_STATED,)
    return [{"name": one} if isinstance(one, str) else dict(one) for one in authors]


def _input(card: Card, test: bytes, smallest: int, multiple: int) -> dict[str, Any]:
    low, high = card.percentiles
    size = {"min": smallest, "step": multiple}
    space = [{"type": "space", "id": axis, "size": dict(size)} | _scale(card) for axis in "yx"]
    return {
        "id": "image",
        "description": "Micrograph with its raw grey values.",
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": _names(card.channels)},
            *space,
        ],
        "data": {"type": "float32"},
        "test_tensor": {"source": "test_input.npy", "sha256": _sha256(test)},
        "preprocessing": [
            {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}},
            {
                "id": "scale_range",
                "kwargs": {
                    "axes": ["y", "x"],
                    "min_percentile": low,
                    "max_percentile": high,
                    # Images of any range: the usual 1e-6 would be large for one from 0 to 1e-5.
                    "eps": 1e-12,
                },
            },
        ],
    }


def _output(card: Card, test: bytes, halo: int) -> dict[str, Any]:
    space = [
        {
            "type": "space",
            "id": axis,
            "size": {"tensor_id": "image", "axis_id": axis},
            "halo": halo,
        }
        | _scale(card)
        for axis in "yx"
    ]
    if halo == 0:
        for axis in space:
            del axis["halo"]
    return {
        "id": "probabilities",
        "description": "Probability of each class; they add up to 1.",
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": _names(card.classes)},
            *space,
        ],
        "data": {"type": "float32", "range": [0.0, 1.0]},
        "test_tensor": {"source": "test_output.npy", "sha256": _sha256(test)},
    }


def _scale(card: Card) -> dict[str, Any]:
    if card.pixel_size_nm is None:
        return {}
    return {"scale": float(card.pixel_size_nm), "unit": "nanometer"}


def _names(names: tuple[str, ...]) -> list[str]:
    """Return names as the format wants them: identifiers in lower case."""
    plain = ("".join(c if c.isalnum() else "_" for c in name.lower()) for name in names)
    return [name if name[:1].isalpha() else f"class_{name}" for name in plain]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def readme(card: Card, multiple: int, halo: int) -> str:
    """Return the read-me file (Markdown)."""
    low, high = card.percentiles
    classes = "\n".join(f"- {number}: {name}" for number, name in enumerate(card.classes))
    scale = (
        f"It was made for images with pixels of {card.pixel_size_nm:g} nm: resample others."
        if card.pixel_size_nm
        else "The pixel size of the images that it was made for is not known."
    )
    people = ", ".join(author["name"] for author in _authors(card))
    licence = card.licence or "not stated, so ask the authors before you use or share the model"
    return f"""# {card.name}

{card.description}

Made with napari-physgen {__version__}. Authors: {people}. Licence: {licence}.

## Use

Input: images (batch, channel, y, x), float32; channels: {", ".join(card.channels)}.
In every image and channel the percentiles {low:g} and {high:g} become 0 and 1, of the whole image
rather than of a tile, without clipping; programs that read `rdf.yaml` do that themselves.
Output: probabilities (batch, class, y, x) of the classes

{classes}

Tiles along y and x are multiples of {multiple} px; {halo} px at their edges depend on what lies
beyond and are to be cut off. {scale}

## Training

{card.documentation or "Not described."}

## Validation

{card.validation or "No comparison with annotated images is recorded."}
Compare its labels with some that you draw yourself before you trust it on other images.
"""


def cover(image: NDArray[np.floating], labels: NDArray[np.intp], classes: int) -> bytes:
    """Return image and labels side by side as a PNG, twice as wide as high."""
    from PIL import Image

    grey = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    grey = np.repeat(grey[..., None], 3, axis=2)
    tint = _COLOURS[np.minimum(labels, classes - 1) % len(_COLOURS)]
    mixed = np.where((labels > 0)[..., None], (grey // 2 + tint // 2), grey)
    buffer = io.BytesIO()
    picture = Image.fromarray(np.concatenate([grey, mixed], axis=1).astype(np.uint8))
    picture.thumbnail((512, 256))
    picture.save(buffer, "png")
    return buffer.getvalue()
