"""The pages say what the code does: tables, help, quoted messages, code blocks and links."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import sys
from functools import cache
from pathlib import Path

import pytest

import napari_physgen
from napari_physgen.generative import (
    DistillSettings,
    GenerateSettings,
    GenerativeSettings,
    RestoreSettings,
)
from napari_physgen.regions import RegionSettings
from napari_physgen.segmentation import LabourFreeSettings, PredictSettings, SegmentationSettings
from napari_physgen.sim import SimSettings
from napari_physgen.sim.beads import BeadSettings
from napari_physgen.sim.training_settings import SimTrainingSettings
from napari_physgen.synthesis import (
    DatasetSettings,
    PhaseFieldSettings,
    TranslationSettings,
    presets,
)
from napari_physgen.synthesis.calibration_settings import CalibrationSettings
from napari_physgen.synthesis.fidelity_settings import FidelitySettings
from napari_physgen.synthesis.render_settings import RenderSettings

PACKAGE = Path(napari_physgen.__file__).parent
ROOT = PACKAGE.parents[1]
DOCS = ROOT / "docs"
pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="installed wheel")
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")]) if DOCS.is_dir() else []
PAGES = [page for page in PAGES if "_build" not in page.parts]

TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))
METHODS = sorted((DOCS / "methods").glob("*.md"))
TABLES = {
    "sim_settings": [
        (SimSettings, ["no", "yes"]),
        (SimTrainingSettings, []),
        (BeadSettings, []),
    ],
    "simulate_settings": [
        (PhaseFieldSettings, ["no", "yes"]),
        (DatasetSettings, []),
        (CalibrationSettings, []),
    ],
    "labour_free_settings": [(LabourFreeSettings, ["no", "yes"])],
    "segmentation_settings": [
        (SegmentationSettings, ["no", "yes"]),
        (PredictSettings, ["no", "yes"]),
    ],
    "translation_settings": [(TranslationSettings, ["no", "yes"])],
    "render_settings": [(RenderSettings, [])],
    "region_settings": [(RegionSettings, ["no", "yes"])],
    "generative_settings": [(GenerativeSettings, ["no", "yes"]), (DistillSettings, [])],
    "restore_settings": [(RestoreSettings, ["no", "yes"])],
    "generate_settings": [(GenerateSettings, ["no", "yes"])],
    "fidelity_settings": [(FidelitySettings, [])],
}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)


@pytest.fixture
def extension(monkeypatch):
    """Import a module of docs/_ext."""
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))

    def load(name):
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return load


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_of_settings_have_a_row_for_every_field(extension, name):
    """Of settings that build on others, for every field that is not in the table of those."""
    rows = extension("generated").rows
    page = (DOCS / "reference" / f"{name}.md").read_text("utf-8")
    parts = []
    for model, shown in TABLES[name]:
        bases = {model for model, _ in TABLES[name]} - {model}
        known = {field for base in bases if issubclass(model, base) for field in base.model_fields}
        names = [f"`{field}`" for field in model.model_fields if field not in known]
        assert [row[1] for row in rows(model)] == names
        halves = [row[1] for part in (False, True) for row in rows(model, part)]
        assert sorted(halves) == sorted(names)
        assert page.count(f":{model.__name__}\n") == max(len(shown), 1)
        parts += shown
    assert re.findall(r":advanced: (\w+)", page) == parts


def test_the_table_of_presets_is_enough_to_write_them(extension):
    found = extension("generated").preset_rows()
    assert [name for name, *_ in found] == [f"`{name}`" for name in presets]
    for (_, material, sets), preset in zip(found, presets.values(), strict=True):
        values = dict(part.replace("`", "").split(" ") for part in sets.split(", "))
        assert PhaseFieldSettings.parse({"material": material} | values) == preset


def test_the_tables_tell_unit_bounds_default_and_whether_a_setting_is_tunable(extension):
    rows = {row[1]: row for row in extension("generated").rows(SimSettings)}
    na, smooth, order = rows["`na`"], rows["`regularisation`"], rows["`order`"]
    assert na[3:5] == ("number, > 0, ≤ 1.7", "*must be given*")
    assert rows["`pixel_size_nm`"][2] == "nm"
    assert smooth[4:6] == ("*empty*", "can change")
    assert order[3].startswith("`auto`, `angle-phase`, `phase-angle`, ")
    assert order[4] == "`auto`"
    assert rows["`seed`"][4] == "`0`"
    assert all(row[0] and row[6] for row in rows.values())
    rows = {row[1]: row for row in extension("generated").rows(PhaseFieldSettings)}
    assert rows["`grains`"][6].endswith("*For grains.*")
    rows = {row[1]: row for row in extension("generated").rows(RegionSettings)}
    assert rows["`regions`"][3:5] == ("whole number, ≥ 1, ≤ 16 or `auto`", "`auto`")


def test_the_help_pages_are_those_of_the_command_line(extension):
    from napari_physgen.cli import app

    page = (DOCS / "cli.md").read_text("utf-8")
    documented = set(re.findall(r"^```\{command-help\} ([\w-]+)$", page, re.M))
    assert documented == {name for name in app if not name.startswith("-")}
    text = extension("generated").help_text("sim")
    missing = [
        name for name in SimSettings.model_fields if f"--{name.replace('_', '-')}" not in text
    ]
    assert not missing


def test_the_method_pages_read_their_numbers_from_the_code(extension):
    from napari_physgen.sim.measurement import HELD_OUT

    values = extension("constants").constants()
    text = "".join(page.read_text("utf-8") for page in METHODS)
    assert set(re.findall(r"\{\{ (\w+) \}\}", text)) == set(values)
    assert values["held_out"] == f"{HELD_OUT:.0%}"
    assert values["pf_gap"] == "3"
    formulas = re.findall(r"\$\$.*?\$\$|\$[^$\n]+\$", text, re.S)
    assert not [formula for formula in formulas if "{{" in formula]  # it would stay as it is


def test_every_test_that_is_named_as_a_proof_exists():
    page = (DOCS / "methods" / "generative.md").read_text("utf-8")
    written = "".join(p.read_text("utf-8") for p in (ROOT / "tests/generative").glob("*.py"))
    files = {path.name for path in (ROOT / "tests/generative").glob("*.py")}
    names = re.findall(r"\btest_\w+(?:\.py)?", page)
    assert len(names) > 20
    for name in names:
        assert name in files or f"def {name}(" in written, name


def test_every_python_block_compiles():
    blocks = [(page, block) for page in PAGES for block in python_blocks(page)]
    assert len(blocks) >= 4
    for page, block in blocks:
        compile(block, name_of(page), "exec")


@pytest.mark.parametrize("page", ["docs/api.md", "docs/tutorials/sim.md", "README.md"])
def test_the_python_blocks_run_on_a_small_stack(page, tmp_path, monkeypatch):
    """Each page from top to bottom, on a stack of the size of a crop, without the long stages."""
    import tifffile

    from napari_physgen.sim import simulate
    from napari_physgen.sim.simulate import filaments

    monkeypatch.chdir(tmp_path)
    source = "\n".join(python_blocks(ROOT / page))
    source = source.replace("(256, 256)", "(128, 128)").replace(
        '"duration": 20.0', '"duration": 5.0'
    )
    source = source.replace("pixel_size_nm=86.67)", 'pixel_size_nm=86.67, method="wiener")')
    assert source.count('method="wiener"') == 1
    settings = SimSettings(na=1.4, wavelength_nm=525, pixel_size_nm=80)
    raw = simulate(filaments((128, 128), seed=0), settings, photons=300, seed=0)
    source = source.replace("learning_steps=1500", "learning_steps=20")
    for name in re.findall(r'read_stack\("(.+?)"\)', source):
        tifffile.imwrite(name, raw)
    names: dict[str, object] = {}
    exec(compile(source, page, "exec"), names)
    assert names["result"].image.shape == (128, 128)


def test_the_python_blocks_of_the_microstructure_tutorial_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = DOCS / "tutorials" / "microstructure.md"
    names: dict[str, object] = {}
    exec(compile("\n".join(python_blocks(page)), str(page), "exec"), names)
    assert names["sample"].field.shape == names["field"].shape == (64, 64)


def test_the_python_blocks_of_the_regions_tutorial_run():
    page = DOCS / "tutorials" / "regions.md"
    names: dict[str, object] = {}
    exec(compile("\n".join(python_blocks(page)), str(page), "exec"), names)
    assert names["scores"].adjusted_rand > 0.8


def test_the_python_blocks_of_the_restore_tutorial_run(tmp_path, monkeypatch):
    """With short trainings."""
    monkeypatch.chdir(tmp_path)
    page = DOCS / "tutorials" / "restore.md"
    source = "\n".join(python_blocks(page))
    for steps in ("learning_steps=1500", "steps=3000", "samples=4"):
        assert steps in source
        source = source.replace(steps, f"{steps.partition('=')[0]}=2")
    names: dict[str, object] = {}
    exec(compile(source, str(page), "exec"), names)
    assert names["finer"].mean.shape == (128, 128)
    assert names["finer"].calibrated


def test_every_name_on_the_python_page_exists():
    page = (DOCS / "api.md").read_text("utf-8")
    names = re.findall(r"^\.\. (?:auto|py:)\w+:: (\S+)", page, re.M)
    assert len(names) > 10
    for name in names:
        assert pkgutil.resolve_name(name).__doc__, name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_and_headings_that_exist(page):
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{name_of(page)} links to {target}"
        if anchor:
            assert anchor in headings(file), f"{name_of(page)} links to {target}"


def headings(page: Path) -> set[str]:
    """Return the anchors of a page, as GitHub and MyST make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@cache
def sentences() -> list[str]:
    """Return every text in the package, with … where values are filled in."""
    found = []
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else "…" for p in node.values]
                found.append("".join(map(str, parts)).lower())
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value.lower())
    return found


def quoted_messages() -> list[str]:
    """Return the messages in the first column of the tables of the troubleshooting sections."""
    texts = [page.read_text("utf-8") for page in TUTORIALS]
    section = "".join(text.partition("## When something is wrong")[2] for text in texts)
    return re.findall(r"^\| `([^`]+)` \|", section, re.M)


@pytest.mark.parametrize("message", quoted_messages() if DOCS.is_dir() else [])
def test_a_message_in_the_tutorial_occurs_in_the_code(message):
    pieces = [re.escape(piece.strip().lower()) for piece in message.split("…") if piece.strip()]
    # "usable: …" is put together from the kind of verdict and its reasons.
    pieces = [piece for piece in pieces if piece != "usable:"]
    pattern = re.compile(".*".join(pieces), re.S)
    assert any(pattern.search(text) for text in sentences()), message
