"""Particle statistics against counted ones."""

from __future__ import annotations

import numpy as np
import pytest

from napari_physgen.metrics.particles import chord_lengths, equivalent_diameters, fraction


def test_fraction_counts_known_pixels_only() -> None:
    phase = np.zeros((4, 4))
    phase[:2] = 1
    assert fraction(phase) == 0.5
    assert fraction(phase, phase > 0) == 1.0


def test_diameter_of_a_disc_and_of_what_the_periodic_edge_cuts() -> None:
    y, x = np.mgrid[:100, :100] - 50
    disc = y**2 + x**2 < 20**2
    assert equivalent_diameters(disc) == pytest.approx([40], rel=0.01)
    cut = np.roll(disc, (50, 50), (0, 1))
    assert equivalent_diameters(cut, periodic=True) == pytest.approx([40], rel=0.01)
    assert len(equivalent_diameters(cut)) == 4


def test_particles_cut_by_the_edge_and_specks_are_left_out() -> None:
    phase = np.zeros((60, 60), bool)
    phase[0:9, 0:9] = phase[20:30, 20:30] = phase[40:50, 35:55] = phase[58, 30] = True
    expected = np.sqrt(4 / np.pi * np.array([100, 200]))
    assert equivalent_diameters(phase) == pytest.approx(expected)
    assert equivalent_diameters(np.zeros((5, 5))).size == 0


def test_chords_of_a_line() -> None:
    line = np.array([[1, 1, 0, 1, 0, 1, 1, 1, 0, 1]])
    assert sorted(chord_lengths(line)) == [1, 3]
    assert sorted(chord_lengths(line, periodic=True)) == [1, 3, 3]
    assert sorted(chord_lengths(line.T, axis=0)) == [1, 3]
    assert chord_lengths(np.ones((3, 5)), periodic=True).size == 0


def test_mean_chord_of_random_pixels_is_geometric() -> None:
    phase = np.random.default_rng(0).random((200, 200)) < 0.6
    assert chord_lengths(phase, periodic=True).mean() == pytest.approx(1 / 0.4, rel=0.03)
