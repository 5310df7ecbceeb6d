"""Where to compute, said in words, and random numbers that repeat there."""

from __future__ import annotations

import platform
import zlib
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]

_ABSENT = {
    "cuda": "There is no NVIDIA GPU that this torch can use: choose the device 'auto' or 'cpu', "
    "or install a GPU build of torch.",
    "mps": "There is no Apple GPU that this torch can use: choose the device 'auto' or 'cpu'.",
}
_PACKAGES = ("napari-physgen", "napari", "torch", "lightning-fabric", "monai", "numpy", "scipy")


def resolve_device(name: DeviceName) -> torch.device:
    """Return the device that the setting `name` stands for; "auto" takes a GPU if there is one.

    Raises
    ------
    UserError
        If a GPU is asked for and absent.
    """
    import torch

    present = _present()
    if name == "auto":
        return torch.device(present[0])
    if name not in present:
        raise UserError(_ABSENT[name])
    return torch.device(name)


def resolve_precision(name: Precision | Literal["auto"], device: torch.device) -> Precision:
    """Return the number format of networks; "auto" takes the fastest one that `device` has."""
    import torch

    if name != "auto":
        return name
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported()
    else:
        # Private, and the only way to ask; without the instructions bf16 is slower than float32.
        fast = (
            device.type == "cpu"
            and getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
        )
    return "bf16-mixed" if fast else "32-true"


def describe_device(device: torch.device) -> str:
    """Return one line such as "CPU, 2 threads" or "NVIDIA H200, 120 of 139 GB free"."""
    import torch

    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        name = torch.cuda.get_device_name(device)
        return f"{name}, {free / 2**30:.0f} of {total / 2**30:.0f} GB free"
    if device.type == "mps":
        return "Apple GPU"
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


def system_info() -> dict[str, str]:
    """Return versions, devices and free memory by name, for reports and the command `info`."""
    import psutil
    import torch

    info = {"system": platform.platform(), "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            info[package] = version(package)
        except PackageNotFoundError:
            info[package] = "not installed"
    devices = [torch.device(kind) for kind in _present() if kind != "cuda"]
    devices = [torch.device("cuda", index) for index in range(torch.cuda.device_count())] + devices
    info["devices"] = "; ".join(describe_device(device) for device in devices)
    memory = psutil.virtual_memory()
    info["memory"] = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GB free"
    return info


def generator(seed: int, device: torch.device | str, *stream: int | str) -> torch.Generator:
    """Return a random generator on `device` for one use of the setting `seed`.

    Parameters
    ----------
    seed : int
        The seed of the job, 0 or more.
    device : torch.device
    *stream : int or str
        What the numbers are for, e.g. ``"weights", member``. Each stream is independent of
        every other one of the same seed (NumPy's ``SeedSequence``).
    """
    import torch
    from numpy.random import SeedSequence

    key = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in stream]
    state = SeedSequence(seed, spawn_key=key).generate_state(2)
    return torch.Generator(device).manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)


def _present() -> list[str]:
    """Return the kinds of device at hand, the fastest first."""
    import torch

    kinds = ["cuda"] if torch.cuda.is_available() else []
    kinds += ["mps"] if torch.backends.mps.is_available() else []
    return [*kinds, "cpu"]


def one_thread() -> AbstractContextManager[None]:
    """Let torch compute with one thread: arrays of some 10,000 numbers gain nothing from more.

    Two threads wait for each other by spinning, which is many times slower beside a window that
    draws.
    """
    return _threads(1)


def beside_a_window() -> AbstractContextManager[None]:
    """Let torch compute with half of its threads, so that a window finds a core to draw with."""
    import torch

    return _threads(max(torch.get_num_threads() // 2, 1))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
