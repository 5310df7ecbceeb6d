"""Micrographs are made ready without harm, and what was done is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_bars import dark_table, label_box, micrograph, scale_bar
from skimage.io import imread

from napari_physgen.errors import UserError
from napari_physgen.segmentation.prepare import normalised, prepare, resampled, scale_of


def test_a_plain_micrograph_is_only_normalised() -> None:
    picture = micrograph()
    done = prepare([picture])
    assert done.notes == ()
    assert done.boxes == ((0, 384, 0, 512),)
    assert done.zooms == (1.0,)
    assert done.pixel_size_nm is None
    assert done.valid[0].all()
    assert done.images[0].dtype == np.float32
    np.testing.assert_allclose(done.images[0], normalised(picture))


def test_normalisation_is_by_percentiles_without_clipping() -> None:
    picture = np.arange(1001.0).reshape(77, 13)
    done = normalised(picture)
    assert np.percentile(done, [0.5, 99.5]) == pytest.approx([0, 1], abs=1e-6)
    assert done.min() == pytest.approx(-5 / 990)
    assert done.max() == pytest.approx(995 / 990)


def test_normalisation_undoes_gain_offset_and_bit_depth() -> None:
    picture = micrograph()
    for other in (picture.astype(np.uint16) * 257, 3.0 * picture - 7, picture.astype(np.int32)):
        np.testing.assert_allclose(normalised(other), normalised(picture), atol=1e-6)


def test_a_bar_is_cut_off_and_said() -> None:
    done = prepare([micrograph(), dark_table(micrograph(seed=1))])
    assert done.boxes == ((0, 384, 0, 512),) * 2
    assert done.notes == ("image 2: a bar or frame of 34 rows at the bottom was cut off",)
    np.testing.assert_array_equal(done.images[1], prepare([micrograph(seed=1)]).images[0])


def test_bars_stay_if_asked() -> None:
    drawn = dark_table(micrograph())
    done = prepare([drawn], crop_bars=False)
    assert done.images[0].shape == drawn.shape
    assert done.notes == ()


@pytest.mark.parametrize("draw", [scale_bar, label_box])
def test_annotations_are_invalid_and_filled_like_their_surroundings(draw) -> None:  # type: ignore[no-untyped-def]
    picture = micrograph((480, 640))
    drawn, (y0, y1, x0, x1) = draw(picture)
    done = prepare([drawn])
    inside = (slice(y0 + 2, y1 - 2), slice(x0 + 2, x1 - 2))
    assert not done.valid[0][inside].any()
    assert done.valid[0].mean() > 0.95
    assert done.notes[0].startswith("image 1: ")
    assert "scale bar" in done.notes[0]
    clean = normalised(picture)
    np.testing.assert_allclose(done.images[0][done.valid[0]], clean[done.valid[0]], atol=0.06)
    filled = done.images[0][~done.valid[0]]
    assert filled.mean() == pytest.approx(np.median(clean), abs=0.35)
    assert np.percentile(filled, [2, 98]) == pytest.approx(np.percentile(clean, [2, 98]), abs=0.4)


def test_coloured_marks_in_a_grey_picture_are_annotations() -> None:
    colours = np.repeat(micrograph()[..., None], 3, 2)
    colours[350:354, 400:490] = (255, 255, 0)
    done = prepare([colours])
    assert not done.valid[0][350:354, 400:490].any()
    assert done.valid[0].mean() > 0.98
    assert len(done.notes) == 1


def test_colours_become_luminance_and_alpha_is_dropped() -> None:
    grey = micrograph().astype(float)
    tinted = np.stack([grey, 0.7 * grey, 0.4 * grey], -1)
    done = prepare([tinted, np.concatenate([tinted, 0 * grey[..., None]], -1)])
    assert all("luminance" in note for note in done.notes)
    for image in done.images:
        np.testing.assert_allclose(image, normalised(grey), atol=1e-6)
    same = prepare([np.repeat(micrograph()[..., None], 4, 2)])
    assert same.notes == ()


def test_finer_images_are_averaged_to_the_coarsest_pixels() -> None:
    fine = micrograph((512, 512))
    done = prepare([fine, fine, fine[:256, :256]], pixel_size_nm=[5.2, 5.2, 10.4])
    assert done.zooms == (0.5, 0.5, 1.0)
    assert done.pixel_size_nm == 10.4
    blocks = fine.reshape(256, 2, 256, 2).mean((1, 3))
    np.testing.assert_allclose(done.images[0], normalised(blocks), atol=1e-6)
    assert done.notes == (
        "pixel sizes differ (image 1, image 2: 5.2 nm, image 3: 10.4 nm): resampled to 10.4 nm by "
        "averaging",
    )


@pytest.mark.parametrize("zoom", [0.13, 0.37, 0.81])
def test_averaging_keeps_means_and_places(zoom: float) -> None:
    y, x = np.indices((203, 301))
    done = resampled(2.0 * y + 3.0 * x, zoom)
    assert done.shape == (int(203 * zoom), int(301 * zoom))
    centres = [(np.arange(n) + 0.5) / zoom - 0.5 for n in done.shape]
    off = done - (2 * centres[0][:, None] + 3 * centres[1])
    assert abs(off).max() < 0.15 * (2 + 3)  # px: parts of pixels count as wholly flat
    assert abs(off.mean()) < 0.02 * (2 + 3)


def test_averaging_suppresses_what_the_coarse_grid_cannot_hold() -> None:
    checkers = np.indices((256, 256)).sum(0) % 2
    assert np.ptp(resampled(checkers, 0.25)) < 1e-12


def test_magnifying_keeps_places() -> None:
    y, x = np.indices((40, 50))
    done = resampled(2.0 * y + 3.0 * x, 2.5)
    centres = [(np.arange(n) + 0.5) / 2.5 - 0.5 for n in (100, 125)]
    inner = (slice(2, -2), slice(2, -2))
    exact = 2 * centres[0][:, None] + 3 * centres[1]
    np.testing.assert_allclose(done[inner], exact[inner], atol=1e-8)


def test_one_known_pixel_size_serves_those_without() -> None:
    done = prepare([micrograph(), micrograph(seed=1)], pixel_size_nm=[None, 4.0])
    assert done.pixel_size_nm == 4.0
    assert "image 1" in done.notes[0]


def test_a_model_scale_gives_zoom_and_sentence() -> None:
    assert scale_of(10.0, 10.05) == (1.0, "")
    zoom, note = scale_of(10.0, 5.0)
    assert zoom == 0.5
    assert "resampled" in note
    assert scale_of(None, None) == (1.0, "")
    assert "no pixel size" in scale_of(10.0, None).note
    assert "no pixel size" in scale_of(None, 10.0).note
    for wrong in (100.0, 1.0):
        with pytest.raises(UserError, match="more than 8 times apart"):
            scale_of(10.0, wrong)


def test_images_can_be_named() -> None:
    done = prepare([dark_table(micrograph())], names=["cell_01.tif"])
    assert done.notes[0].startswith("cell_01.tif: ")


@pytest.mark.parametrize(
    ("images", "sizes", "sentence"),
    [
        ([], None, "There are no images"),
        ([micrograph(), micrograph()[:50]], None, "Image 2 is too small"),
        ([np.zeros((9, 100, 100))], None, "Image 1 has the shape"),
        ([np.zeros((100, 100))], None, "Image 1 cannot be used. The image is flat"),
        ([np.full((100, 100), np.nan)], None, "Image 1 has pixels that are no numbers"),
        ([np.zeros((100, 100), complex)], None, "Image 1 holds no grey levels"),
        ([micrograph(), micrograph()], [1.0, 9.0], "more than 8 times apart"),
        ([micrograph(), micrograph()], [1.0], "There are 1 pixel sizes for 2 images"),
        ([micrograph(), micrograph()], [1.0, -1.0], "above 0"),
        ([micrograph()] * 3, [1.0, 2.0, None], "no pixel size for image 3"),
        ([micrograph()[:200], micrograph()[:200]], [1.0, 5.0], "Image 1 is too small"),
    ],
)
def test_bad_input_is_named(
    images: list[np.ndarray], sizes: list[float | None] | None, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        prepare(images, pixel_size_nm=sizes)


@pytest.mark.data
def test_real_micrographs_pass_unchanged_in_shape(data: Path) -> None:
    pictures = [imread(path) for path in sorted((data / "sem").glob("*/images/*.png"))]
    done = prepare(pictures)
    assert len(pictures) == 21
    assert done.notes == ()
    assert [image.shape for image in done.images] == [picture.shape for picture in pictures]
