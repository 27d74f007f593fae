"""The dashboards that ship, and what marks them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpumon.errors import UnavailableError, UsageError
from gpumon.grafana.shipped import Dashboard, content, digest_in, load
from tests.support.servers import ROOT

NODE = load(["gpumon-node"])[0]


def test_every_committed_dashboard_ships() -> None:
    """With its text as it is committed."""
    files = {path.stem: path.read_text("utf-8") for path in (ROOT / "dashboards/json").iterdir()}
    assert {dashboard.uid: dashboard.text for dashboard in load()} == files


def test_one_is_named_by_uid_or_title() -> None:
    """In any case of letters; once, if by both."""
    assert load(["GPU Node", "gpumon-node"]) == (NODE,)


def test_a_name_that_none_has_is_told() -> None:
    """With those there are, and the nearest."""
    with pytest.raises(UsageError, match=r"no dashboard 'gpumon-nod': .*did you mean gpumon-node"):
        load(["gpumon-nod"])


@pytest.mark.parametrize("text", [None, "{"])
def test_an_installation_without_them_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    """No files, or half of one."""
    if text is not None:
        (tmp_path / "half.json").write_text(text)
    monkeypatch.setattr("gpumon.grafana.shipped.asset", lambda name: tmp_path)
    with pytest.raises(UnavailableError, match="install gpumon again"):
        load()


def test_the_panels_are_counted_where_rows_are_folded() -> None:
    """A row's heading is none, and what is folded away below it is one."""
    graph = {"type": "timeseries"}
    row = {"type": "row", "panels": [graph, graph]}
    assert Dashboard({"panels": [graph, row, {"type": "row"}]}).panels == 3


def test_the_digest_is_of_the_content_alone() -> None:
    """Neither the order of keys nor Grafana's own numbers are part of it; all else is."""
    document = dict(NODE.document)
    turned = dict(reversed(document.items()))
    numbered = Dashboard({**turned, "id": 3, "version": 8})
    assert numbered.digest == NODE.digest
    assert content(numbered.document) == document
    assert Dashboard({**document, "title": "mine"}).digest != NODE.digest


def test_the_mark_is_read_back_and_nothing_else_is_taken_for_it() -> None:
    """A message that somebody has written, even around ours, is not ours."""
    assert digest_in(NODE.mark) == NODE.digest
    assert digest_in(f"restored {NODE.mark}") is None
    assert digest_in("Initial save") is None


def test_a_data_source_is_chosen_without_touching_what_ships() -> None:
    """Only the variable's value changes, and the digest with it; its own changes nothing."""
    chosen = NODE.choosing("abc", "Mimir")
    assert chosen.source == "abc"
    assert NODE.source == "gpumon-prometheus"
    assert chosen.digest != NODE.digest
    assert NODE.choosing("gpumon-prometheus", "gpumon, renamed") is NODE
    back = chosen.choosing("gpumon-prometheus", "gpumon")
    assert json.loads(back.text) == json.loads(NODE.text)
