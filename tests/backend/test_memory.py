from __future__ import annotations

import weakref

import pytest
import torch

from napari_physgen.backend import Job, Progress, Stop, run, with_memory_fallback
from napari_physgen.backend.memory import keep_freed_memory
from napari_physgen.errors import UserError
from napari_physgen.outputs import Output

CPU, GPU = torch.device("cpu"), torch.device("cuda")


class Fake:
    """A job that fits only on some devices with some batch sizes, and notes where it ran."""

    def __init__(self, *fits: tuple[torch.device, int], error: Exception | None = None) -> None:
        self.fits = fits
        self.error = error or torch.OutOfMemoryError("CUDA out of memory.")
        self.starts: list[tuple[torch.device, int]] = []
        self.commands: list[object] = []

    def __call__(self, device: torch.device, batch: int) -> Job[str]:
        self.starts.append((device, batch))
        self.commands.append((yield Progress(1, 2, "working")))
        if (device, batch) not in self.fits:
            raise self.error
        self.commands.append((yield Progress(2, 2, "working")))
        return f"{device.type} {batch}"


def test_a_job_that_fits_runs_as_it_is():
    fake, reports = Fake((GPU, 4)), []
    assert run(with_memory_fallback(fake, GPU, 4), reports.append) == "cuda 4"
    assert [report.message for report in reports] == ["working", "working"]


def test_the_batch_is_halved_until_it_fits():
    fake, reports = Fake((GPU, 2)), []
    assert run(with_memory_fallback(fake, GPU, 8), reports.append) == "cuda 2"
    assert fake.starts == [(GPU, 8), (GPU, 4), (GPU, 2)]
    assert reports[1].message == (
        "Not enough memory on the GPU: starting again in smaller pieces (4 at a time)"
    )


def test_the_cpu_is_last_and_starts_with_the_whole_batch():
    fake, reports = Fake((CPU, 2)), []
    assert run(with_memory_fallback(fake, GPU, 2), reports.append) == "cpu 2"
    assert fake.starts == [(GPU, 2), (GPU, 1), (CPU, 2)]
    assert "on the CPU, which is slower" in reports[-3].message


def test_when_nothing_fits_one_sentence_says_what_to_do():
    fake = Fake()
    with pytest.raises(UserError, match=r"not enough memory.*crop it"):
        run(with_memory_fallback(fake, GPU, 2))
    assert fake.starts == [(GPU, 2), (GPU, 1), (CPU, 2), (CPU, 1)]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
    ],
)
def test_every_library_s_way_to_say_out_of_memory_is_understood(error):
    assert run(with_memory_fallback(Fake((CPU, 1), error=error), CPU, 2)) == "cpu 1"


def test_other_errors_pass():
    fake = Fake(error=RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        run(with_memory_fallback(fake, GPU, 8))
    assert fake.starts == [(GPU, 8)]


def test_commands_reach_the_job_even_when_given_between_two_starts():
    fake = Fake((GPU, 1))
    run(
        with_memory_fallback(fake, GPU, 2),
        lambda progress: Stop() if progress.message != "working" else None,
    )
    assert fake.commands == [None, Stop(), None]


def test_the_memory_of_a_failed_start_is_free_before_the_next():
    alive: list[weakref.ref[torch.Tensor]] = []

    def start(device: torch.device, batch: int) -> Job[int]:
        assert all(tensor() is None for tensor in alive)
        big = torch.zeros(batch)
        alive.append(weakref.ref(big))
        yield Progress(0, 1, preview=lambda: [Output("big", big.numpy())])
        if batch > 1:
            raise torch.OutOfMemoryError
        return len(alive)

    assert run(with_memory_fallback(start, CPU, 4)) == 3


def test_closing_closes_the_job():
    closed = []

    def start(device: torch.device, batch: int) -> Job[None]:
        try:
            yield Progress(0, 1)
        finally:
            closed.append(True)

    job = with_memory_fallback(start, CPU)
    next(job)
    job.close()
    assert closed == [True]


def test_keeping_freed_memory_is_harmless_anywhere(monkeypatch):
    keep_freed_memory()
    keep_freed_memory()
    monkeypatch.setattr("napari_physgen.backend.memory.ctypes.CDLL", lambda _: object())
    keep_freed_memory()
