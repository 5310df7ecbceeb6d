"""A failed save leaves neither a broken nor a changed file."""

from __future__ import annotations

import errno
import os
import stat

import numpy as np
import pytest
import tifffile

from napari_physgen.errors import UserError
from napari_physgen.io import Image, write_imagej_tiff, write_ome_tiff
from napari_physgen.io.atomic import replacing

WRITERS = pytest.mark.parametrize("write", [write_ome_tiff, write_imagej_tiff])
IMAGE = Image("a", np.ones((8, 6), np.float32), ("y", "x"))


@WRITERS
def test_a_save_replaces_an_existing_file(tmp_path, write):
    path = tmp_path / "a.tif"
    path.write_bytes(b"old")
    write(path, [IMAGE])
    assert tifffile.imread(path).shape == (8, 6)
    assert list(tmp_path.iterdir()) == [path]


@WRITERS
@pytest.mark.parametrize(
    ("number", "sentence"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "not writable")]
)
def test_a_disk_error_keeps_the_old_file(tmp_path, monkeypatch, write, number, sentence):
    path = tmp_path / "a.tif"
    path.write_bytes(b"old")

    def fail(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tifffile.TiffWriter, "write", fail)
    with pytest.raises(UserError, match=sentence):
        write(path, [IMAGE])
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_save_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@WRITERS
def test_a_missing_folder_is_said(tmp_path, write):
    with pytest.raises(UserError, match="does not exist"):
        write(tmp_path / "absent" / "a.tif", [IMAGE])


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
@WRITERS
def test_a_read_only_folder_is_said(tmp_path, write):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="not writable"):
        write(tmp_path / "a.tif", [IMAGE])
    tmp_path.chmod(0o700)


def test_a_folder_of_that_name_is_not_replaced(tmp_path):
    with pytest.raises(UserError, match="is a folder"), replacing(tmp_path):
        pass


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_saved_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    write_ome_tiff(tmp_path / "a.ome.tif", [IMAGE])
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1
