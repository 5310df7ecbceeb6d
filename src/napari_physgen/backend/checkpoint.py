"""Weights on disk: safetensors with one JSON document beside them, never pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_physgen.errors import UserError
from napari_physgen.io.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

_KEY = "physgen"


def save_model(
    path: str | Path, module_state: Mapping[str, Tensor], header: Mapping[str, Any]
) -> None:
    """Write weights and what is needed to use them; an interrupted save loses nothing.

    Parameters
    ----------
    path : path
        Usually ends in ``.safetensors``; an existing file is replaced.
    module_state : mapping of str to torch.Tensor
        A `state_dict`.
    header : mapping
        JSON values: settings, normalisation, pixel size, record.

    Raises
    ------
    UserError
        If the folder is absent or not writable, or the disk is full.
    """
    from safetensors.torch import save

    # Clones, for safetensors refuses tensors that share memory (tied weights, views).
    state = {
        name: tensor.detach().cpu().clone().contiguous() for name, tensor in module_state.items()
    }
    with replacing(path) as part:
        # Not save_file, which hides a full disk behind its own kind of error.
        part.write_bytes(save(state, {_KEY: json.dumps(dict(header), allow_nan=False)}))


def load_model(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_model` wrote: (state, header), the tensors on the CPU.

    Raises
    ------
    UserError
        If the file is absent, damaged or not a model of napari-physgen.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            document = (file.metadata() or {}).get(_KEY)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = None if document is None else json.loads(document)
    except OSError as error:
        raise UserError(f"There is no readable model file at {path}: check the name.") from error
    except (SafetensorError, ValueError) as error:
        raise UserError(
            f"{path.name} is damaged or is not a model file: save or download it again."
        ) from error
    if not isinstance(header, dict):
        raise UserError(
            f"{path.name} was not written by napari-physgen: choose a model saved with it."
        )
    return state, header
