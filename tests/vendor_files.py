"""Small files of vendors, written byte by byte after their published layouts."""

from __future__ import annotations

import struct

import h5py
import numpy as np


def write_sxm(path, planes, *, pixel_m=1e-9, direction="down"):
    """A Nanonis scan: one channel in both directions, (2, y, x), the second one backward."""
    _, down, across = planes.shape
    header = (
        ":NANONIS_VERSION:\n2\n:SCANIT_TYPE:\n              FLOAT            MSBFIRST\n"
        f":SCAN_PIXELS:\n       {across}       {down}\n"
        f":SCAN_RANGE:\n   {across * pixel_m:E}   {down * pixel_m:E}\n:SCAN_DIR:\n{direction}\n"
        ":DATA_INFO:\n\tChannel\tName\tUnit\tDirection\tCalibration\tOffset\n"
        "\t14\tZ\tm\tboth\t1.0E-9\t0.0\n\n:SCANIT_END:\n\n\n"
    )
    path.write_bytes(header.encode() + b"\x1a\x04" + planes.astype(">f4").tobytes())


def write_ibw(path, values, channels=(), *, pixel_m=1e-9):
    """An Igor binary wave, version 5: (x, y) or (x, y, channel)."""
    shape = (*values.shape, 0, 0)[:4]
    units = b"".join(unit.ljust(4, b"\0") for unit in (b"m", b"m", b"", b""))
    steps = (pixel_m, pixel_m, 1, 1)
    wave = struct.pack("<4xIIihh6xh32s8x", 0, 0, values.size, 2, 0, 1, b"scan")
    wave += struct.pack("<4i8d4s16s", *shape, *steps, *(0,) * 4, b"m", units)
    wave = wave.ljust(320, b"\0")
    pixels = values.astype("<f4").tobytes(order="F")
    names = (
        b"".join(name.encode().ljust(32, b"\0") for name in ("", *channels)) if channels else b""
    )
    labels = [len(names) * (axis == values.ndim - 1) for axis in range(4)]
    sizes = (len(wave) + len(pixels), *(0,) * 7, *labels, *(0,) * 3)

    def head(checksum):
        return struct.pack("<hh15i", 5, checksum, *sizes)

    total = np.frombuffer(head(0) + wave, "<i2").sum(dtype=np.int64)
    checksum = struct.unpack("<h", struct.pack("<H", -int(total) & 0xFFFF))[0]
    path.write_bytes(head(checksum) + wave + pixels + names)


def write_ser(path, spectra, *, pixel_m=1e-9, start=100.0, step=0.5):
    """A TIA spectrum image (y, x, energy)."""
    down, across, channels = spectra.shape
    count = down * across
    dims = b"".join(
        struct.pack("<iddii8si6s", size, 0, pixel_m, 0, 8, b"Position", 6, b"meters")
        for size in (across, down)
    )
    first = 6 + 16 + 4 + 4 + len(dims)
    element = 20 + 2 + 4 + 4 * channels
    starts = first + 8 * count + element * np.arange(count)
    head = struct.pack("<hhh4iii", 0x4949, 0x0197, 0x0210, 0x4120, 0x4152, count, count, first, 2)
    body = starts.astype("<i4").tobytes() + np.zeros(count, "<i4").tobytes()
    for spectrum in spectra.reshape(count, channels):
        body += (
            struct.pack("<ddihi", start, step, 0, 7, channels) + spectrum.astype("<f4").tobytes()
        )
    path.write_bytes(head + dims + body)


def write_nsid(path, data, dimensions, name="map"):
    """One NSID channel; dimensions are (name, units, type, values)."""
    with h5py.File(path, "a") as file:
        group = file.create_group(f"Measurement_000/Channel_{len(file):03d}/{name}")
        dataset = group.create_dataset(name, data=data)
        for axis, (label, units, kind, values) in enumerate(dimensions):
            scale = group.create_dataset(label, data=np.asarray(values, float))
            scale.attrs.update({"units": units, "dimension_type": kind})
            scale.make_scale(label)
            dataset.dims[axis].attach_scale(scale)


def write_usid(path, data, positions, steps):
    """A USID main dataset of `data` (*positions slowest first, *steps slowest first).

    Axes are (name, units, values).
    """
    sizes = data.shape[: len(positions)]
    rows = data.reshape(int(np.prod(sizes)), -1)
    with h5py.File(path, "w") as file:
        group = file.create_group("Measurement_000/Channel_000")
        main = group.create_dataset("Raw_Data", data=rows)
        main.attrs.update({"quantity": "Response", "units": "V"})
        for kind, axes in (("Position", positions), ("Spectroscopic", steps)):
            shape = [len(values) for *_, values in axes]
            table = np.indices(shape).reshape(len(axes), -1)[::-1]  # fastest first
            at = np.stack([np.asarray(axes[::-1][i][2], float)[row] for i, row in enumerate(table)])
            for what, rows in (("Indices", table), ("Values", at)):
                item = group.create_dataset(
                    f"{kind}_{what}", data=rows.T if kind == "Position" else rows
                )
                item.attrs["labels"] = [name for name, *_ in axes[::-1]]
                item.attrs["units"] = [unit for _, unit, _ in axes[::-1]]
                main.attrs[f"{kind}_{what}"] = item.ref


def write_emd(path, data, dims, first=1):
    """A data group of EMD 0.2 (1.0 with first=0); dims are (name, units, values)."""
    with h5py.File(path, "w") as file:
        group = file.create_group("data/stack")
        group.attrs["emd_group_type"] = 1
        group["data"] = data
        for number, (name, units, values) in enumerate(dims, first):
            group[f"dim{number}"] = np.asarray(values, float)
            group[f"dim{number}"].attrs.update({"name": name, "units": units})
