"""Labels in tiles, in stacks and at other pixel sizes are those of the whole image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage
import torch
from drawn_particles import discs, micrograph

from napari_physgen.backend import Progress, Stop, run
from napari_physgen.errors import UserError
from napari_physgen.metrics.microstructure import characteristic_length
from napari_physgen.segmentation import PredictSettings, SegmentationModel, predict
from napari_physgen.segmentation.model import Design
from napari_physgen.segmentation.predict import entropy

PLAIN = PredictSettings(flips=False, device="cpu", precision="32-true")
FLIPS = PredictSettings(device="cpu", precision="32-true")


def random_model(dimensions: int = 2, classes: int = 3) -> SegmentationModel:
    """An untrained network whose norms have seen noise; all of its halo matters."""
    design = Design(classes, 4, dimensions)
    net = design.build(seed=3)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        net(torch.rand(1, 1, *(64 if dimensions == 2 else 32,) * dimensions, generator=draw))
    names = ("matrix", "large particles", "fine particles")[:classes]
    return SegmentationModel(net=net.eval(), design=design, classes=names)


def picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).random(shape)


@pytest.mark.parametrize(("settings", "shape"), [(PLAIN, (431, 557)), (FLIPS, (93, 471))])
def test_tiles_give_the_result_of_the_whole_image(
    settings: PredictSettings, shape: tuple[int, int]
) -> None:
    """To 1e-5, for odd sizes, in all eight orientations."""
    model, image = random_model(), picture(*shape)
    whole, tiled = (
        run(predict(model, image, settings.model_copy(update={"tile": tile})))
        for tile in (16384, 256)
    )
    np.testing.assert_allclose(tiled.probabilities, whole.probabilities, atol=1e-5)
    assert whole.probabilities.std() > 0.01


def test_turned_and_mirrored_images_have_turned_and_mirrored_labels() -> None:
    """Only if averaged over all orientations, whose order does not matter then."""
    model, image = random_model(), picture(61, 84)
    known = run(predict(model, image, FLIPS)).probabilities
    for quarter in range(4):
        for turn in (lambda a, q=quarter: np.rot90(a, q, (-2, -1)),
                     lambda a, q=quarter: np.rot90(a, q, (-2, -1))[..., ::-1]):  # fmt: skip
            found = run(predict(model, turn(image).copy(), FLIPS)).probabilities
            np.testing.assert_allclose(found, turn(known), atol=1e-5)
    one_way = run(predict(model, image, PLAIN)).probabilities
    mirrored = run(predict(model, image[:, ::-1].copy(), PLAIN)).probabilities
    assert abs(mirrored - one_way[..., ::-1]).max() > 1e-3


def test_probabilities_are_those_of_the_network_and_labels_the_most_probable_class() -> None:
    model, image = random_model(), picture(64, 64)
    low, high = np.percentile(image, (0.5, 99.5))
    normal = torch.from_numpy(((image - low) / (high - low)).astype(np.float32))
    with torch.inference_mode():
        expected = torch.softmax(model.net(normal[None, None])[0], 0).numpy()
    found = run(predict(model, image, PLAIN))
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
    np.testing.assert_array_equal(found.labels, expected.argmax(0))
    np.testing.assert_allclose(found.probabilities.sum(0), 1, atol=1e-5)
    assert found.labels.dtype == np.uint8
    assert found.probabilities.dtype == found.uncertainty.dtype == np.float32


def test_planes_of_a_stack_are_labelled_one_by_one() -> None:
    """Each with its own grey levels."""
    model = random_model()
    stack = np.stack([picture(48, 60) * gain + gain for gain in (1, 100, 3)])[:, None]
    stack[1] = stack[1, :, ::-1]
    found = run(predict(model, stack, PLAIN))
    assert found.labels.shape == stack.shape
    assert found.probabilities.shape == (3, *stack.shape)
    for plane, labels, shares in zip(
        stack[:, 0], found.labels[:, 0], found.probabilities[:, :, 0].swapaxes(0, 1), strict=True
    ):
        single = run(predict(model, plane, PLAIN))
        np.testing.assert_array_equal(labels, single.labels)
        np.testing.assert_allclose(shares, single.probabilities, atol=1e-6)


def test_progress_counts_planes_orientations_and_tiles() -> None:
    seen: list[Progress] = []
    run(predict(random_model(), picture(2, 40, 40), FLIPS), seen.append)  # type: ignore[arg-type]
    assert [p.message for p in seen[:1] + seen[-1:]] == ["labelling 1 of 2", "labelling 2 of 2"]
    assert [p.step for p in seen] == [*range(8)] * 2
    assert {p.total for p in seen} == {8}


def test_volumes_are_labelled_as_volumes() -> None:
    model, volume = random_model(3), picture(36, 40, 44)
    found = run(predict(model, np.stack([volume, 2 * volume]), PLAIN))
    assert found.labels.shape == (2, 36, 40, 44)
    np.testing.assert_allclose(found.probabilities[:, 1], found.probabilities[:, 0], atol=1e-5)
    assert found.outputs()[0].axes[-2:] == ("y", "x")


def test_entropy_is_0_where_sure_and_1_where_all_classes_are_equal() -> None:
    shares = np.array([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0]], np.float32).T
    np.testing.assert_allclose(entropy(shares), [0, 1, np.log(2) / np.log(3)], atol=1e-6)


def test_boundaries_are_less_sure_than_the_inside(
    trained: SegmentationModel, images: list[np.ndarray], masks: list[np.ndarray]
) -> None:
    found = run(predict(trained, images[6], FLIPS))
    away = scipy.ndimage.distance_transform_edt(masks[6]) + scipy.ndimage.distance_transform_edt(
        masks[6] == 0
    )
    assert found.uncertainty.min() >= 0
    assert found.uncertainty.max() <= 1
    assert found.uncertainty[away <= 1].mean() > 2 * found.uncertainty[away > 4].mean()


def test_wrong_pixels_are_less_sure_than_right_ones(
    trained: SegmentationModel, masks: list[np.ndarray]
) -> None:
    noisy = micrograph(masks[7], 60, noise=0.2)
    found = run(predict(trained, noisy, FLIPS))
    wrong = (found.labels > 0) != (masks[7] > 0)
    assert wrong.sum() > 30
    assert found.uncertainty[wrong].mean() > 1.5 * found.uncertainty[~wrong].mean()


@pytest.mark.parametrize("finer", [2, 3])
def test_images_of_finer_pixels_are_resampled_and_labelled_on_their_own_grid(
    trained: SegmentationModel, images: list[np.ndarray], masks: list[np.ndarray], finer: int
) -> None:
    """The model was trained at 5 nm."""
    fine = np.kron(images[6], np.ones((finer, finer)))
    found = run(predict(trained, fine, PLAIN, pixel_size_nm=5 / finer)).labels
    coarse = run(predict(trained, images[6], PLAIN, pixel_size_nm=5.0)).labels
    assert found.shape == fine.shape
    assert (found[::finer, ::finer] == coarse).mean() > 0.97
    both = (found > 0) & (np.kron(masks[6], np.ones((finer, finer))) > 0)
    either = (found > 0) | (np.kron(masks[6], np.ones((finer, finer))) > 0)
    assert both.sum() / either.sum() > 0.88


def test_images_of_coarser_pixels_have_labels_of_their_own_size(
    trained: SegmentationModel, images: list[np.ndarray]
) -> None:
    odd = images[6][:97, :61]
    assert run(predict(trained, odd, PLAIN, pixel_size_nm=9.0)).labels.shape == (97, 61)


def test_resampling_is_said_in_a_sentence(
    trained: SegmentationModel, images: list[np.ndarray]
) -> None:
    found = run(predict(trained, images[6], PLAIN, pixel_size_nm=10.0))
    sentence = "The image was resampled from 10 nm to the 5 nm pixels of the model."
    assert found.notes == (sentence,)
    assert sentence in found.summary


def test_nothing_is_said_about_images_of_the_models_pixel_size(
    trained: SegmentationModel, images: list[np.ndarray]
) -> None:
    found = run(predict(trained, images[6], PLAIN, pixel_size_nm=5.0))
    assert found.notes == ()


def test_an_image_of_quite_another_scale_is_refused(trained: SegmentationModel) -> None:
    with pytest.raises(UserError, match="50 nm pixels, the model was trained at 5 nm"):
        run(predict(trained, picture(64, 64), PLAIN, pixel_size_nm=50.0))


def test_stop_leaves_no_half_labelled_image(trained: SegmentationModel) -> None:
    with pytest.raises(UserError, match="Stopped before the image was labelled"):
        run(predict(trained, picture(3, 64, 64), FLIPS), lambda p: Stop() if p.step == 5 else None)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.ones((64, 64)), "flat"),
        (np.full((64, 64), np.nan), "no numbers"),
        (picture(64), "needs 2 axes, the image has 1"),
    ],
)
def test_bad_input_is_named(trained: SegmentationModel, image: np.ndarray, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        run(predict(trained, image, PLAIN))


@pytest.mark.parametrize(
    ("shape", "pixel_size"), [((12, 64), None), ((60, 60), 0.7)], ids=["few pixels", "resampled"]
)
def test_too_small_an_image_is_refused(
    trained: SegmentationModel, shape: tuple[int, int], pixel_size: float | None
) -> None:
    with pytest.raises(UserError, match="too small"):
        run(predict(trained, picture(*shape), PLAIN, pixel_size_nm=pixel_size))


def test_small_particles_are_left_out_if_asked() -> None:
    model = random_model(classes=2)
    image = picture(64, 64)
    every = run(predict(model, image, PLAIN)).labels
    some = run(predict(model, image, PLAIN.model_copy(update={"smallest": 12}))).labels
    parts, count = scipy.ndimage.label(some)
    sizes = np.bincount(parts.ravel())[1:]
    assert count
    assert sizes.min() >= 12
    assert ((some == every) | (some == 0)).all()
    known = np.bincount(scipy.ndimage.label(every)[0].ravel())[1:]
    assert (known < 12).any()
    assert sizes.sum() == known[known >= 12].sum()


def test_particles_are_counted_and_measured_if_asked(
    trained: SegmentationModel, images: list[np.ndarray], masks: list[np.ndarray]
) -> None:
    settings = PLAIN.model_copy(update={"particles": True})
    found = run(predict(trained, images[6], settings, pixel_size_nm=5.0))
    assert found.particles is not None
    assert found.particles.summary in found.summary
    drawn = scipy.ndimage.label(masks[6])[1]
    assert found.particles.instances.max() == pytest.approx(drawn, abs=2)
    names = [output.name for output in found.outputs()]
    assert names == ["labels", "separate particles", "uncertainty", "probabilities"]


def test_shares_of_the_classes_are_said(
    trained: SegmentationModel, images: list[np.ndarray], masks: list[np.ndarray]
) -> None:
    found = run(predict(trained, images[6], PLAIN))
    assert found.metrics["particles"] == (found.labels == 1).mean()
    assert sum(found.metrics.values()) == pytest.approx(1)
    assert found.metrics["particles"] == pytest.approx(masks[6].mean(), abs=0.03)
    assert f"{100 * found.metrics['particles']:.1f} % particles" in found.summary


def test_outputs_lie_on_the_image(trained: SegmentationModel) -> None:
    found = run(predict(trained, picture(2, 64, 70), PLAIN))
    labels, uncertainty, probabilities = found.outputs()
    assert labels.kind == "labels"
    assert labels.data.shape == uncertainty.data.shape == (2, 64, 70)
    assert labels.axes == ("plane", "y", "x")
    assert probabilities.axes == ("class", "plane", "y", "x")
    assert not probabilities.export
    assert all(output.zoom == 1 for output in found.outputs())


def test_half_precision_hardly_changes_labels(
    trained: SegmentationModel, images: list[np.ndarray]
) -> None:
    half = PLAIN.model_copy(update={"precision": "bf16-mixed"})
    exact, quick = (run(predict(trained, images[6], how)).labels for how in (PLAIN, half))
    assert (exact != quick).mean() < 0.01


def test_a_model_knows_nothing_of_drawn_squares_on_its_own_scale(
    trained: SegmentationModel,
) -> None:
    """Larger discs than any that it saw are labelled too: it goes by what is around a pixel."""
    mask = discs((160, 160), [30.0] * 3, seed=2)
    found = run(predict(trained, micrograph(mask), PLAIN)).labels > 0
    assert (found & mask).sum() / (found | mask).sum() > 0.8


def test_a_structure_of_another_scale_is_said(trained: SegmentationModel) -> None:
    image = micrograph(discs((128, 128), [8.0] * 20, 3), 3)
    plain = replace(trained, pixel_size_nm=None, length=None)
    usual = run(predict(plain, image, PLAIN))
    assert usual.notes == ()
    parts = characteristic_length(usual.labels > 0)
    same = run(predict(replace(plain, length=parts), image, PLAIN))
    assert same.notes == ()
    fine = run(predict(replace(plain, length=4 * parts), image, PLAIN))
    assert "4.0 times finer" in fine.notes[0]
    assert fine.notes[0] in fine.summary
