"""The page that the scripts write their tables into, each between markers of its own."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs/benchmarks.md"


def write(name: str, heading: str, text: str, page: Path = PAGE) -> None:
    """Put `text` between the markers of `name`; a page without them gets them under `heading`."""
    start, end = _markers(name)
    content = page.read_text(encoding="utf-8") if page.exists() else "# Benchmarks\n"
    if start not in content:
        content = f"{content.rstrip()}\n\n## {heading}\n\n{start}\n{end}\n"
    before, _, rest = content.partition(start)
    page.write_text(f"{before}{start}\n{text}\n{end}{rest.partition(end)[2]}", "utf-8")


def rows(name: str) -> dict[str, str]:
    """Return the lines of the table that `name` wrote last, by their first cell."""
    start, end = _markers(name)
    content = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    lines = content.partition(start)[2].partition(end)[0].splitlines()
    return {line.split("|")[1].strip(): line for line in lines if line.count("|") > 2}


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}:start -->", f"<!-- {name}:end -->"
