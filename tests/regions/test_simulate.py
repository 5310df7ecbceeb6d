"""Simulated scans: what they promise about truth, noise and geometry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage

from napari_physgen.errors import UserError
from napari_physgen.physics.wall_edges import label_length
from napari_physgen.regions._simulate_fields import grains, smooth, stripes
from napari_physgen.regions._simulate_lattice import Columns, draw, glass, honeycomb
from napari_physgen.regions._simulate_signals import compound_spectra
from napari_physgen.regions._simulate_stage import Stage
from napari_physgen.regions.simulate import SAMPLES, SimulatedScanSettings, simulate_scan

STORED = Path(__file__).parents[3] / "shared/data/regions/synthetic"


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_same_seed_gives_the_same_scan_and_another_one_does_not(sample: str) -> None:
    first, again, other = (
        simulate_scan(SimulatedScanSettings(sample=sample, height=48, seed=s)) for s in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.data, again.data)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert (first.data != other.data).any()


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("seed", range(3))
def test_every_pixel_has_a_region_and_every_region_pixels(sample: str, seed: int) -> None:
    settings = SimulatedScanSettings(
        sample=sample, height=64, width=96, drift=5, row_jitter=0.5, seed=seed
    )
    scan = simulate_scan(settings)
    assert scan.labels.shape == (64, 96)
    assert np.unique(scan.labels).tolist() == list(range(1, scan.regions + 1))
    shapes = {"lattice": (), "channels": (3,), "spectra": (256,), "diffraction": (32, 32)}
    rest = shapes[scan.kind]
    front = scan.kind == "channels"
    assert scan.data.shape == ((*rest, 64, 96) if front else (64, 96, *rest))
    assert np.isfinite(scan.data).all()


@pytest.mark.parametrize("dose", [10.0, 200.0])
def test_noise_of_an_image_is_that_of_counting(dose: float) -> None:
    """The variance of a count is its mean; a dose of 1e7 shows the same scan without noise."""
    noisy, clean = (
        simulate_scan(SimulatedScanSettings(sample="ferro", height=128, dose=d)).data
        for d in (dose, 1e7)
    )
    counts = noisy * dose
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-3)
    assert np.var(noisy - clean) == pytest.approx(clean.mean() / dose, rel=0.05)


def test_a_column_is_a_gaussian_of_its_brightness_and_width() -> None:
    column = Columns(np.array([[20.3, 17.6]]), np.array([2.0]), np.array([1.5]))
    picture = draw(column, np.zeros(40), (40, 40), 0.0)
    y, x = np.mgrid[:40, :40]
    expected = 2 * np.exp(-((y - 20.3) ** 2 + (x - 17.6) ** 2) / (2 * 1.5**2))
    np.testing.assert_allclose(picture, expected, atol=1e-3)


def test_columns_are_cut_off_at_the_frame_and_not_wrapped() -> None:
    corner = Columns(np.array([[0.0, 0.0]]), np.array([1.0]), np.array([2.0]))
    picture = draw(corner, np.zeros(30), (30, 30), 0.0)
    assert picture[0, 0] == pytest.approx(1)
    assert picture[10:].max() == picture[:, 10:].max() == 0


def test_a_row_is_read_where_the_scan_is_displaced_to() -> None:
    line = Columns(np.array([[10.0, 15.0]]), np.array([1.0]), np.array([2.0]))
    shift = np.full(30, 3.0)
    moved = draw(line, shift, (30, 30), 0.0)
    assert np.unravel_index(moved.argmax(), moved.shape) == (10, 12)


def test_truth_is_scanned_as_the_sample_is() -> None:
    settings = SimulatedScanSettings(height=64, drift=16, row_jitter=0.4, seed=2)
    stage = Stage.of(settings, 0)
    labels = (smooth(stage.random, stage.canvas, 8) > 0).astype(np.uint8)
    seen = stage.scanned(labels.astype(float)) > 0.5
    assert (seen == stage.truth(labels) - 1).mean() > 0.995
    first, last = (np.mean(stage.shift[s]) for s in (slice(8, 40), slice(-40, -8)))
    assert last - first > 5


def test_a_honeycomb_has_three_neighbours_at_the_bond_length() -> None:
    points, _ = honeycomb(12.0, 1.0, 1.0).fill((100, 100), 0.4, (3.0, 5.0))
    inner = points[np.all((points > 20) & (points < 80), axis=1)]
    apart = np.sort(np.linalg.norm(inner[:, None] - points, axis=-1), axis=1)
    np.testing.assert_allclose(apart[:, 1:4], 12 / np.sqrt(3), rtol=1e-9)
    assert (apart[:, 4] > 11.9).all()


def test_a_glass_keeps_its_density_and_its_least_distance() -> None:
    columns = glass((300, 300), 0.016, 1.0, 1.7, np.random.default_rng(0), apart=2.0)
    assert len(columns.points) == pytest.approx(0.016 * 300**2, rel=0.05)
    assert len(columns.apart(2.0).points) == len(columns.points)


def test_opposite_polarisations_have_the_same_power_and_not_the_same_phase() -> None:
    """|FFT| does not see an inversion: what makes the set hard for power spectra."""
    settings = SimulatedScanSettings(
        sample="ferro", height=448, dose=1e6, mistilt=0, disorder=0, seed=1
    )
    scan = simulate_scan(settings)
    cells = []
    for region in (1, 4):
        inner = scipy.ndimage.binary_erosion(scan.labels == region, iterations=9)
        y, x = np.nonzero(inner)
        total = np.zeros((14, 14))
        count = np.zeros((14, 14))
        np.add.at(total, (y % 14, x % 14), np.asarray(scan.data)[inner])
        np.add.at(count, (y % 14, x % 14), 1)
        cells.append(np.fft.fft2(total / count))
    first, opposite = cells
    low = (slice(0, 3), slice(0, 3))
    np.testing.assert_allclose(abs(first[low]), abs(opposite[low]), rtol=0.02)
    triple = [c[1, 1] * c[1, 0] * np.conj(c[2, 1]) for c in cells]
    assert abs(np.angle(triple[0] / triple[1])) > 0.3


def test_spectra_of_a_region_are_those_of_its_compound() -> None:
    scan = simulate_scan(SimulatedScanSettings(sample="spectral", dose=2000, seed=1))
    for compound, spectrum in enumerate(compound_spectra(), 1):
        mean = scan.data[scan.labels == compound].mean(0)
        np.testing.assert_allclose(mean / mean.mean(), spectrum, rtol=0.12)
    assert scan.data.sum(-1).mean() == pytest.approx(2000, rel=0.05)


def test_amplitude_vanishes_between_opposite_domains() -> None:
    scan = simulate_scan(SimulatedScanSettings(sample="pfm", dose=1e6, seed=0))
    amplitude, phase, _ = np.asarray(scan.data)
    up, down = scan.labels == 1, scan.labels == 2
    touching = scipy.ndimage.binary_dilation(up) & scipy.ndimage.binary_dilation(down)
    far = ~scipy.ndimage.binary_dilation(scan.labels == 3, iterations=6)
    assert np.median(amplitude[touching & far]) < 0.5
    inner = scipy.ndimage.binary_erosion(up, iterations=6)
    assert np.median(amplitude[inner]) == pytest.approx(1, abs=0.02)
    assert np.median(np.cos(phase[up])) > 0.9
    assert np.median(np.cos(phase[down])) < -0.9


def test_grains_get_the_shares_that_were_asked_for() -> None:
    wanted = (0.5, 0.3, 0.2)
    found = grains(np.random.default_rng(0), (120, 160), wanted)
    shares = np.bincount(found.ravel()) / found.size
    np.testing.assert_allclose(shares, wanted, atol=0.04)
    assert stripes(np.random.default_rng(0), (300, 300), 30, 0.38).mean() == pytest.approx(
        0.38, abs=0.04
    )


def test_a_random_field_is_normal_with_the_correlation_of_its_gaussian() -> None:
    """Smoothing by s gives the covariance exp(-r^2 / (4 s^2))."""
    field = smooth(np.random.default_rng(0), (700, 700), 5.0)
    covariance = np.mean(field[:, 10:] * field[:, :-10])
    assert field.std() == pytest.approx(1, abs=0.03)
    assert covariance == pytest.approx(np.exp(-1), abs=0.06)


def test_a_single_phase_has_no_wall() -> None:
    assert label_length(simulate_scan(SimulatedScanSettings(sample="single")).labels) == 0


def test_settings_out_of_bounds_are_explained() -> None:
    with pytest.raises(UserError, match="dose"):
        SimulatedScanSettings.parse({"dose": -1})


@pytest.mark.data
@pytest.mark.parametrize("sample", ["two-phase", "grains", "ferro", "pfm", "spectral"])
def test_scans_are_like_those_of_the_synthetic_suite(sample: str) -> None:
    """Mean, contrast and noise of new scans are within 12 % of the stored ones."""
    file = STORED / f"{sample.replace('-', '_')}.npz"
    if not file.exists():
        pytest.skip("needs ../shared/data")
    stored = np.load(file)["data"].astype(float)
    new = [simulate_scan(SimulatedScanSettings(sample=sample, seed=s)).data for s in range(3)]
    for statistic in (np.mean, np.std, _noise):
        values = [statistic(np.asarray(scan, float)) for scan in new]
        assert np.mean(values) == pytest.approx(statistic(stored), rel=0.12), statistic.__name__


def _noise(scan: np.ndarray) -> float:
    """Return the standard deviation of what differs from all neighbours along the last axes."""
    return float((scan - scipy.ndimage.uniform_filter(scan, 3, axes=(-2, -1))).std())
