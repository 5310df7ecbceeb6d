"""Wall length means length, at every angle and on any pixels, and its gradient is right."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from napari_physgen.physics.perimeter import (
    PERIMETERS,
    cauchy_crofton,
    modica_mortola,
    mumford_shah,
    total_variation,
    wall_length,
)
from napari_physgen.physics.wall_edges import edges, ends, label_length

ANGLES = np.linspace(0, math.pi, 19)
SIDE = 161


def place(spacing: tuple[float, float] = (1.0, 1.0)) -> tuple[np.ndarray, np.ndarray]:
    """Return y and x of the nodes, from the middle of the map."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    return y * spacing[0], x * spacing[1]


def pair(first: np.ndarray) -> torch.Tensor:
    return torch.tensor(np.stack([first, 1 - first]))


def per_length(
    measure: Callable[..., float], angle: float, spacing: tuple[float, float], width: float
) -> float:
    """Return the cost of a straight wall per length, ends taken out by two discs of data."""
    y, x = place(spacing)
    across = x * math.cos(angle) + y * math.sin(angle) + 0.137
    first = 1 / (1 + np.exp(-across / width)) if width else (across > 0).astype(float)
    small, large = (np.hypot(y, x) < r for r in (25, 75))
    return (measure(first, spacing, large) - measure(first, spacing, small)) / 100


def hard(first: np.ndarray, spacing: tuple[float, float], valid: np.ndarray) -> float:
    return label_length(first.astype(int), spacing, valid)


def soft(term: Callable[..., torch.Tensor], **options: float) -> Callable[..., float]:
    return lambda first, spacing, valid: float(
        term(pair(first), spacing, torch.tensor(valid), **options)
    )


@pytest.mark.parametrize("angle", ANGLES)
def test_crofton_length_of_straight_walls_is_right_within_minus_5_plus_3_percent(
    angle: float,
) -> None:
    """-5.2 to +2.6 % by geometry, for a hard wall; counting pixels adds half a percent."""
    assert 0.943 < per_length(hard, angle, (1, 1), 0) < 1.031
    assert 0.943 < per_length(soft(cauchy_crofton), angle, (1, 1), 0) < 1.031


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 1.3), (2.0, 1.0), (0.7, 1.6)])
def test_mean_over_directions_is_exact_on_any_pixels(spacing: tuple[float, float]) -> None:
    fine = np.linspace(0, math.pi, 2000, endpoint=False)
    crossings = [
        weight * np.abs(dy * spacing[0] * np.sin(fine) + dx * spacing[1] * np.cos(fine))
        for (dy, dx), weight in edges(spacing)
    ]
    per_angle = np.sum(crossings, axis=0) / math.prod(spacing)
    assert per_angle.mean() == pytest.approx(1, abs=1e-4)
    assert 0.88 < per_angle.min() < per_angle.max() < 1.1


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 1.5), (2.0, 1.0)])
def test_circle_has_its_circumference_within_three_percent(spacing: tuple[float, float]) -> None:
    """Radius 50, in the unit of the spacing, also when the pixels are twice as high as wide."""
    y, x = place(spacing)
    inside = np.hypot(y, x) < 50
    everywhere = np.ones_like(inside)
    expected = pytest.approx(2 * math.pi * 50, rel=0.03)
    assert hard(inside, spacing, everywhere) == expected
    assert soft(cauchy_crofton)(inside.astype(float), spacing, everywhere) == expected
    smooth = 1 / (1 + np.exp(np.hypot(y, x) - 50))
    assert soft(total_variation)(smooth, spacing, everywhere) == pytest.approx(
        2 * math.pi * 50, rel=0.05
    )


def test_axis_differences_count_a_wall_at_45_degrees_41_percent_too_long() -> None:
    """Why the diagonals are there: the L1 norm of Kim and Ye (TIP 2019) does not measure length."""

    def axes_only(first: np.ndarray, _: tuple[float, float], valid: np.ndarray) -> float:
        cuts = 0.0
        for offset in ((0, 1), (1, 0)):
            a, b = ends(offset)
            cuts += (np.abs(first[a] - first[b]) * (valid[a] & valid[b])).sum()
        return cuts

    assert per_length(axes_only, math.pi / 4, (1, 1), 0) == pytest.approx(math.sqrt(2), abs=0.02)
    assert per_length(hard, math.pi / 4, (1, 1), 0) == pytest.approx(0.948, abs=0.01)


@pytest.mark.parametrize("angle", ANGLES[::3])
@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
def test_crofton_and_total_variation_do_not_depend_on_the_width_of_the_wall(
    angle: float, width: float
) -> None:
    assert 0.915 < per_length(soft(cauchy_crofton), angle, (1, 1), width) < 1.031
    assert 0.95 < per_length(soft(total_variation), angle, (1, 1), width) < 1.01


def test_hard_walls_have_their_total_variation_along_the_axes_and_a_tenth_more_at_most() -> None:
    sizes = [per_length(soft(total_variation), angle, (1, 1), 0) for angle in ANGLES]
    assert sizes[0] == pytest.approx(1, abs=0.01)
    assert 0.98 < min(sizes) < max(sizes) < 1.1


def test_total_variation_charges_for_a_checkerboard() -> None:
    y, x = place()
    board = pair(((x + y) % 2).astype(float))
    assert float(total_variation(board)) > 0.3 * SIDE**2


@pytest.mark.parametrize("angle", ANGLES[::3])
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 1.25)])
def test_modica_mortola_wall_in_equilibrium_costs_its_length_within_one_percent(
    angle: float, spacing: tuple[float, float]
) -> None:
    width = 8.0
    term = soft(modica_mortola, width=width)
    scale = width / (2 * math.log(9))
    cost = per_length(term, angle, spacing, scale)
    assert cost == pytest.approx(1, abs=0.01)
    for other in (scale / 1.5, scale * 1.5):
        assert per_length(term, angle, spacing, other) > cost


def test_mumford_shah_counts_jumps_by_their_length_and_slopes_hardly() -> None:
    y, x = place()
    jump = torch.tensor(np.where(x > 20.2, 5.0, 0.0) + 0.02 * y + 0.01 * x)[None]
    flat = torch.tensor(0.02 * y + 0.01 * x)[None]
    steps = label_length((x > 20.2).astype(int))
    assert float(mumford_shah(jump) - mumford_shah(flat)) == pytest.approx(steps, rel=0.01)
    assert float(mumford_shah(flat)) < 0.001 * SIDE**2


def test_jump_over_the_threshold_costs_the_same_at_any_height() -> None:
    _, x = place()
    lengths = [float(mumford_shah(torch.tensor(h * (x > 0.2))[None])) for h in (2.2, 5, 50)]
    assert lengths == pytest.approx([lengths[-1]] * 3, rel=0.01)


@pytest.mark.parametrize("name", PERIMETERS)
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.8, 1.7)])
def test_gradient_equals_finite_differences(name: str, spacing: tuple[float, float]) -> None:
    rng = torch.Generator().manual_seed(4)
    logits = torch.randn(2, 3, 5, 6, generator=rng, dtype=torch.float64, requires_grad=True)
    valid = torch.rand(5, 6, generator=rng) > 0.15

    def length(maps: torch.Tensor) -> torch.Tensor:
        return wall_length(name, maps.softmax(1), maps, spacing, valid)

    assert torch.autograd.gradcheck(length, logits)
    slope = torch.autograd.grad(length(logits).sum(), logits)[0]
    assert slope.abs().max() > 1e-3


@pytest.mark.parametrize("name", PERIMETERS)
def test_walls_against_no_data_cost_nothing(name: str) -> None:
    _, x = place()
    maps = pair((x > 10.5).astype(float)) * 5
    q = maps / 5
    valid = torch.tensor(np.abs(x - 10.5) > 1)
    assert float(wall_length(name, q, maps, valid=valid)) == pytest.approx(0, abs=1e-9)
    assert float(wall_length(name, q, maps)) > 0.9 * SIDE


def test_three_regions_cost_the_length_of_the_label_map() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, (40, 50))
    valid = rng.random((40, 50)) > 0.1
    q = torch.tensor(np.stack([labels == k for k in range(3)]).astype(float))
    found = cauchy_crofton(q, (1.0, 1.2), torch.tensor(valid))
    assert float(found) == pytest.approx(label_length(labels, (1.0, 1.2), valid), rel=1e-6)


def test_terms_of_a_batch_are_those_of_its_maps() -> None:
    rng = torch.Generator().manual_seed(0)
    q = torch.randn(3, 2, 9, 8, generator=rng).softmax(1)
    for name in PERIMETERS:
        together = wall_length(name, q, q)
        assert together.tolist() == pytest.approx([float(wall_length(name, m, m)) for m in q])


@pytest.mark.parametrize("name", ["crofton", "tv", "modica-mortola"])
def test_descent_shortens_the_walls_of_a_noisy_map_and_keeps_its_regions(name: str) -> None:
    y, x = np.mgrid[:48, :48]
    truth = (np.hypot(y - 23.5, x - 23.5) < 14).astype(int)
    rng = np.random.default_rng(3)
    seen = torch.tensor(2 * truth - 1 + 1.2 * rng.standard_normal(truth.shape))
    logits = seen.clone().requires_grad_()
    descent = torch.optim.Adam([logits], lr=0.2)
    for _ in range(150):
        q = torch.stack([torch.sigmoid(-logits), torch.sigmoid(logits)])
        misfit = -(q * torch.stack([-seen, seen])).sum()
        descent.zero_grad()
        (misfit + 4.0 * wall_length(name, q, q)).backward()
        descent.step()
    before = label_length((seen > 0).int().numpy())
    after = (logits.detach() > 0).int().numpy()
    assert label_length(after) < 0.4 * before
    assert (after == truth).mean() > 0.97
    assert label_length(after) == pytest.approx(2 * math.pi * 14, rel=0.15)
