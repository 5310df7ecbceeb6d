"""A record says enough to judge a result and survives as JSON."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_physgen import __version__
from napari_physgen.errors import UserError
from napari_physgen.provenance import Input, Record

RAW = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)


def record(**changes):
    values = {
        "tool": "sim",
        "settings": {"na": 1.49, "otf": None},
        "seed": 0,
        "inputs": (Input.of("raw", RAW, "cell.tif"),),
        "device": "cpu",
        "duration_s": 1.25,
        "metrics": {"chi2": 1.02},
        "interventions": ("stopped at network 3/10",),
    }
    return Record(**(values | changes))


def test_a_record_comes_back_equal_from_json():
    made = record()
    assert Record.from_json(made.to_json()) == made


def test_the_document_is_ascii_and_strict_json():
    text = record(settings={"title": "µm", "worst": np.float32(np.inf)}).to_json()
    assert text.isascii()
    assert json.loads(text, parse_constant=pytest.fail)["settings"]["worst"] is None


def test_a_metric_that_is_no_number_stays_no_number():
    read = Record.from_json(record(metrics={"chi2": np.nan}).to_json())
    assert np.isnan(read.metrics["chi2"])


def test_numpy_values_paths_and_tuples_become_plain():
    plain = record(settings={"a": np.int64(3), "b": Path("x"), "c": (np.float32(0.5),)}).to_dict()
    assert plain["settings"] == {"a": 3, "b": "x", "c": [0.5]}


@given(
    st.dictionaries(
        st.text(),
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    )
)
def test_any_setting_that_json_can_hold_comes_back(values):
    finite = {k: v for k, v in values.items() if v not in (np.inf, -np.inf)}
    assert Record.from_json(record(settings=finite).to_json()).settings == finite


def test_the_hash_is_that_of_the_pixels_in_c_order():
    expected = hashlib.sha256(RAW.tobytes()).hexdigest()
    assert Input.of("raw", RAW).sha256 == expected
    assert Input.of("raw", np.asfortranarray(RAW)).sha256 == expected
    assert Input.of("raw", RAW + np.uint16(1)).sha256 != expected


def test_versions_of_the_program_and_of_the_computing_libraries_are_kept():
    made = record()
    assert made.version == __version__
    assert {"python", "numpy", "torch", "monai"} <= set(made.libraries)
    assert made.libraries["numpy"] == np.__version__
    assert made.created.endswith("+00:00")


def test_reading_versions_imports_no_torch():
    code = (
        "import sys; from napari_physgen.provenance import library_versions as v;"
        "v(); assert not {'torch', 'monai', 'skimage'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_planes_of_a_time_lapse_share_one_record():
    planes = [record(metrics={"chi2": chi2, "n": 1}) for chi2 in (1.0, 1.2)]
    joined = Record.joined(planes)
    assert joined.inputs == planes[0].inputs * 2
    assert joined.metrics == {"chi2": pytest.approx(1.1), "n": 1}
    assert joined.duration_s == 2.5
    assert joined.interventions == tuple(f"plane {n}: stopped at network 3/10" for n in (1, 2))
    assert Record.joined(planes[:1]) is planes[0]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"tool": 1}', "not json", "null"])
def test_what_is_no_record_is_said(text):
    with pytest.raises(UserError, match="not a record"):
        Record.from_json(text)
