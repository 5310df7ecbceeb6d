"""Where a result comes from: enough plain data to judge it and to make it again."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Self

import numpy as np

from napari_physgen import __version__
from napari_physgen.errors import UserError

LIBRARIES = ("numpy", "scipy", "torch", "monai", "lightning-fabric", "scikit-image", "scikit-learn")


_SLAB = 2**26  # bytes that are hashed at once


@dataclass(frozen=True)
class Input:
    """One input array of a job.

    Parameters
    ----------
    name : str
        The part it plays ("raw").
    shape, dtype : tuple of int, str
    sha256 : str
        Hash of the pixel values in C order.
    source : str
        Layer or file it came from, if known.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    sha256: str
    source: str = ""

    @classmethod
    def of(cls, name: str, data: np.ndarray, source: str = "") -> Self:
        """Describe an array; a lazy one is read in slabs."""
        digest = hashlib.sha256()
        rows = max(_SLAB // max(data[:1].size * data.dtype.itemsize, 1), 1) if data.ndim else 1
        for start in range(0, len(data) if data.ndim else 1, rows):
            slab = np.ascontiguousarray(data[start : start + rows] if data.ndim else data)
            digest.update(slab.reshape(-1).view(np.uint8).data)
        return cls(name, tuple(data.shape), str(data.dtype), digest.hexdigest(), source)


@dataclass(frozen=True)
class Record:
    """The history of one result; same recipe, seed and device give the same pixels.

    Parameters
    ----------
    tool : str
        Name of the tool ("sim").
    settings : mapping
        Every setting as JSON values, with what was tuned while the job ran.
    seed : int or None
    inputs : tuple of Input
    device : str
        Where it was computed ("cpu", "cuda: NVIDIA ...").
    duration_s : float
        Wall time, s.
    metrics : mapping
        Figures of merit of the result.
    interventions : tuple of str
        What the user changed while the job ran; a result with any cannot be
        repeated from its settings alone.
    version : str
        Version of napari-physgen.
    libraries : mapping
        Versions of Python and of the libraries that compute.
    created : str
        Time of completion, UTC, ISO 8601.
    """

    tool: str
    settings: Mapping[str, Any]
    seed: int | None
    inputs: tuple[Input, ...]
    device: str
    duration_s: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    interventions: tuple[str, ...] = ()
    version: str = __version__
    libraries: Mapping[str, str] = field(default_factory=lambda: library_versions())
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @classmethod
    def joined(cls, records: Sequence[Self]) -> Self:
        """Return one record for the planes of a time-lapse: all inputs, mean metrics."""
        first = records[0]
        if len(records) == 1:
            return first
        return replace(
            records[-1],
            inputs=tuple(item for record in records for item in record.inputs),
            duration_s=round(sum(record.duration_s for record in records), 3),
            metrics={
                name: sum(record.metrics.get(name, math.nan) for record in records) / len(records)
                for name in first.metrics
            },
            interventions=tuple(
                f"plane {plane}: {words}"
                for plane, record in enumerate(records, 1)
                for words in record.interventions
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values (numbers that JSON lacks, such as NaN, become None)."""
        plain: dict[str, Any] = json_value(asdict(self))
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a record from `to_dict`'s result.

        Raises
        ------
        UserError
            If the values are no record.
        """
        try:
            plain = dict(values)
            plain["inputs"] = tuple(
                Input(**(item | {"shape": tuple(item["shape"])})) for item in plain["inputs"]
            )
            plain["interventions"] = tuple(plain["interventions"])
            plain["metrics"] = {
                name: math.nan if value is None else value
                for name, value in plain["metrics"].items()
            }
            return cls(**plain)
        except (KeyError, TypeError, AttributeError, ValueError):
            raise UserError(
                "This is not a record that napari-physgen understands: "
                "it may be damaged or come from a newer version."
            ) from None

    def to_json(self) -> str:
        """Return the record as a JSON document in plain ASCII."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read `to_json`'s document; raises UserError as `from_dict` does."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError:
            values = {}
        return cls.from_dict(values)


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the computing libraries, importing none."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def json_value(value: Any) -> Any:
    """Turn nested settings and metrics into what JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | tuple | list):
        return [json_value(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
