"""What every committed dashboard must have, whatever it shows."""

from __future__ import annotations

import itertools
import re

import pytest

from gpumon.model import Tier
from gpumon.views.catalogue import rows
from tests.dashboards import committed
from tests.dashboards.committed import Json, Query

PALETTE = {"#0072B2", "#E69F00", "#D55E00", "#7F7F7F"}
"""Okabe and Ito's colours that we use, which colour-blind people tell apart."""

NOT_IN_THE_CATALOGUE = {
    "up": "Prometheus's own",
    "process_cpu_seconds_total": "the agent's cost, from the client library",
    "gpumon_reader_process_cpu_seconds_total": "the reader's cost, from the client library",
}

EVERY = committed.dashboards()


@pytest.fixture(params=EVERY, ids=[dashboard["uid"] for dashboard in EVERY])
def dashboard(request: pytest.FixtureRequest) -> Json:
    """Return each dashboard in turn."""
    found: Json = request.param
    return found


def test_uids_are_unique_and_name_the_files() -> None:
    """Links and provisioning find a dashboard by its uid; two with one uid overwrite each other."""
    uids = [dashboard["uid"] for dashboard in EVERY]
    assert sorted(uids) == sorted({path.stem for path in committed.FOLDER.glob("*.json")})
    assert uids


def test_files_end_with_a_newline_and_are_classic(dashboard: Json) -> None:
    """Grafana 9.5 knows schema 38 at most, and only the classic form."""
    text = (committed.FOLDER / f"{dashboard['uid']}.json").read_text("utf-8")
    assert text.endswith("}\n")
    assert dashboard["schemaVersion"] <= 38
    assert "apiVersion" not in dashboard


def test_every_panel_explains_itself(dashboard: Json) -> None:
    """A panel has a title of its own, a unit, and a text that says how to read it."""
    titles = [panel["title"] for panel in committed.panels(dashboard)]
    assert len(titles) == len(set(titles))
    for panel in committed.panels(dashboard):
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        meaning, _, reading = panel["description"].partition("\n\n")
        assert meaning, panel["title"]
        assert len(reading) > 30, panel["title"]


def test_panels_are_numbered_and_do_not_overlap(dashboard: Json) -> None:
    """Grafana moves panels that overlap or stick out, and then the file is not what is seen."""
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        columns, lines = range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
        cells = set(itertools.product(columns, lines))
        assert at["x"] + at["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
    height = max(line for _, line in taken) + 1
    assert len(taken) == 24 * height, "a row is not filled to the right edge"


def test_panels_ask_the_chosen_data_source(dashboard: Json) -> None:
    """No panel is bound to one Grafana's data source."""
    for panel in committed.panels(dashboard):
        for asked in (panel, *panel["targets"]):
            assert asked["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_colours_can_be_told_apart(dashboard: Json) -> None:
    """Thresholds and states use the colours that colour-blind people can tell apart."""
    for panel in committed.panels(dashboard):
        used = set(re.findall(r'"color": "([^"]+)"', repr(panel).replace("'", '"')))
        assert used <= PALETTE, panel["title"]


def test_states_have_words(dashboard: Json) -> None:
    """A timeline of states shows words, not numbers."""
    for panel in committed.panels(dashboard):
        if panel["type"] == "state-timeline":
            (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
            assert all(result["text"] for result in mapping["options"].values())
            assert "0" in mapping["options"]


def test_the_first_panel_says_when_data_is_simulated(dashboard: Json) -> None:
    """Simulated data says so at the top, and on every graph."""
    first = dashboard["panels"][0]
    assert 'source="sim"' in first["targets"][0]["expr"]
    (mapping,) = first["fieldConfig"]["defaults"]["mappings"]
    assert mapping["options"]["1"]["text"].startswith("SIMULATED")
    (mark,) = dashboard["annotations"]["list"]
    assert mark["enable"]
    assert 'source="sim"' in mark["expr"]


QUERIES = committed.panel_queries()


@pytest.mark.parametrize("query", QUERIES, ids=[query.where for query in QUERIES])
def test_queries_ask_for_what_an_agent_exposes(query: Query) -> None:
    """Every metric is the catalogue's, exposed by default, of this job and of the chosen node."""
    exposed = {metric.name for _, metric in rows(Tier.STANDARD)}
    assert query.metrics
    assert query.metrics <= exposed | NOT_IN_THE_CATALOGUE.keys()
    for selector in re.findall(r"\{([^}]*)\}", query.expr):
        assert selector.startswith('job="gpumon",cluster=~"$cluster",instance="$instance"')
