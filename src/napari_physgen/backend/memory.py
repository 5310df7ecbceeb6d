"""Out of memory: work in smaller pieces, then on the CPU, and say so."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import TYPE_CHECKING, TypeVar

from napari_physgen.backend.job import Command, Job, Progress
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

R = TypeVar("R")

# Options of glibc's mallopt (malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
KEPT = 2**30  # bytes

_SIGNS = (
    "out of memory",  # CUDA, MPS
    "can't allocate memory",  # torch on the CPU
    "not enough memory",  # the same on Windows
    "alloc_failed",  # cuFFT, cuBLAS, cuDNN
)


def with_memory_fallback(
    start: Callable[[torch.device, int], Job[R]], device: torch.device, batch: int = 1
) -> Job[R]:
    """Run a job; each time memory runs out, start it again in a smaller way.

    First in pieces of half the size, down to 1; then, if `device` is a GPU, on the CPU with the
    original size. A `Progress` says so each time.

    Parameters
    ----------
    start : callable
        ``start(device, batch)`` makes the job. It must not hold tensors of an earlier start.
    device : torch.device
        Where to try first.
    batch : int
        How much to work on at once (frames, tiles, rows ...) at first.

    Raises
    ------
    UserError
        If even the smallest piece does not fit on the CPU.
    """
    size, pending = batch, None
    while True:
        try:
            return (yield from _deliver(start(device, size), pending))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside of the except block: the traceback, which holds the failed job's tensors, is gone.
        place = "this computer" if device.type == "cpu" else "the GPU"
        if size > 1:
            size //= 2
            way = f"in smaller pieces ({size} at a time)"
        elif device.type != "cpu":
            device, size, way = _cpu(), batch, "on the CPU, which is slower"
        else:
            raise UserError(
                "This computer has not enough memory for this image: crop it, choose a smaller "
                "zoom, or close other programs."
            )
        pending = yield Progress(0, 1, f"Not enough memory on {place}: starting again {way}")
        # After the yield: the listener has let go of the last preview and its tensors.
        free_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is some library's way to say that memory ran out."""
    import torch

    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or any(sign in str(error).lower() for sign in _SIGNS)


def free_cache() -> None:
    """Return memory that nothing refers to any more to the device."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


def keep_freed_memory() -> None:
    """Let large arrays take memory that was freed before instead of fresh pages, on Linux.

    By default glibc returns every array above 32 MB to the kernel, which then fills the next one
    with zeros: for steps that make and drop many such arrays most of the time (2048 x 2048 cells
    ran 2.7 times faster with this). At most KEPT stays with the process.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    mallopt(_MMAP_THRESHOLD, KEPT)
    mallopt(_TRIM_THRESHOLD, KEPT)


def _deliver(job: Job[R], pending: Command | None) -> Job[R]:
    """Run `job`, giving it the command that came while it was not there yet."""
    try:
        progress = next(job)
        while True:
            command = pending if pending is not None else (yield progress)
            pending = None
            progress = job.send(command)
    except StopIteration as end:
        result: R = end.value
        return result
    finally:
        job.close()


def _cpu() -> torch.device:
    import torch

    return torch.device("cpu")
