"""``site.toml`` and ``thresholds.toml``, made up: what is wrong is one line that names the file."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpumon.assets import asset
from gpumon.config import read_toml
from gpumon.errors import GpumonError
from gpumon.site.config import LEVELS, MOST_NODES, Site, load_site
from gpumon.thresholds import Thresholds, load_thresholds
from tests.support.fuzz import FUZZ, JSON, PLAIN, text_of

EXAMPLE: dict[str, Any] = read_toml(asset("deploy/site/site.toml"))

ODD = st.one_of(
    JSON,
    st.floats(),
    text_of(
        "gpu[1-3]", "gpu[001-050", "7-19", "19-7", "0-24", "DE", "h1", "Europe/Berlin", "[", ","
    ),
)
"""What stands for a value of the file."""


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return where values stand in a document, tables and lists included."""
    found = [path] if path else []
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in inner:
            found += paths(each, (*path, key))
    return found


PATHS = paths(EXAMPLE)


@st.composite
def sites(draw: st.DrawFn) -> dict[str, Any]:
    """Return the example with some values that are others, and some keys that nobody knows."""
    document = copy.deepcopy(EXAMPLE)
    for path in draw(st.lists(st.sampled_from(PATHS), min_size=1, max_size=4)):
        within: Any = document
        try:
            for key in path[:-1]:
                within = within[key]
            within[draw(PLAIN) if draw(st.integers(0, 9)) == 0 else path[-1]] = draw(ODD)
        except (KeyError, IndexError, TypeError):
            continue  # a value before it is gone
    return document


def written(value: Any) -> str:
    """Write a value as TOML: basic strings are those of JSON, but for DEL."""
    if isinstance(value, dict):
        rows = (f"{written(str(key))} = {written(each)}" for key, each in value.items())
        return "{" + ", ".join(rows) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None:
        return '""'
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def loaded(load: Callable[[Path], Any], path: Path) -> Any:
    """Return what is read; None if the file is refused, in one line that says which."""
    try:
        return load(path)
    except GpumonError as error:
        said = str(error)
    assert "\n" not in said
    assert str(path) in said
    return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all of them: each file takes the place of the one before."""
    return tmp_path_factory.mktemp("site")


@FUZZ
@given(document=sites())
def test_a_site_is_read_or_refused(folder: Path, document: dict[str, Any]) -> None:
    """What is read is possible: budgets and nodes have numbers, and levels are known ones."""
    path = folder / "site.toml"
    lines = [f"{written(key)} = {written(value)}" for key, value in document.items()]
    path.write_text("\n".join(lines), "utf-8")
    site: Site | None = loaded(load_site, path)
    if site is None:
        return
    assert len(site.nodes) <= MOST_NODES
    assert len({node.node for node in site.nodes}) == len(site.nodes)
    for (level, name), watts in site.budgets.items():
        assert level in LEVELS
        assert name or level == "site"
        assert math.isfinite(watts)
        assert watts >= 0


@FUZZ
@given(content=st.binary(max_size=60) | PLAIN.map(str.encode))
@pytest.mark.parametrize("load", [load_site, load_thresholds])
def test_any_bytes_are_no_traceback(
    folder: Path, load: Callable[[Path], object], content: bytes
) -> None:
    """Neither of a site nor of its thresholds."""
    path = folder / "any.toml"
    path.write_bytes(content)
    loaded(load, path)


@FUZZ
@given(tables=st.dictionaries(st.sampled_from(["heat", "activity", "monitor"]) | PLAIN, JSON))
def test_thresholds_are_read_or_refused(folder: Path, tables: dict[str, Any]) -> None:
    """Whatever stands for a table or a value."""
    path = folder / "thresholds.toml"
    lines = [f"{written(key)} = {written(value)}" for key, value in tables.items()]
    path.write_text("\n".join(lines), "utf-8")
    found: Thresholds | None = loaded(load_thresholds, path)
    if found is not None:
        assert found.digest
