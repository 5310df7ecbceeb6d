"""A network trained for reconstructing SIM stacks, with what it has seen, as a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_physgen.backend import load_model, save_model
from napari_physgen.errors import UserError
from napari_physgen.sim.amortised import new_network
from napari_physgen.sim.familiarity import Seen

if TYPE_CHECKING:
    from torch import nn

    from napari_physgen.outputs import Output

KIND = "sim"
SHIPPED = Path(__file__).parent / "models" / "simulated.safetensors"
"""Trained by benchmarks/train_sim_model.py on simulated objects (`curriculum`) alone."""


@dataclass(frozen=True)
class SimModel:
    """A trained network.

    Parameters
    ----------
    net : torch.nn.Module
        On the CPU, in evaluation mode.
    seen : Seen
        The range of what it learned from.
    std_scale : float
        Factor on the jackknife standard deviation, from simulated stacks that it has not seen.
    settings, history, metrics, record : mapping
    summary, device : str
    shown : tuple of Output
    """

    net: nn.Module
    seen: Seen
    std_scale: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, list[tuple[int, float]]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    device: str = ""
    shown: tuple[Output, ...] = ()

    def outputs(self) -> list[Output]:
        """Return what there is to show after training."""
        return list(self.shown)

    def save(self, path: str | Path) -> None:
        """Write the model (safetensors); raises UserError where that cannot be done."""
        header = {
            "kind": KIND,
            "seen": asdict(self.seen),
            "std_scale": self.std_scale,
            "settings": dict(self.settings),
            "metrics": {k: v for k, v in self.metrics.items() if math.isfinite(v)},
            "record": dict(self.record),
            "summary": self.summary,
        }
        save_model(path, self.net.state_dict(), header)


def load(path: str | Path | None = None) -> SimModel:
    """Read a model that `SimModel.save` wrote; by default the one that is shipped.

    Raises
    ------
    UserError
        If the file is missing, damaged or another kind of model.
    """
    path = Path(path or SHIPPED)
    return _read(path, path.stat().st_mtime if path.is_file() else 0.0)


@lru_cache(maxsize=2)
def _read(path: Path, changed: float) -> SimModel:
    """Read a file once as long as it stays the same: tiles and series ask again and again."""
    state, header = load_model(path)
    if header.pop("kind", None) != KIND:
        raise UserError(
            f"{path.name} is no SIM model: choose a file saved after training in Reconstruct SIM."
        )
    try:
        net = new_network(0)
        net.load_state_dict(state)
        seen = Seen.of_header(header.pop("seen"))
        return SimModel(net.eval(), seen, **header)
    except (RuntimeError, TypeError, KeyError) as error:
        raise UserError(f"{path.name} is a model of another version: train it again.") from error
