"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside `path` and move it into place at the end.

    When the block fails, `path` is as it was before and the temporary file is gone.

    Raises
    ------
    UserError
        If the folder is missing or not writable or the disk is full.
    """
    target = Path(path)
    folder = target.parent
    if not folder.is_dir():
        raise UserError(f"The folder {folder} does not exist: create it or choose another one.")
    if target.is_dir():
        raise UserError(f"{target} is a folder: give the file another name.")
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=folder)
        temporary = Path(name)
        os.close(handle)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        raise in_words(error, target) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    """Return the permissions that new files lack (mkstemp makes private ones)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def in_words(error: OSError, target: Path) -> UserError:
    """Say why `target` was not saved."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"The disk is full: {target} was not saved, free some space and retry.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(f"The folder {target.parent} is not writable: choose another one.")
    return UserError(f"{target} could not be saved ({error.strerror or error}).")
