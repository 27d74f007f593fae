"""Several nodes asked at once."""

from __future__ import annotations

import csv
import io
import json
import socket
import time
from collections.abc import Iterator

import pytest

from gpumon.errors import UsageError
from gpumon.targets.several import ask_all
from gpumon.views import nodes


@pytest.fixture
def silent_node() -> Iterator[str]:
    """A node that takes a connection, and answers nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_silent_node_holds_up_no_other(silent_node: str) -> None:
    """What has come by the deadline is told, and who has not answered."""
    began = time.monotonic()
    looks = ask_all([silent_node, "sim:2xH100", "127.0.0.1:1"], 1.0)
    assert time.monotonic() - began < 10  # and not for as long as the node is silent
    assert [look.snapshot is not None for look in looks] == [False, True, False]
    assert "no answer" in looks[0].problem
    assert "refused" in looks[2].problem


def test_what_is_no_target_is_no_node_that_does_not_answer() -> None:
    """A slip of the fingers is told as such."""
    with pytest.raises(UsageError, match="did you mean H100"):
        ask_all(["sim:2xH100", "sim:2xH1000"], 5.0)


def written(
    targets: list[str], form: str, capsys: pytest.CaptureFixture[str]
) -> pytest.CaptureResult[str]:
    """Return what is written about some targets."""
    nodes.write(ask_all(targets, 5.0), form, header=True)
    return capsys.readouterr()


TARGETS = ["sim:2xH100", "127.0.0.1:1", "sim:4xA100"]


def test_the_table_says_how_many_answered(capsys: pytest.CaptureFixture[str]) -> None:
    """And what they add up to, who did not and why, and a line for each that did."""
    lines = written(TARGETS, "table", capsys).out.splitlines()
    assert lines[0].startswith("SIMULATED")
    assert lines[1].startswith("2 of 3 nodes responded, 6 of 6 GPUs fine")
    assert lines[2].startswith("! 127.0.0.1:1: no answer")
    assert lines[3].split() == ["node", "GPUs", "power", "margin", "util", "SM", "what"]
    assert len(lines) == 6
    assert "2 GPUs, all fine" in lines[4]
    assert "4 GPUs, all fine" in lines[5]


def test_programs_get_every_node_and_who_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    """In the JSON; in lines and rows on stderr, so that those stay whole."""
    whole = json.loads(written(TARGETS, "json", capsys).out)
    assert [len(node["gpus"]) for node in whole["nodes"]] == [2, 4]
    assert [each["target"] for each in whole["unanswered"]] == ["127.0.0.1:1"]
    lines = written(TARGETS, "ndjson", capsys)
    assert [len(json.loads(line)["gpus"]) for line in lines.out.splitlines()] == [2, 4]
    assert lines.err.startswith("127.0.0.1:1: no answer")
    rows = list(csv.DictReader(io.StringIO(written(TARGETS, "csv", capsys).out)))
    assert [row["name"].split()[1][:4] for row in rows] == ["H100"] * 2 + ["A100"] * 4


def test_an_exposition_is_of_one_node(capsys: pytest.CaptureFixture[str]) -> None:
    """Two with the same families would be none that Prometheus reads."""
    with pytest.raises(UsageError, match="is of one node"):
        written(TARGETS, "prom", capsys)
