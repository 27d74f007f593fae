"""What every committed dashboard must have, whatever it shows."""

from __future__ import annotations

import itertools
import re
import sys

import pytest

if sys.version_info < (3, 11):
    pytest.skip("grafana-foundation-sdk needs Python 3.11", allow_module_level=True)

from dashboards.kit import metrics, style
from gpumon.model import Tier
from gpumon.model.catalogue import rows
from tests.dashboards import committed
from tests.dashboards.committed import Json, Query

PALETTE = {style.WELL, style.FINE, style.FREE, style.WARNING, style.BAD, style.NEUTRAL}
"""Okabe and Ito's colours that we use, which colour-blind people tell apart."""

SELECTED = {
    "gpumon-node": 'job="gpumon",cluster=~"$cluster",instance="$instance"',
    "gpumon-gpu": 'cluster=~"$cluster",instance="$instance"',
}
"""What every selector of a dashboard begins with; of the others, with the cluster."""

FLEET_LEVEL = {"gpumon-fleet", "gpumon-power", "gpumon-usage", "gpumon-health", "gpumon-monitor"}
"""Dashboards whose cost must not grow with the number of GPUs."""

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
        reading, _, meaning = panel["description"].partition("\n\n")
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
        used = set(re.findall(r"'(?:color|fixedColor)': '([^']+)'", repr(panel)))
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
    mark = dashboard["annotations"]["list"][0]
    assert mark["enable"]
    assert 'source="sim"' in mark["expr"]


QUERIES = committed.panel_queries()
NAMES = [f"{query.dashboard.removeprefix('gpumon-')}: {query.where}" for query in QUERIES]


@pytest.mark.parametrize("query", QUERIES, ids=NAMES)
def test_queries_ask_for_what_there_is(query: Query) -> None:
    """Every metric is exposed by default, recorded, or one that a Prometheus has."""
    exposed = {metric.name for _, metric in rows(Tier.STANDARD)}
    assert query.metrics
    assert query.metrics <= exposed | metrics.recorded() | metrics.OTHERS.keys()


PLACES = ("site:", "hall:", "row:", "rack:", "budget:")
"""What is recorded by place has no cluster, for a rack may hold nodes of two."""


@pytest.mark.parametrize("query", QUERIES, ids=NAMES)
def test_queries_are_of_the_chosen(query: Query) -> None:
    """Every series is selected by the dashboard's variables."""
    begin = SELECTED.get(query.dashboard, 'cluster=~"$cluster"')
    for metric, selector in query.selected:
        # What Prometheus says of itself, or by an alert like the Watchdog, need not have a cluster.
        own = metric.startswith("prometheus_") or 'cluster=~"$cluster|"' in selector
        of_rules = metric.startswith("ALERTS") or ":" in metric
        wanted = begin.removeprefix('job="gpumon",') if of_rules else begin
        of_site = metric.startswith("gpumon_site_") and "site=~" in selector
        if of_site or metric.startswith(PLACES):
            wanted = 'site=~"$site"'
        assert own or wanted in selector, f"{metric}{{{selector}}}"


@pytest.mark.parametrize("query", QUERIES, ids=NAMES)
def test_a_fleet_costs_the_same_whatever_its_size(query: Query) -> None:
    """Dashboards of a fleet read recorded series, and what site and Prometheus say themselves."""
    if query.dashboard in FLEET_LEVEL:
        for metric in query.metrics:
            assert ":" in metric or metric.startswith(("ALERTS", "gpumon_site_", "prometheus_"))
