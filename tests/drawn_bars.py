"""Info bars, frames and scale bars as microscopes and programs draw them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Box = tuple[int, int, int, int]


def micrograph(shape: tuple[int, int] = (384, 512), seed: int = 0) -> np.ndarray:
    """Dark particles in a noisy matrix, a few pores and bright inclusions: uint8."""
    random = np.random.default_rng(seed)
    k = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])) * 40
    noise = np.fft.fft2(random.standard_normal(shape))
    field = np.fft.ifft2(noise * np.exp(-0.5 * ((k - 1) / 0.3) ** 2)).real
    picture = 90 + 50 / (1 + np.exp(8 * field / field.std()))
    y, x = np.indices(shape)
    for level in (0, 255, 0, 255, 0, 255):
        cy, cx, radius = random.uniform(0, shape[0]), random.uniform(0, shape[1]), 12
        picture[np.hypot(y - cy, x - cx) < radius] = level
    return np.clip(picture + 4 * random.standard_normal(shape), 0, 255).astype(np.uint8)


def dark_table(picture: np.ndarray, level: int = 0) -> np.ndarray:
    """A strip of 9 % with a table of white text, ruled and framed in white."""
    canvas, pen, height, rows = _below(picture, 0.09, level)
    width = picture.shape[1]
    pen.rectangle([0, height, width - 1, height + rows - 1], outline=255)
    entries = {"HV": "20.00 kV", "mag": "8 000 x", "det": "ETD", "WD": "9.8 mm", "HFW": "51.8 um"}
    for i, (head, value) in enumerate(entries.items()):
        left = 6 + i * int(width * 0.13)
        pen.text((left, height + 2), head, fill=255, font=_font(rows / 3))
        pen.text((left, height + rows // 2), value, fill=255, font=_font(rows / 3))
        pen.line([left - 4, height, left - 4, height + rows - 1], fill=255)
    pen.line([0, height + rows // 2, int(width * 0.65), height + rows // 2], fill=255)
    bar = [int(width * 0.7), height + rows // 3, int(width * 0.95), height + rows // 3]
    pen.line(bar, fill=255, width=3)
    pen.text((int(width * 0.78), height + rows // 2), "10 um", fill=255, font=_font(rows / 3))
    return np.asarray(canvas)


def white_strip(picture: np.ndarray) -> np.ndarray:
    """A white strip of 10 % with black text and a black logo."""
    canvas, pen, height, rows = _below(picture, 0.1, 255)
    width = picture.shape[1]
    pen.text((10, height + rows // 8), "2 um", fill=0, font=_font(rows / 4))
    pen.line([10, height + rows // 2, width // 6, height + rows // 2], fill=0, width=2)
    lines = ("EHT = 15.00 kV\nWD = 8.5 mm", "Signal A = SE2\nMag = 5.00 K X", "Date :4 Mar 2021")
    for i, words in enumerate(lines):
        place = (width // 4 + i * width // 5, height + rows // 8)
        pen.multiline_text(place, words, fill=0, font=_font(rows / 4))
    pen.rectangle([width - width // 9, height + 2, width - 3, height + rows - 3], fill=0)
    return np.asarray(canvas)


def dotted_strip(picture: np.ndarray) -> np.ndarray:
    """A black strip of 7 % with one line of text and a scale of ticks."""
    canvas, pen, height, rows = _below(picture, 0.07, 0)
    width = picture.shape[1]
    words = "10.0kV 8.4mm x20.0k SE(M)"
    pen.text((8, height + rows // 4), words, fill=255, font=_font(rows / 2))
    for i in range(11):
        x = int(width * (0.72 + 0.022 * i))
        pen.line([x, height + 3, x, height + 3 + rows // 5], fill=255)
    return np.asarray(canvas)


def two_colours(picture: np.ndarray) -> np.ndarray:
    """A strip of 8 %, a third white with black letters, the rest black with white ones."""
    canvas, pen, height, rows = _below(picture, 0.08, 0)
    width = picture.shape[1]
    pen.rectangle([0, height, width // 3, height + rows], fill=255)
    pen.text((8, height + rows // 4), "LABORATORY", fill=0, font=_font(rows * 0.4))
    words = "x 5000  15 kV  5 um"
    pen.text((width // 3 + 8, height + rows // 4), words, fill=255, font=_font(rows * 0.4))
    return np.asarray(canvas)


def scale_bar(picture: np.ndarray, ink: int = 255, caps: bool = False) -> tuple[np.ndarray, Box]:
    """A bar with its length above it, drawn into the lower right, and where."""
    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    width, height = canvas.size
    x, y, length, thick = int(width * 0.75), int(height * 0.93), int(width * 0.2), 4
    pen.rectangle([x, y, x + length, y + thick - 1], fill=ink)
    if caps:
        for end in (x, x + length - 1):
            pen.rectangle([end, y - 6, end + 1, y + thick + 5], fill=ink)
    size = height // 24
    pen.text((x + length // 3, y - int(1.3 * size)), "5 um", fill=ink, font=_font(size))
    return np.asarray(canvas), (y - size, y + thick, x, x + length)


def label_box(picture: np.ndarray) -> tuple[np.ndarray, Box]:
    """A white box with a black bar and text in the lower right, and where."""
    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    width, height = canvas.size
    left, top = int(width * 0.7), int(height * 0.88)
    pen.rectangle([left, top, width - 8, height - 8], fill=255)
    pen.rectangle([left + 8, height - 16, width - 18, height - 13], fill=0)
    pen.text((left + 10, top + 2), "200 nm", fill=0, font=_font(height / 28))
    return np.asarray(canvas), (top, height - 7, left, width - 7)


def as_jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    """Save and read as JPEG."""
    stored = io.BytesIO()
    Image.fromarray(picture).save(stored, "JPEG", quality=quality)
    return np.asarray(Image.open(stored))


def smaller(picture: np.ndarray, zoom: float) -> np.ndarray:
    """Resize as picture editors do."""
    image = Image.fromarray(picture)
    size = round(image.width * zoom), round(image.height * zoom)
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS))


def _below(
    picture: np.ndarray, share: float, level: int
) -> tuple[Image.Image, ImageDraw.ImageDraw, int, int]:
    height, width = picture.shape
    rows = int(share * height)
    canvas = Image.new("L", (width, height + rows), level)
    canvas.paste(Image.fromarray(picture), (0, 0))
    return canvas, ImageDraw.Draw(canvas), height, rows


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(max(9, int(size)))
