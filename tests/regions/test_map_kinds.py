"""Region maps of every kind of scan, from end to end."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from napari_physgen import recipe
from napari_physgen.backend import Tune, run
from napari_physgen.errors import UserError
from napari_physgen.regions.evaluate import evaluate
from napari_physgen.regions.map import map_regions
from napari_physgen.regions.settings import RegionSettings
from napari_physgen.regions.simulate import SimulatedScanSettings, simulate_scan


def mapped(data, **settings):
    return run(map_regions(data, RegionSettings.parse({"method": "fast"} | settings)))


def simulated(sample, **settings):
    return simulate_scan(SimulatedScanSettings(sample=sample, **settings))


@pytest.mark.parametrize(
    ("sample", "size", "least"),
    [("two-phase", 160, 0.85), ("diffraction", 24, 0.95)],
)
def test_simulated_regions_are_found_without_labels(sample, size, least):
    scan = simulated(sample, height=size, seed=3)
    found = mapped(scan.data, regions=scan.regions)
    assert found.choices.kind == scan.kind
    assert evaluate(found.labels, scan.labels).adjusted_rand > least


def test_a_single_phase_with_mistilt_is_one_region():
    scan = simulated("single", seed=4)
    found = mapped(scan.data)
    assert found.choices.regions == 1
    assert (found.labels == 1).mean() >= 0.98
    assert found.wall_length == 0


def domains(unit=1.0):
    """Antiparallel domains: amplitude and phase of a weak signal, walls at x = 20 and 44."""
    rng = np.random.default_rng(0)
    up = (np.arange(64) > 20) & (np.arange(64) < 44)
    signal = np.where(up, 1.0, -1.0) + 0.3 * rng.standard_normal((64, 64))
    signal = signal + 0.3j * rng.standard_normal((64, 64))
    return np.stack([np.abs(signal), np.angle(signal) * unit]), up


def test_phase_in_degrees_gives_the_map_of_the_phase_in_radians():
    radians, up = domains()
    degrees, _ = domains(180 / np.pi)
    first = mapped(radians, regions=2)
    second = mapped(degrees, regions=2)
    assert first.choices.kind == "channels"
    assert "degrees" in " ".join(second.choices.notes)
    np.testing.assert_array_equal(first.labels, second.labels)
    truth = np.broadcast_to(up, (64, 64))
    assert evaluate(first.labels, truth + 1).adjusted_rand > 0.97


def test_what_the_mask_leaves_out_is_label_zero():
    data, _ = domains()
    mask = np.ones((64, 64), bool)
    mask[:10] = False
    found = run(map_regions(data, RegionSettings(regions=2, method="fast"), mask))
    assert (found.labels[:10] == 0).all()
    assert (found.labels[10:] > 0).all()
    assert (found.probabilities[:, :10] == 0).all()


def test_another_wall_cost_while_it_runs_is_the_one_of_the_result():
    data, _ = domains()
    job = map_regions(data, RegionSettings(regions=2, method="fast"))
    next(job)
    found = None
    command = Tune(wall_cost=5.0)
    while found is None:
        try:
            job.send(command)
            command = None
        except StopIteration as end:
            found = end.value
    assert found.choices.wall_cost == found.settings.wall_cost == 5.0


def test_the_classic_vae_gives_latent_maps_and_a_picture_of_its_latent_space():
    scan = simulated("two-phase", height=96, seed=5)
    found = mapped(scan.data, method="classic", regions=2, steps=5, stride=8)
    assert found.latent.shape == (2, *found.grid.shape)
    assert found.manifold is not None
    assert np.isfinite(found.manifold).all()
    assert {"latent maps", "latent space"} <= {output.name for output in found.outputs()}


def test_a_lazy_scan_gives_the_map_and_the_hash_of_the_same_numbers():
    data, _ = domains()
    settings = RegionSettings(regions=2, method="fast")
    plain = run(recipe.start("regions", settings, {"data": data}))
    lazy = run(recipe.start("regions", settings, {"data": da.from_array(data, chunks=(1, 16, 64))}))
    np.testing.assert_array_equal(plain.result.labels, lazy.result.labels)
    assert plain.record.inputs[0].sha256 == lazy.record.inputs[0].sha256
    assert plain.record.metrics["regions"] == 2


def test_outputs_lie_where_the_scan_is():
    scan = simulated("two-phase", height=96, seed=5)
    found = mapped(scan.data, regions=2)
    outputs = {output.name: output for output in found.outputs()}
    assert next(iter(outputs)) == "regions"
    assert outputs["regions"].kind == "labels"
    assert outputs["latent maps"].zoom == 1 / 4
    assert outputs["probabilities"].axes == ("region", "y", "x")
    assert outputs["prototypes"].axes == ("region", "y", "x")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"window": 80}, "window of 80 px is larger than the scan of 64 x 64 px"),
        ({"kind": "diffraction"}, "cannot be diffraction"),
    ],
)
def test_settings_that_do_not_fit_get_one_sentence(settings, sentence):
    data, _ = domains()
    with pytest.raises(UserError, match=sentence):
        mapped(data, **settings)


def test_an_image_without_a_lattice_is_mapped_by_texture_and_says_so():
    rng = np.random.default_rng(1)
    image = rng.standard_normal((96, 96))
    image[:, 48:] = 3 * image[:, 48:]
    found = mapped(image, regions=2)
    assert found.choices.kind == "channels"
    assert any("No lattice was found" in note for note in found.choices.notes)
    truth = 1 + np.broadcast_to(np.arange(96) >= 48, (96, 96))
    assert evaluate(found.labels, truth).adjusted_rand > 0.8


def test_negative_counts_are_said():
    rng = np.random.default_rng(2)
    cube = rng.poisson(20, (32, 24, 24)).astype(np.int32)
    cube[:8, :, 12:] += 20
    cube[0, 0, 0] = -3
    found = mapped(cube, regions=2, signal_axis="first")
    assert any("negative counts (-3)" in note for note in found.choices.notes)
