"""What there is to do, of what is ours and what a Grafana has."""

from __future__ import annotations

import dataclasses

import pytest

from gpumon.errors import UnavailableError, UsageError
from gpumon.grafana.api import DataSource, Folder, Stored
from gpumon.grafana.push import Action, choose_source, compare
from gpumon.grafana.shipped import Dashboard

HERE, ELSEWHERE = Folder("f1", "gpumon"), Folder("f2", "mine")
OURS = Dashboard({"uid": "a", "title": "A", "panels": [{"title": "new"}]})
EARLIER = Dashboard({"uid": "a", "title": "A", "panels": [{"title": "old"}]})


def stored(document: Dashboard, message: str, folder: Folder = HERE) -> Stored:
    """Return a dashboard as a Grafana has it."""
    return Stored(document.document, 3, folder, False, message, "alice", "2026-11-26")


@pytest.mark.parametrize(
    ("there", "kind"),
    [
        (None, Action.CREATE),
        (stored(OURS, OURS.mark), Action.UNCHANGED),
        # A newer Grafana may hold it in another schema than it was pushed in.
        (stored(EARLIER, OURS.mark), Action.UNCHANGED),
        (stored(EARLIER, EARLIER.mark), Action.UPDATE),
        (stored(OURS, OURS.mark, ELSEWHERE), Action.UPDATE),
        (stored(OURS, ""), Action.UPDATE),  # imported by hand: nothing is lost
        (stored(EARLIER, ""), Action.EDITED),
        (stored(EARLIER, "Initial save"), Action.EDITED),
        (stored(OURS, "", ELSEWHERE), Action.EDITED),  # moved by a person
    ],
)
def test_what_there_is_to_do(there: Stored | None, kind: Action) -> None:
    """It is told by the newest version's message, and by what would be lost."""
    assert compare(OURS, there, HERE).kind is kind


def test_what_is_provisioned_is_not_to_be_saved() -> None:
    """Unless it is the same, and nothing is to be done."""
    old = dataclasses.replace(stored(EARLIER, ""), provisioned=True)
    same = dataclasses.replace(stored(OURS, "", ELSEWHERE), provisioned=True)
    assert compare(OURS, old, HERE).kind is Action.PROVISIONED
    assert compare(OURS, same, HERE).kind is Action.UNCHANGED


def test_without_the_folder_nothing_is_in_its_place() -> None:
    """What was pushed elsewhere is moved, once the folder is made."""
    assert compare(OURS, stored(OURS, OURS.mark), None).kind is Action.UPDATE


def test_a_difference_goes_from_theirs_to_ours_and_moves_no_cursor() -> None:
    """Somebody else's text may hold anything."""
    theirs = Dashboard({"uid": "a", "title": "A", "panels": [{"title": "old\x9b2J"}]})
    lines = compare(OURS, stored(theirs, ""), HERE).difference.splitlines()
    assert lines[0] == "--- a in Grafana, version 3"
    assert '-      "title": "old\N{REPLACEMENT CHARACTER}2J"' in lines
    assert '+      "title": "new"' in lines


OWN = DataSource("gpumon-prometheus", "gpumon", "prometheus", False)
MIMIR = DataSource("m1", "Mimir", "prometheus", False)
DEFAULT = DataSource("p1", "Prometheus", "prometheus", True)
LOGS = DataSource("l1", "Loki", "loki", True)


@pytest.mark.parametrize(
    ("sources", "wanted", "chosen"),
    [
        ((OWN, MIMIR, DEFAULT), None, OWN),
        ((MIMIR, LOGS), None, MIMIR),
        ((MIMIR, DEFAULT), None, DEFAULT),
        ((OWN, MIMIR, DEFAULT), "m1", MIMIR),
        ((OWN, MIMIR, DEFAULT), "Prometheus", DEFAULT),
    ],
)
def test_a_data_source_is_found(
    sources: tuple[DataSource, ...], wanted: str | None, chosen: DataSource
) -> None:
    """The one that is named; else our own, the only one, or the default."""
    assert choose_source(sources, wanted, OWN.uid) == chosen


@pytest.mark.parametrize(
    ("sources", "wanted", "error", "words"),
    [
        ((LOGS,), None, UnavailableError, "no data source of the type prometheus"),
        ((MIMIR, OWN), "mimir", UsageError, "Mimir, gpumon; did you mean Mimir"),
        ((MIMIR, LOGS), "Loki", UsageError, "of the type loki: name a Prometheus: Mimir"),
        (
            (MIMIR, dataclasses.replace(MIMIR, uid="m2", name="Thanos")),
            None,
            UsageError,
            "has 2 Prometheus: name one with --datasource: Mimir, Thanos",
        ),
    ],
)
def test_what_is_not_obvious_is_asked_for(
    sources: tuple[DataSource, ...], wanted: str | None, error: type[Exception], words: str
) -> None:
    """With the names to choose from."""
    with pytest.raises(error, match=words):
        choose_source(sources, wanted, OWN.uid)
