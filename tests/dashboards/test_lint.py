"""What Grafana's dashboard-linter asks for, where it makes sense here, and a few things more.

Left out, with reasons: ``template-job-rule`` (the scrape job's name is fixed by design, so there is
nothing to choose), ``target-job-rule`` (recorded series are one job's by their rules),
``target-instance-rule`` (a fleet's panels are of all instances), ``uneditable-dashboard``
(provisioning makes them so where they are provisioned; elsewhere people may try things out).
"""

from __future__ import annotations

import re
import urllib.parse

import pytest

from tests.dashboards import committed
from tests.dashboards.committed import Json, Query

EVERY = committed.dashboards()
BY_UID = {dashboard["uid"]: dashboard for dashboard in EVERY}
QUERIES = committed.panel_queries()
NAMES = [f"{query.dashboard.removeprefix('gpumon-')}: {query.where}" for query in QUERIES]

EMPTY = ("none",)
"""Texts of panels that are empty when all is well."""


@pytest.fixture(params=EVERY, ids=list(BY_UID))
def dashboard(request: pytest.FixtureRequest) -> Json:
    """Return each dashboard in turn."""
    found: Json = request.param
    return found


def _variables(dashboard: Json) -> dict[str, Json]:
    return {variable["name"]: variable for variable in dashboard["templating"]["list"]}


def test_there_are_the_eight() -> None:
    """The set is whole, and each has a title of its own."""
    wanted = ("fleet", "power", "usage", "job", "node", "gpu", "health", "monitor")
    assert set(BY_UID) == {f"gpumon-{name}" for name in wanted}
    assert len({dashboard["title"] for dashboard in EVERY}) == len(EVERY)
    assert all(len(dashboard["description"]) > 30 for dashboard in EVERY)


def test_the_data_source_is_chosen_first(dashboard: Json) -> None:
    """A variable of its type, with a label, called datasource (template-datasource-rule)."""
    first = dashboard["templating"]["list"][0]
    assert (first["type"], first["query"], first["name"]) == (
        "datasource",
        "prometheus",
        "datasource",
    )
    assert first["label"] == "Data source"


def test_variables_are_labelled_and_follow_time(dashboard: Json) -> None:
    """Each has a label; queries run again when the time changes (template-on-time-change)."""
    for variable in _variables(dashboard).values():
        assert variable["label"]
        if variable["type"] == "query":
            assert variable["refresh"] == 2
            assert variable["datasource"]["uid"] == "${datasource}"
            assert variable["query"]["query"].startswith("label_values(")


def test_what_is_empty_when_all_is_well_says_so(dashboard: Json) -> None:
    """A panel whose emptiness is good news explains that where its reader looks for help."""
    for panel in committed.panels(dashboard):
        if panel["fieldConfig"]["defaults"]["noValue"] in EMPTY:
            said = panel["description"].lower()
            assert "empty when all is well" in said or "normal: none" in said, panel["title"]


def test_rows_are_named(dashboard: Json) -> None:
    """Panels are grouped under headings of their own."""
    titles = [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"]
    assert titles
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("query", QUERIES, ids=NAMES)
def test_rates_are_over_what_grafana_thinks_right(query: Query) -> None:
    """rate() and increase() are over $__rate_interval or the time shown (target-rate-interval)."""
    found = re.findall(r"\b(?:rate|irate|increase)\([^\[]*\[([^\]]+)\]", query.expr)
    assert set(found) <= {"$__rate_interval", "$__range"}


@pytest.mark.parametrize("query", QUERIES, ids=NAMES)
def test_counters_are_not_shown_raw_over_time(query: Query) -> None:
    """A counter over time is a rate, an increase, or a sum that the reader wants as it stands."""
    raw = re.sub(r"\b(?:rate|increase|changes|resets|last_over_time)\(.*?\]\)", "", query.expr)
    counters = set(re.findall(r"\w+_total(?=\{)", raw))
    assert query.instant or counters <= TOTALS, f"{counters}: {query.expr}"


TOTALS = {
    "gpumon_gpu_remapped_rows_total",  # over the board's life: its stock of spare rows is finite
    "gpumon_job_gpu_energy_joules_total",  # what the job has used so far
    "gpumon_job_host_energy_joules_total",
    "gpumon_job_gpu_seconds_total",
    "gpumon_gpu_ecc_errors_total",
}
"""Counters whose value is itself what people ask for."""


def test_every_variable_that_is_read_is_there(dashboard: Json) -> None:
    """No query reads a variable that the dashboard lacks, and none is offered for nothing."""
    uid = dashboard["uid"]
    queries = [*QUERIES, *committed.variable_queries()]
    read = {name for query in queries if query.dashboard == uid for name in query.variables}
    assert read <= _variables(dashboard).keys()
    assert _variables(dashboard).keys() <= read | {"datasource"}


def _urls(dashboard: Json) -> list[str]:
    found = re.findall(r"'url': '([^']*)'", repr(dashboard["panels"]))
    return [url for url in found if url]


def test_links_lead_to_dashboards_that_there_are(dashboard: Json) -> None:
    """Each link's dashboard exists and has the variables that it sets; the time goes along."""
    for url in _urls(dashboard):
        path, _, query = url.partition("?")
        assert path.startswith("/d/"), url
        target = _variables(BY_UID[path.removeprefix("/d/")])
        chosen = {name.removeprefix("var-") for name, _ in urllib.parse.parse_qsl(query)}
        passed = set(re.findall(r"\$\{(\w+):queryparam\}", query))
        assert chosen <= target.keys(), url
        assert passed <= target.keys(), url
        assert passed <= _variables(dashboard).keys(), url
        assert "${__url_time_range}" in query


def test_all_dashboards_are_one_click_away(dashboard: Json) -> None:
    """The menu of the others carries variables and time."""
    (menu,) = dashboard["links"]
    assert (menu["type"], menu["tags"]) == ("dashboards", ["gpumon"])
    assert menu["keepTime"]
    assert menu["includeVars"]
    assert dashboard["tags"] == ["gpumon"]


def test_a_fleet_leads_to_its_parts() -> None:
    """From the fleet one gets to a node and a job, from a node to a GPU, from a GPU to its job."""
    led = {uid: {url.partition("?")[0] for url in _urls(board)} for uid, board in BY_UID.items()}
    assert {"/d/gpumon-node", "/d/gpumon-job", "/d/gpumon-power"} <= led["gpumon-fleet"]
    assert "/d/gpumon-gpu" in led["gpumon-node"]
    assert "/d/gpumon-job" in led["gpumon-gpu"]
    assert "/d/gpumon-node" in led["gpumon-job"]
