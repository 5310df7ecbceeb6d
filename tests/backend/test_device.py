from __future__ import annotations

import pytest
import torch

from napari_physgen.backend import describe_device, generator, resolve_device, system_info
from napari_physgen.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def gpu(no_gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (120 * 2**30, 139 * 2**30))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H200")


@pytest.mark.usefixtures("no_gpu")
def test_auto_is_the_cpu_without_a_gpu():
    assert resolve_device("auto") == resolve_device("cpu") == CPU


@pytest.mark.usefixtures("gpu")
def test_auto_is_the_gpu_where_there_is_one():
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda")
    assert resolve_device("cpu") == CPU


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(("name", "words"), [("cuda", "NVIDIA GPU"), ("mps", "Apple GPU")])
def test_an_absent_gpu_is_explained_in_one_sentence(name, words):
    with pytest.raises(UserError, match=f"no {words}.*choose the device 'auto'"):
        resolve_device(name)


def test_the_cpu_is_described_by_its_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert describe_device(CPU) == "CPU, 2 threads"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert describe_device(CPU) == "CPU, 1 thread"


@pytest.mark.usefixtures("gpu")
def test_a_gpu_is_described_by_its_free_memory():
    assert describe_device(torch.device("cuda")) == "NVIDIA H200, 120 of 139 GB free"
    assert system_info()["devices"].startswith("NVIDIA H200, 120 of 139 GB free; CPU")


def test_system_info_names_versions_devices_and_memory():
    info = system_info()
    assert info["torch"] == torch.__version__
    assert info["napari-physgen"]
    assert "CPU" in info["devices"]
    assert info["memory"].endswith("GB free")


def draw(*stream: int | str, seed: int = 0) -> list[float]:
    return torch.randn(4, generator=generator(seed, CPU, *stream)).tolist()


def test_streams_of_one_seed_repeat_and_differ():
    assert draw("noise", 1) == draw("noise", 1)
    different = [draw(), draw("noise"), draw("noise", 1), draw("weights", 1), draw(seed=1)]
    assert len({tuple(numbers) for numbers in different}) == len(different)


def test_generators_leave_the_global_random_numbers_alone():
    before = torch.get_rng_state()
    draw("noise")
    assert torch.equal(torch.get_rng_state(), before)
