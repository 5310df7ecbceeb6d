"""Shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder with measured data, or a skipped test where it is absent."""
    if not DATA.is_dir():
        pytest.skip("needs the measured data in ../shared/data")
    return DATA
