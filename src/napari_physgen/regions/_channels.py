"""Channels of a scanning probe as numbers that may be averaged: no wrapped phase, no row jumps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROLES = (
    "value",
    "amplitude",
    "phase",
    "phase in degrees",
    "real",
    "imaginary",
    "skip",
)
_RADIANS = (2.5, 7.5)
_DEGREES = (140.0, 430.0)


def read_channels(
    values: NDArray[np.generic], valid: NDArray[np.bool_], said: str
) -> tuple[NDArray[np.float32], tuple[str, ...], list[str]]:
    """Return channels without wrapped phases.

    Parameters
    ----------
    values : numpy.ndarray
        (channel, y, x); complex ones are amplitude and phase in one.
    valid : numpy.ndarray
        (y, x) bool.
    said : str
        Roles with commas, or "auto".

    Returns
    -------
    channels : numpy.ndarray
        (channel, y, x) float32, 0 where nothing is valid.
    names : tuple of str
    notes : list of str
        How the channels were read.
    """
    bytes_each = values.dtype.itemsize
    if np.iscomplexobj(values):
        if said == "auto":
            said = ",".join(["real"] * len(values) + ["imaginary"] * len(values))
        values = np.concatenate([values.real, values.imag])
    numbers: NDArray[np.float32] = np.where(valid, values, 0).astype(np.float32)
    notes: list[str] = []
    if said == "auto":
        # Colours fill the range of degrees, too.
        roles = ["value"] * len(numbers) if bytes_each == 1 else _guess(numbers, valid)
        notes = [
            f"Channel {i + 1} was read as the phase of channel {i}, in "
            f"{'degrees' if role.endswith('degrees') else 'radians'}."
            for i, role in enumerate(roles)
            if role.startswith("phase")
        ]
    else:
        roles = _parse(said, len(numbers))
    channels: list[NDArray[np.float32]] = []
    names: list[str] = []
    for i, role in enumerate(roles):
        after = roles[i + 1] if i + 1 < len(roles) else ""
        if role == "skip" or (role == "amplitude" and after.startswith("phase")):
            continue
        if role.startswith("phase"):
            phase = np.deg2rad(numbers[i]) if role.endswith("degrees") else numbers[i]
            paired = i > 0 and roles[i - 1] == "amplitude"
            size = numbers[i - 1] if paired else np.ones_like(phase)
            channels += [size * np.cos(phase), size * np.sin(phase)]
            names += ["in phase", "out of phase"]
        else:
            channels.append(_level(numbers[i], valid) if role == "value" else numbers[i])
            names.append(role)
    if not channels:
        raise UserError("All channels are skipped: keep at least one.")
    return np.stack(channels).astype(np.float32), tuple(names), notes


def _parse(said: str, count: int) -> list[str]:
    roles = [word.strip().lower() for word in said.split(",")]
    unknown = [role for role in roles if role not in ROLES]
    if unknown:
        raise UserError(f"'{unknown[0]}' is no kind of channel: write {', '.join(ROLES)} or auto.")
    if len(roles) != count:
        raise UserError(f"{len(roles)} channels are named, but the scan has {count}.")
    return roles


def _guess(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> list[str]:
    """Take a channel with the range of an angle that follows one without sign as its phase."""
    roles = ["value"] * len(values)
    for i in range(1, len(values)):
        low, high = np.percentile(values[i][valid], (0.5, 99.5))
        before = values[i - 1][valid]
        unsigned = np.percentile(before, 1) >= -0.05 * np.percentile(before, 99)
        if not unsigned or roles[i - 1] != "value":
            continue
        if _RADIANS[0] <= high - low <= _RADIANS[1] and max(-low, high) < 2 * np.pi + 1:
            roles[i - 1 : i + 1] = ["amplitude", "phase"]
        elif _DEGREES[0] <= high - low <= _DEGREES[1] and max(-low, high) < 420:
            roles[i - 1 : i + 1] = ["amplitude", "phase in degrees"]
    return roles


def _level(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Take off the jumps between scan lines, where they are larger than steps along lines.

    The median of the differences of two lines is the jump that is common to all their points.
    """
    both = valid[1:] & valid[:-1]
    steps = np.where(both, np.diff(values, axis=0), np.nan)
    lines = both.any(1)
    if not lines.any():
        return values
    jumps = np.zeros(len(steps))
    jumps[lines] = np.nanmedian(steps[lines], axis=1)
    rest = np.nanmedian(np.abs(steps - jumps[:, None]))
    if not np.std(jumps) > 0.5 * rest / np.sqrt(max(values.shape[1], 1)) * 5:
        return values
    offset = np.concatenate([[0.0], np.cumsum(jumps)])
    # Slow slopes across lines are the sample's own.
    trend = np.convolve(np.pad(offset, 12, mode="edge"), np.ones(25) / 25, "valid")
    return np.where(valid, values - (offset - trend)[:, None], 0).astype(np.float32)
