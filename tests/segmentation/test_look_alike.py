"""Look-alikes have the structure and the grey levels of the images, and exact masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_particles import discs

from napari_physgen.backend import Progress, Stop, run
from napari_physgen.errors import UserError
from napari_physgen.metrics.microstructure import characteristic_length
from napari_physgen.segmentation import LabourFreeSettings, LookAlike, look_alike
from napari_physgen.segmentation.look_alike import rough_labels
from napari_physgen.segmentation.prepare import normalised


def test_pictures_come_with_masks_in_the_number_asked_for(
    look: LookAlike, quick: LabourFreeSettings
) -> None:
    assert len(look.pictures) == len(look.masks) == quick.pictures
    for picture, mask in zip(look.pictures, look.masks, strict=True):
        assert picture.shape == mask.shape == (128, 128)
        assert picture.dtype == np.float32
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) == {0, 1}
        np.testing.assert_allclose(np.percentile(picture, (0.5, 99.5)), (0, 1), atol=1e-5)


def test_structure_is_that_of_the_hidden_masks(look: LookAlike, hidden: list[np.ndarray]) -> None:
    """Share and length scale, of masks that were never shown."""
    share = np.mean([mask.mean() for mask in hidden])
    length = np.mean([characteristic_length(mask) for mask in hidden])
    assert np.mean([mask.mean() for mask in look.masks]) == pytest.approx(share, abs=0.07)
    assert look.length == pytest.approx(length, rel=0.1)
    lengths = [characteristic_length(mask) for mask in look.masks]
    assert np.mean(lengths) == pytest.approx(length, rel=0.25)


def test_grey_levels_are_those_of_the_images(
    look: LookAlike, micrographs: list[np.ndarray]
) -> None:
    """Bright particles in a dark matrix, as far apart; quartiles of all pixels alike."""
    for picture, mask in zip(look.pictures, look.masks, strict=True):
        assert picture[mask == 1].mean() > picture[mask == 0].mean() + 0.2
    own = np.quantile(np.stack([normalised(m) for m in micrographs]), (0.25, 0.5, 0.75))
    drawn = np.quantile(np.stack(look.pictures), (0.25, 0.5, 0.75))
    np.testing.assert_allclose(drawn, own, atol=0.12)


def test_rough_phases_are_nearly_right_and_nothing_of_them_is_copied(
    look: LookAlike, hidden: list[np.ndarray]
) -> None:
    for found, mask in zip(look.phases, hidden, strict=True):
        assert ((found > 0) & mask).sum() / ((found > 0) | mask).sum() > 0.85
        for drawn in look.masks:
            assert abs(np.corrcoef(drawn.ravel(), mask.ravel())[0, 1]) < 0.5


def test_what_was_found_is_said(look: LookAlike) -> None:
    assert look.summary.startswith("4 look-alikes. Image: 5")
    assert look.simulation.material == "spinodal"
    assert np.isfinite(list(look.metrics.values())).all()


def test_outputs_are_stacks_of_pictures_and_masks(look: LookAlike) -> None:
    pictures, masks = look.outputs()
    assert pictures.data.shape == masks.data.shape == (4, 128, 128)
    assert masks.kind == "labels"
    np.testing.assert_array_equal(masks.data[2], look.masks[2])


def test_a_saved_look_comes_back(look: LookAlike, tmp_path: Path) -> None:
    look.save(tmp_path / "look.npz")
    again = LookAlike.load(tmp_path / "look.npz")
    for name in ("pictures", "masks", "phases"):
        for old, new in zip(getattr(look, name), getattr(again, name), strict=True):
            np.testing.assert_array_equal(old, new)
    for name in ("simulation", "length", "summary", "metrics", "device"):
        assert getattr(again, name) == getattr(look, name), name


@pytest.mark.parametrize(
    "damage",
    ["no file of this kind", "cut short"],
)
def test_a_damaged_file_is_named(look: LookAlike, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "look.npz"
    look.save(path)
    whole = path.read_bytes()
    path.write_bytes(b"words" if damage != "cut short" else whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"look.npz is damaged: delete it"):
        LookAlike.load(path)


def test_stop_before_the_first_picture_leaves_nothing(
    micrographs: list[np.ndarray], quick: LabourFreeSettings
) -> None:
    def stop(progress: Progress) -> Stop | None:
        return Stop() if progress.message == "simulating look-alikes" else None

    with pytest.raises(UserError, match="Stopped before the first look-alike"):
        run(look_alike(micrographs, quick), stop)


def test_stop_while_rendering_keeps_the_pictures_that_are_there(
    micrographs: list[np.ndarray], quick: LabourFreeSettings, look: LookAlike
) -> None:
    """They are those of a run to the end; the preview shows the last one beside a real image."""
    shown = []

    def stop(progress: Progress) -> Stop | None:
        if progress.message != "rendering":
            return None
        assert progress.preview is not None
        shown.append(progress.preview())
        return Stop() if progress.step == 2 else None

    kept = run(look_alike(micrographs, quick), stop)
    assert len(kept.pictures) == len(kept.masks) == 2
    for old, new in zip(look.pictures, kept.pictures, strict=False):
        np.testing.assert_array_equal(old, new)
    assert [output.name for output in shown[-1]] == ["simulated", "real"]
    np.testing.assert_array_equal(shown[-1][0].data, kept.pictures[-1])


def test_fine_particles_become_a_class_only_if_asked_for() -> None:
    mask = discs((256, 256), [16.0] * 8 + [4.0] * 40)
    image = mask.astype(np.float32)
    assert set(np.unique(rough_labels(image, mask, "particles"))) == {0, 1}
    assert set(np.unique(rough_labels(image, mask, "large and fine"))) == {0, 1, 2}


def test_a_picture_of_noise_is_refused(quick: LabourFreeSettings) -> None:
    noise = np.random.default_rng(0).random((128, 128))
    slope = np.indices((128, 128))[1] + noise
    with pytest.raises(UserError):
        run(look_alike([slope], quick))
