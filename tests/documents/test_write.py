"""JSON and CSV that every reader takes."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpumon.documents.read import parse, parse_strictly
from gpumon.documents.write import csv_text, json_line, json_of, json_text
from tests.support.servers import ROOT
from tests.support.strange import parsed

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.lists(inner).map(tuple),
    max_leaves=20,
)


SURROGATES = re.compile("([\ud800-\udbff][\udc00-\udfff])|[\ud800-\udfff]")


def character(found: re.Match[str]) -> str:
    """Return what a pair of surrogates means, or what stands for half of one."""
    if found[1] is None:
        return "\ufffd"
    return chr(0x10000 + (ord(found[1][0]) - 0xD800) * 0x400 + ord(found[1][1]) - 0xDC00)


def known(value: Any) -> Any:
    """Return what a reader gets: no tuple, no halves of pairs, and None if it is not a number."""
    if isinstance(value, str):
        return SURROGATES.sub(character, value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: known(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [known(each) for each in value]
    return value


@given(VALUES)
@example("\ud800")
@example(["\udc00\ud800", "a\ud83d\ude00\ud83d"])
def test_what_is_not_a_number_is_null_however_deep(value: Any) -> None:
    """All else arrives as it was, and the text can be encoded."""
    for pretty in (True, False):
        text = json_of(value, pretty=pretty)
        assert parsed(text.encode().decode()) == known(value)


@pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf])
def test_a_document_says_its_schema_and_never_nan(strange: float) -> None:
    """First of all, on one line or on several."""
    document = {"gpus": [{"power_watts": strange, "clock_hertz": {"sm": strange, "memory": 5}}]}
    line = json_line(document)
    assert (
        line == '{"schema":1,"gpus":[{"power_watts":null,"clock_hertz":{"sm":null,"memory":5}}]}\n'
    )
    text = json_text(document)
    assert text.startswith('{\n  "schema": 1,\n  "gpus": [\n')
    assert text.endswith("}\n")
    assert parsed(text) == parsed(line)


def test_a_name_that_was_not_utf_8_is_written() -> None:
    """Linux lets a process be called anything; Python keeps such bytes as halves of pairs."""
    name = b"train-\xff\xfe-\xc3\xa9".decode("utf-8", "surrogateescape")
    line = json_line({"name": name, "emoji": "\N{FIRE}"}).encode()
    assert json.loads(line) == {"schema": 1, "name": "train-\ufffd\ufffd-é", "emoji": "\N{FIRE}"}


def test_in_a_table_what_is_not_a_number_is_an_empty_cell() -> None:
    """As what is not known is."""
    rows = [{"gpu": 0, "watts": math.nan}, {"gpu": 1, "watts": None}, {"gpu": 2}]
    text = csv_text(rows, ["gpu", "watts"])
    assert list(csv.reader(io.StringIO(text))) == [
        ["gpu", "watts"],
        ["0", ""],
        ["1", ""],
        ["2", ""],
    ]
    assert csv_text(rows[:1], ["gpu", "watts"], header=False) == "0,\n"


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_others_may_write_what_is_not_a_number(word: str) -> None:
    """It is null, or refused by who asks for that."""
    text = f'{{"a": [1.5, {word}]}}'
    assert parse(text) == {"a": [1.5, None]}
    with pytest.raises(ValueError, match="is not a reading"):
        parse_strictly(text)
    assert parse_strictly('{"a": [1.5, 2]}') == {"a": [1.5, 2]}


def test_what_is_nested_too_deeply_is_not_json() -> None:
    """It is somebody's text, and no more than wrong."""
    for read in (parse, parse_strictly):
        with pytest.raises(ValueError, match="nested too deeply"):
            read("[" * 200_000)


@pytest.mark.parametrize(
    "code",
    [
        "import json\n\njson.dumps({})\n",
        "import json as j\n\nj.dump({}, None)\n",
        "from json import dumps\n\ndumps({})\n",
        "import json\n\njson.JSONEncoder()\n",
    ],
)
@pytest.mark.parametrize("place", ["agent/gpumon/views/new.py", "dashboards/new.py"])
def test_nobody_else_writes_json(code: str, place: str) -> None:
    """The linter refuses it, in whatever words."""
    argv = [sys.executable, "-m", "ruff", "check", "--no-cache", "--stdin-filename", place, "-"]
    done = subprocess.run(argv, input=code, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "TID251" in done.stdout
    assert "gpumon.documents.write" in done.stdout
