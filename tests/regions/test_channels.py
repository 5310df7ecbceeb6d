"""Channels lose what is not the sample's: wraps of the phase and jumps between scan lines."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_physgen.errors import UserError
from napari_physgen.regions._channels import read_channels

HEIGHT, WIDTH = 64, 80
VALID = np.ones((HEIGHT, WIDTH), bool)


def piezoresponse() -> tuple[np.ndarray, np.ndarray]:
    """Return an amplitude and a phase (radians) of domains whose phase is close to the wrap."""
    rng = np.random.default_rng(3)
    up = gaussian_filter(rng.standard_normal((HEIGHT, WIDTH)), 6) > 0
    response = np.where(up, np.exp(3.0j), np.exp(-0.1j)) * (1 + 0.2 * up)
    noise = rng.standard_normal((2, HEIGHT, WIDTH))
    response = response + 0.15 * (noise[0] + 1j * noise[1])
    return np.abs(response), np.angle(response)


def smooth_map() -> np.ndarray:
    rng = np.random.default_rng(5)
    domains = gaussian_filter(rng.standard_normal((HEIGHT, WIDTH)), 7) > 0
    return domains + 0.1 * rng.standard_normal((HEIGHT, WIDTH))


@pytest.mark.parametrize("said", ["auto", "amplitude, phase"])
def test_amplitude_and_phase_become_their_parts_in_and_out_of_phase(said: str) -> None:
    amplitude, phase = piezoresponse()
    channels, names, _ = read_channels(np.stack([amplitude, phase]), VALID, said)
    assert names == ("in phase", "out of phase")
    expected = amplitude * np.exp(1j * phase)
    np.testing.assert_allclose(channels, [expected.real, expected.imag], atol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 360.0])
def test_phase_in_degrees_and_in_radians_give_the_same_channels(offset: float) -> None:
    amplitude, phase = piezoresponse()
    radians, names, said = read_channels(np.stack([amplitude, phase]), VALID, "auto")
    in_degrees = np.rad2deg(phase)
    if offset:  # from 0 to 360 instead of -180 to 180
        in_degrees = in_degrees % 360
    degrees, names_too, said_too = read_channels(np.stack([amplitude, in_degrees]), VALID, "auto")
    assert names == names_too
    np.testing.assert_allclose(degrees, radians, atol=1e-4)
    assert "in radians" in said[0]
    assert "in degrees" in said_too[0]


def test_a_phase_without_amplitude_is_a_direction() -> None:
    phase = np.linspace(-180, 180, VALID.size).reshape(VALID.shape)
    channels, names, _ = read_channels(phase[None], VALID, "phase in degrees")
    assert names == ("in phase", "out of phase")
    np.testing.assert_allclose(np.hypot(*channels), 1, atol=1e-6)


def test_channels_that_are_no_angles_are_left_as_they_are() -> None:
    height = 40 * smooth_map() ** 2
    channels, names, notes = read_channels(np.stack([height, 12 * smooth_map()]), VALID, "auto")
    assert names == ("value", "value")
    assert notes == []
    np.testing.assert_allclose(channels[0], height, rtol=1e-5)


def test_complex_channels_are_real_and_imaginary_parts_and_never_phases() -> None:
    """Real parts without a sign before imaginary parts of +-3 look like amplitude and phase."""
    amplitude, phase = piezoresponse()
    values = (amplitude + 1j * phase)[None]
    channels, names, notes = read_channels(values, VALID, "auto")
    assert names == ("real", "imaginary")
    assert notes == []
    np.testing.assert_allclose(channels, [amplitude, phase], rtol=1e-6)


def test_a_channel_may_be_skipped_but_not_all() -> None:
    values = np.stack([smooth_map(), smooth_map() + 1])
    channels, names, _ = read_channels(values, VALID, "Skip, value")
    assert names == ("value",)
    np.testing.assert_allclose(channels[0], values[1], rtol=1e-5)
    with pytest.raises(UserError, match="keep at least one"):
        read_channels(values, VALID, "skip, skip")


@pytest.mark.parametrize(
    ("said", "sentence"),
    [("value", "1 channels are named, but the scan has 2"), ("value, voltage", "'voltage' is no")],
)
def test_names_that_do_not_fit_are_refused(said: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        read_channels(np.zeros((2, HEIGHT, WIDTH)), VALID, said)


def test_jumps_between_lines_are_taken_off() -> None:
    """What is left of the jumps of the lines is small against the noise of a pixel, 0.1."""
    clean = smooth_map()
    jumps = np.random.default_rng(1).normal(0, 0.5, HEIGHT)
    (levelled,), _, _ = read_channels((clean + jumps[:, None])[None], VALID, "auto")
    left = (levelled - clean).mean(1)
    assert np.diff(left).std() < 0.1 * np.diff(jumps).std()


def test_points_without_data_do_not_disturb_the_levelling() -> None:
    clean = smooth_map()
    jumps = np.random.default_rng(1).normal(0, 0.5, HEIGHT)
    valid = VALID.copy()
    valid[20:30, 10:70] = False
    valid[40] = False
    broken = np.where(valid, clean + jumps[:, None], np.nan)
    (levelled,), _, _ = read_channels(broken[None], valid, "auto")
    assert np.isfinite(levelled).all()
    assert (levelled[~valid] == 0).all()
    left = np.diff([(levelled - clean)[row][valid[row]].mean() for row in range(40)])
    assert left.std() < 0.1 * np.diff(jumps).std()


@pytest.mark.parametrize("slope", [0.0, 0.02, 1.0])
def test_an_image_without_jumps_is_left_alone_with_its_slope(slope: float) -> None:
    image = (smooth_map() + slope * np.arange(HEIGHT)[:, None])[None]
    channels, _, _ = read_channels(image, VALID, "auto")
    np.testing.assert_allclose(channels, image, rtol=1e-5, atol=1e-5)


def test_points_alone_on_their_lines_cannot_be_levelled_and_are_kept() -> None:
    valid = np.zeros_like(VALID)
    valid[::2] = True
    image = smooth_map()[None]
    channels, _, _ = read_channels(image, valid, "auto")
    np.testing.assert_allclose(channels, np.where(valid, image, 0), rtol=1e-5)
