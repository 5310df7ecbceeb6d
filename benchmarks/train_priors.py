"""Train the prior that comes with the package, on simulated objects alone.

    python benchmarks/train_priors.py                 as it is shipped (20 minutes on one core)
    python benchmarks/train_priors.py --steps 500     a quick try
    python benchmarks/train_priors.py --show objects.png

`filaments.safetensors`: thin curves of varied density, width, brightness and focus over haze, with
some networks, vesicles, spots and stars among them, each image scaled to its own range. No pixel of
a measured or published image is in it. Same seed, same images; prints what it reaches on objects
that it never saw.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d, zoom
from scipy.spatial import Voronoi

from napari_physgen.backend import run
from napari_physgen.generative import GenerativeSettings, train
from napari_physgen.metrics.image import psnr
from napari_physgen.metrics.residual import coverage

Image = NDArray[np.float64]
Rng = np.random.Generator

MODELS = Path(__file__).parents[1] / "src/napari_physgen/generative/models"
SIZE, COUNT, EDGE = 160, 240, 24
STEP = 0.5  # px between the points of a curve


def objects(count: int = COUNT, seed: int = 0, size: int = SIZE) -> list[NDArray[np.float32]]:
    """Return images (y, x) of objects; the darkest is about 0, all but the brightest below 1."""
    return [_object(np.random.default_rng([seed, index]), size) for index in range(count)]


def _object(rng: Rng, size: int) -> NDArray[np.float32]:
    kinds: tuple[Callable[[Rng, int], Image], ...] = (_filaments, _reticulum, _vesicles, _star)
    kind = rng.choice(len(kinds), p=(0.76, 0.1, 0.1, 0.04))
    wide = size + 2 * EDGE
    image = kinds[kind](rng, wide)
    image /= np.percentile(image, 99.9)
    image += rng.choice((0.05, 0.2, 0.6)) * rng.uniform(0, 1) * _haze(rng, wide)
    image = image[EDGE:-EDGE, EDGE:-EDGE]
    low, high = np.percentile(image, (0.1, 99.9))
    return np.asarray((image - low) / (high - low), np.float32)


def _filaments(rng: Rng, size: int) -> Image:
    """Draw curves in focus and some above or below it; in some fields they run alike."""
    width = rng.uniform(0.7, 1.6)
    count = round(np.exp(rng.uniform(np.log(6), np.log(90))) * (size / 208) ** 2)
    alike = rng.uniform(0.1, 0.7) if rng.random() < 0.5 else 10.0
    heading, stiff = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(40), np.log(300)))
    crowd = _crowded(rng, size) if rng.random() < 0.5 else np.ones((size, size))
    image = np.zeros((size, size))
    for depth, share in ((1.0, 1.0), (rng.uniform(1.5, 3), 0.3), (rng.uniform(3, 6), 0.3)):
        plane = np.zeros((size, size))
        for _ in range(max(round(share * count), 1)):
            length = size * rng.uniform(0.4, 2.2)
            points = _curve(rng, size, length, heading + alike * rng.standard_normal(), stiff)
            light = np.exp(0.35 * rng.standard_normal()) * _labels(rng, len(points))
            if rng.random() < 0.15:
                light = light * rng.uniform(1.3, 2.5)  # a bundle
            _draw(plane, points, light)
        if depth == 1:
            plane *= crowd
        image += gaussian_filter(plane, width * depth)
    return image


def _curve(rng: Rng, size: int, length: float, heading: float, stiff: float) -> Image:
    count = max(round(length / STEP), 8)
    bends = _wave(rng, count, rng.uniform(15, 50)) / (stiff * rng.uniform(0.6, 2))
    angle = heading + rng.choice((0, np.pi)) + np.cumsum(bends) * STEP
    path = np.cumsum(np.stack([np.sin(angle), np.cos(angle)], -1), 0) * STEP
    return np.asarray(path - path[rng.integers(count)] + rng.uniform(0, size, 2))


def _labels(rng: Rng, count: int) -> Image:
    """Return how unevenly fluorophores sit along a curve."""
    return np.asarray(np.exp(rng.uniform(0.05, 0.35) * _wave(rng, count, rng.uniform(2, 30))))


def _wave(rng: Rng, count: int, scale: float) -> Image:
    """Return a random function along a curve, smooth over `scale` px, standard normal."""
    sigma = scale / STEP
    white = rng.standard_normal(count + round(8 * sigma))
    line = gaussian_filter1d(white, sigma)[round(4 * sigma) :][:count]
    return np.asarray(line * np.sqrt(2 * sigma * np.sqrt(np.pi)))


def _draw(image: Image, points: Image, light: Image) -> None:
    """Add points at sub-pixel places, shared among their four pixels."""
    corner = np.floor(points).astype(int)
    part = points - corner
    height, width = image.shape
    for d_y in (0, 1):
        for d_x in (0, 1):
            y, x = corner[:, 0] + d_y, corner[:, 1] + d_x
            share = np.abs(1 - d_y - part[:, 0]) * np.abs(1 - d_x - part[:, 1]) * light
            seen = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            flat = np.bincount(y[seen] * width + x[seen], share[seen], height * width)
            image += flat.reshape(image.shape)


def _reticulum(rng: Rng, size: int) -> Image:
    """Draw the edges of cells, wavy, some missing."""
    count = round(np.exp(rng.uniform(np.log(25), np.log(150))))
    net = Voronoi(rng.uniform(-20, size + 20, (count, 2)))
    image = np.zeros((size, size))
    for start, end in net.ridge_vertices:
        if start < 0 or rng.random() < 0.15:
            continue
        line = net.vertices[[start, end]]
        length = float(np.linalg.norm(line[1] - line[0]))
        if not 1 < length < 3 * size:
            continue
        steps = max(round(length / STEP), 4)
        points = line[0] + np.linspace(0, 1, steps)[:, None] * (line[1] - line[0])
        points += np.stack([_wave(rng, steps, 8), _wave(rng, steps, 8)], -1)
        _draw(image, points, np.exp(0.3 * rng.standard_normal()) * _labels(rng, steps))
    return np.asarray(gaussian_filter(image, rng.uniform(0.7, 2)))


def _vesicles(rng: Rng, size: int) -> Image:
    """Draw spots, discs and rings."""
    image = np.zeros((size, size))
    y, x = np.mgrid[:size, :size]
    hollow = rng.uniform(0, 1) if rng.random() < 0.5 else 0.0
    largest = np.exp(rng.uniform(np.log(1.5), np.log(14)))
    for _ in range(round(np.exp(rng.uniform(np.log(8), np.log(120))))):
        radius = largest * rng.uniform(0.4, 1)
        centre = rng.uniform(0, size, 2)
        long, turn = rng.uniform(1, 1.8), rng.uniform(0, np.pi)
        u = (y - centre[0]) * np.cos(turn) + (x - centre[1]) * np.sin(turn)
        v = (x - centre[1]) * np.cos(turn) - (y - centre[0]) * np.sin(turn)
        distance = np.hypot(u / long, v)
        body = 1 / (1 + np.exp(np.clip((distance - radius) / 0.5, -30, 30)))
        inner = 1 / (1 + np.exp(np.clip((distance - radius + 2.5) / 0.5, -30, 30)))
        image += np.exp(0.4 * rng.standard_normal()) * (body - hollow * inner)
    return np.asarray(gaussian_filter(image, rng.uniform(0.6, 1.5)))


def _star(rng: Rng, size: int) -> Image:
    """Draw a Siemens star."""
    y, x = np.mgrid[:size, :size] - rng.uniform(0.3, 0.7, 2)[:, None, None] * size
    spokes = np.sin(rng.integers(6, 30) * np.arctan2(y, x) + rng.uniform(0, 6))
    bright = 1 / (1 + np.exp(-8 * spokes)) * (np.hypot(y, x) < rng.uniform(0.3, 0.6) * size)
    return np.asarray(gaussian_filter(bright, rng.uniform(0.7, 1.5)))


def _smooth(rng: Rng, size: int, scale: float) -> Image:
    """Return a random field of that correlation length, standard normal."""
    coarse = max(round(size / scale) + 4, 5)
    field = zoom(rng.standard_normal((coarse, coarse)), size / (coarse - 3), order=3)
    begin = (field.shape[0] - size) // 2
    field = field[begin : begin + size, begin : begin + size]
    return np.asarray((field - field.mean()) / field.std())


def _haze(rng: Rng, size: int) -> Image:
    """Return light from out of focus, 0 to 1: smooth, in some fields with the edge of a cell."""
    field = _smooth(rng, size, rng.uniform(25, 120)) + 0.4 * _smooth(rng, size, rng.uniform(8, 25))
    field = 1 / (1 + np.exp(-field * rng.uniform(0.5, 2)))
    if rng.random() < 0.3:
        edge = _smooth(rng, size, 100) + rng.uniform(-1, 1)
        field = field / (1 + np.exp(-edge * rng.uniform(5, 40)))
    return np.asarray(field)


def _crowded(rng: Rng, size: int) -> Image:
    """Return the share of a field's parts in its filaments: some parts are nearly empty."""
    field = _smooth(rng, size, rng.uniform(40, 120)) + rng.uniform(-0.5, 1)
    return np.asarray(1 / (1 + np.exp(-field * rng.uniform(1, 6))))


def settings(steps: int) -> GenerativeSettings:
    """Return how the prior is trained."""
    return GenerativeSettings(
        steps=steps, features=16, levels=4, crop=64, batch=8, contrast=0.15, device="cpu"
    )


def figures(model: object) -> str:
    """Return PSNR and coverage of one-step denoising of new objects, as lines of a table."""
    lines = ["| noise level | noisy, dB | restored, dB | 95 % coverage |", "|---|---|---|---|"]
    fresh = objects(16, seed=1)
    denoiser = model.denoiser()  # type: ignore[attr-defined]
    clean = torch.from_numpy(np.stack([model.scale(image) for image in fresh]))[:, None]  # type: ignore[attr-defined]
    for sigma in (0.05, 0.1, 0.2, 0.5, 1.0):
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            estimate = denoiser(clean + sigma * noise, sigma)
        mean, std, truth = (part.numpy() for part in (estimate.mean, estimate.std, clean))
        noisy = (clean + sigma * noise).numpy()
        lines.append(
            f"| {sigma:g} | {psnr(noisy, truth, 2):.2f} | {psnr(mean, truth, 2):.2f} "
            f"| {coverage(mean, std, truth):.3f} |"
        )
    return "\n".join(lines)


def picture(path: Path) -> None:
    """Write some of the objects to a file."""
    from skimage.io import imsave

    rows = np.array(objects(24)).reshape(4, 6, SIZE, SIZE)
    sheet = rows.transpose(0, 2, 1, 3).reshape(4 * SIZE, 6 * SIZE)
    imsave(path, np.asarray(np.clip(sheet, 0, 1) * 255, np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--show", type=Path, help="only write a picture of the objects")
    parser.add_argument("--out", type=Path, default=MODELS / "filaments.safetensors")
    options = parser.parse_args()
    if options.show:
        picture(options.show)
        return
    torch.set_num_threads(1)
    begin = time.perf_counter()
    model = run(train(objects(), settings(options.steps)))
    print(f"{model.summary} {time.perf_counter() - begin:.0f} s")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    model.save(options.out, half=True)
    print(f"{options.out.stat().st_size / 1e6:.2f} MB")
    print(figures(model))


if __name__ == "__main__":
    main()
