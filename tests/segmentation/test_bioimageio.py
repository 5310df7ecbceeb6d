"""A package says all that another program needs in order to compute what we compute."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from napari_physgen.errors import UserError
from napari_physgen.networks.unet import UNet
from napari_physgen.segmentation.bioimageio import export_bioimageio
from napari_physgen.segmentation.model import Design, SegmentationModel
from napari_physgen.segmentation.prepare import normalised

CLASSES = ("matrix", "large particles", "fine particles")
ABOUT: dict[str, Any] = {
    "name": "Gamma prime in a superalloy",
    "description": "Labels two generations of precipitates.",
    "classes": CLASSES,
}


def network(inputs: int = 1) -> nn.Module:
    """Return a small network whose batch norm has seen images."""
    net = UNet(
        inputs, 3, (4, 8, 8), generator=torch.Generator().manual_seed(1), batch_norm=True
    ).train()
    with torch.no_grad():
        net(torch.rand(4, inputs, 64, 64, generator=torch.Generator().manual_seed(2)) * 3)
    return net


def micrograph(y: int = 90, x: int = 140) -> np.ndarray:
    rng = np.random.default_rng(5)
    return (1000 + 300 * rng.random((y, x)) + 200 * (np.arange(x) % 20 > 9)).astype(np.uint16)


pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("package") / "model.zip"
    return export_bioimageio(
        network(),
        path,
        example=micrograph(),
        pixel_size_nm=5.2,
        authors=("Ada Example", {"name": "Max Example", "affiliation": "Institute"}),
        licence="CC-BY-4.0",
        tags=("gamma-prime",),
        documentation="Trained on simulations.",
        record={"steps": 800},
        **ABOUT,
    )


def unpacked(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    with zipfile.ZipFile(path) as zipped:
        files = {name: zipped.read(name) for name in zipped.namelist()}
    return yaml.safe_load(files["rdf.yaml"]), files


def array(content: bytes) -> np.ndarray:
    loaded: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
    return loaded


def as_described(rdf: dict[str, Any], files: dict[str, bytes], image: np.ndarray) -> np.ndarray:
    """Do with an image (batch, channel, y, x) what the description says, and nothing else."""
    dtype, scale = rdf["inputs"][0]["preprocessing"]
    assert (dtype["id"], scale["id"]) == ("ensure_dtype", "scale_range")
    image = image.astype(dtype["kwargs"]["dtype"])
    kwargs = scale["kwargs"]
    axes = tuple("bcyx".index(axis) for axis in kwargs["axes"])
    limits = [kwargs["min_percentile"], kwargs["max_percentile"]]
    low, high = np.percentile(image, limits, axis=axes, keepdims=True)
    image = ((image - low) / (high - low + kwargs["eps"])).astype(np.float32)
    weights = files[rdf["weights"]["torchscript"]["source"]]
    script = torch.jit.load(io.BytesIO(weights))
    with torch.no_grad():
        result: np.ndarray = script(torch.from_numpy(image)).numpy()
    return result


def ours(net: nn.Module, image: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        logits = net.eval()(torch.from_numpy(normalised(image))[None, None])
    result: np.ndarray = torch.softmax(logits, 1).numpy()
    return result


def test_package_computes_what_we_compute_for_any_size(package: Path) -> None:
    rdf, files = unpacked(package)
    step = rdf["inputs"][0]["axes"][2]["size"]
    for n in (0, 1, 5):
        image = micrograph(step["min"] + n * step["step"], step["min"] + 3 * step["step"])
        found = as_described(rdf, files, image[None, None])
        np.testing.assert_allclose(found, ours(network(), image), atol=1e-5)
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


def test_images_of_a_batch_are_scaled_one_by_one(package: Path) -> None:
    rdf, files = unpacked(package)
    first, second = micrograph(80, 80), micrograph(80, 80)[::-1] * 2 + 77
    both = as_described(rdf, files, np.stack([first, second])[:, None])
    np.testing.assert_allclose(both[1:], ours(network(), second), atol=1e-5)


def test_test_tensors_are_a_pair_and_the_example(package: Path) -> None:
    rdf, files = unpacked(package)
    given, wanted = array(files["test_input.npy"]), array(files["test_output.npy"])
    assert given.dtype == wanted.dtype == np.float32
    np.testing.assert_array_equal(given[0, 0, :90, :140], micrograph())
    np.testing.assert_allclose(as_described(rdf, files, given), wanted, atol=1e-5)
    assert wanted.shape == (1, 3, *given.shape[2:])


def test_structure_of_the_description(package: Path) -> None:
    """What format 0.5 asks for, as far as this project uses it."""
    rdf, _ = unpacked(package)
    needed = {"format_version", "type", "name", "description", "authors", "cite", "license"}
    needed |= {"documentation", "covers", "tags", "timestamp", "inputs", "outputs", "weights"}
    assert needed <= rdf.keys()
    assert rdf["type"] == "model"
    assert rdf["format_version"].startswith("0.5.")
    assert all({"doi", "url"} & entry.keys() for entry in rdf["cite"])
    (image,), (result,) = rdf["inputs"], rdf["outputs"]
    for tensor, names in ((image, ["intensity"]), (result, None)):
        kinds = [axis["type"] for axis in tensor["axes"]]
        assert kinds == ["batch", "channel", "space", "space"]
        assert [axis["id"] for axis in tensor["axes"][2:]] == ["y", "x"]
        channels = tensor["axes"][1]["channel_names"]
        assert all(name.isidentifier() and name.islower() for name in channels)
        assert names is None or channels == names
        for axis in tensor["axes"][2:]:
            assert (axis["scale"], axis["unit"]) == (5.2, "nanometer")
    assert len(result["axes"][1]["channel_names"]) == len(CLASSES)
    for axis in result["axes"][2:]:
        assert axis["size"] == {"tensor_id": image["id"], "axis_id": axis["id"]}
        assert image["axes"][2]["size"]["min"] > 2 * axis["halo"]
        assert axis["halo"] >= network().halo
        assert axis["halo"] % network().multiple == 0, "padding must keep the grid of the pooling"
    assert image["axes"][2]["size"]["step"] == network().multiple
    assert rdf["config"]["napari_physgen"]["model"] == {"steps": 800}


def test_every_file_is_there_with_its_hash(package: Path) -> None:
    rdf, files = unpacked(package)
    described = [rdf["weights"]["torchscript"]]
    described += [tensor["test_tensor"] for tensor in rdf["inputs"] + rdf["outputs"]]
    for entry in described:
        assert hashlib.sha256(files[entry["source"]]).hexdigest() == entry["sha256"]
    assert {rdf["documentation"], *rdf["covers"]} <= files.keys()
    cover = Image.open(io.BytesIO(files["cover.png"]))
    assert cover.width == 2 * cover.height
    assert len(files["cover.png"]) < 500_000


def test_read_me_names_classes_licence_and_what_is_not_known(package: Path) -> None:
    _, files = unpacked(package)
    text = files["README.md"].decode()
    for words in (*CLASSES, "CC-BY-4.0", "Ada Example, Max Example", "5.2 nm", "## Validation"):
        assert words in text
    assert "Trained on simulations." in text
    assert "No comparison with annotated images is recorded." in text


def test_without_authors_and_licence_it_says_so(tmp_path: Path) -> None:
    rdf, files = unpacked(export_bioimageio(network(), tmp_path / "plain.zip", **ABOUT))
    assert rdf["authors"] == [{"name": "not stated"}]
    assert "license" not in rdf
    assert "Licence: not stated" in files["README.md"].decode()
    assert "scale" not in rdf["inputs"][0]["axes"][2]


def test_several_channels_are_scaled_each(tmp_path: Path) -> None:
    channels = ("secondary electrons", "2nd detector")
    net = network(2)
    path = export_bioimageio(net, tmp_path / "two.zip", channels=channels, **ABOUT)
    rdf, files = unpacked(path)
    assert rdf["inputs"][0]["axes"][1]["channel_names"] == [
        "secondary_electrons",
        "class_2nd_detector",
    ]
    image = np.stack([micrograph(80, 80), micrograph(80, 80)[::-1] * 3])
    found = as_described(rdf, files, image[None])
    scaled = np.stack([normalised(channel) for channel in image])
    with torch.no_grad():
        wanted = torch.softmax(net.eval()(torch.from_numpy(scaled)[None]), 1).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_network_stays_as_it_is(tmp_path: Path) -> None:
    net = network()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    export_bioimageio(net, tmp_path / "model.zip", **ABOUT)
    assert net.training
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name])


class OneSize(nn.Module):
    """What it does depends on the size of the image, in a way that a trace does not follow."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        size = float(image.shape[-1])
        return torch.cat([image * 0, image * 0 + size / 100, image * 0 + 1], 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "a/b-model"}, "cannot name"),
        ({"name": "abc"}, "5 to 128"),
        ({"description": ""}, "description"),
        ({"classes": CLASSES[:2]}, "3 classes apart but 2 names"),
        ({"example": np.zeros((99, 99))}, "flat"),
        ({"example": np.zeros((4, 99, 99))}, "with 1 channel"),
    ],
)
def test_what_cannot_be_packed_is_refused_in_words(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words):
        export_bioimageio(network(), tmp_path / "model.zip", **(ABOUT | changes))
    assert not list(tmp_path.iterdir())


def test_network_that_is_bound_to_one_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be exported"):
        export_bioimageio(OneSize(), tmp_path / "model.zip", multiple=16, halo=8, **ABOUT)


def test_a_trained_model_is_packed_with_its_header(tmp_path: Path) -> None:
    design = Design(classes=3, features=4)
    model = SegmentationModel(
        design.build().eval(), design, CLASSES, pixel_size_nm=4.0, metrics={"iou": np.float64(0.5)}
    )
    path = export_bioimageio(
        model.net,
        tmp_path / "model.zip",
        pixel_size_nm=model.pixel_size_nm,
        record=model.header(),
        **ABOUT,
    )
    kept = unpacked(path)[0]["config"]["napari_physgen"]["model"]
    assert kept["classes"] == list(CLASSES)
    assert kept["metrics"] == {"iou": 0.5}


def test_network_for_volumes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="volumes"):
        export_bioimageio(UNet(1, 3, (4, 4), dimensions=3), tmp_path / "model.zip", **ABOUT)


def test_file_must_be_a_zip_in_a_folder_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a zip file"):
        export_bioimageio(network(), tmp_path / "model.pt", **ABOUT)
    with pytest.raises(UserError, match="folder"):
        export_bioimageio(network(), tmp_path / "no" / "model.zip", **ABOUT)


def test_the_format_s_own_library_accepts_the_package(package: Path) -> None:
    spec = pytest.importorskip("bioimageio.spec")
    description = spec.load_description(package)
    assert description.validation_summary.status in ("valid-format", "passed"), (
        description.validation_summary.format()
    )


def test_the_format_s_own_library_reproduces_the_results(package: Path) -> None:
    core = pytest.importorskip("bioimageio.core")
    summary = core.test_model(package)
    assert summary.status == "passed", summary.format()
    image = micrograph(200, 240)
    pipeline = core.create_prediction_pipeline(core.load_description(package))
    given = core.digest_spec.create_sample_for_model(
        pipeline.model_description, inputs={"image": image[None, None].astype(np.float32)}
    )
    # In blocks: whole, it mirrors the image at its borders before it looks for the percentiles.
    found = pipeline.predict_sample_with_blocking(given, ns=10).members["probabilities"].data
    inner = (..., *[slice(network().halo, -network().halo)] * 2)
    np.testing.assert_allclose(found.data[inner], ours(network(), image)[inner], atol=1e-4)
