"""Every query of every dashboard, on a real Prometheus over a simulated fleet and an agent."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.dashboards import committed
from tests.dashboards.committed import Query
from tests.dashboards.site import CANNOT_BE_THERE, Asked, Site, run_site
from tests.support.servers import run_agent, run_prometheus, shipped_prometheus_config, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PATIENCE = 70.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Forty nodes with jobs and faults, and one real agent."""
    with run_site(tmp_path_factory.mktemp("site")) as site:
        yield site


QUERIES = sorted(committed.panel_queries(), key=lambda query: ":1m]" in query.expr)
"""What looks at whole minutes comes last: the minute passes while the others are asked."""

VARIABLES = committed.variable_queries()


def _named(queries: list[Query]) -> list[str]:
    return [f"{query.dashboard.removeprefix('gpumon-')}: {query.where}" for query in queries]


@pytest.mark.parametrize("query", QUERIES, ids=_named(QUERIES))
def test_every_query_returns_data(
    site: Site, query: Query, record_property: pytest.RecordProperty
) -> None:
    """No panel says "No data" where there is what it shows, but for what such GPUs cannot have."""
    record_property("query", query.where)
    absent = query.metrics & CANNOT_BE_THERE.keys()
    if absent:
        assert not site.first(query), f"there is data after all: {absent}"
    else:
        # What looks at whole minutes may see what was just broken with the next one.
        text = query.filled(site.selections[0])
        result = wait_for(lambda: site.first(query), PATIENCE, text, every=1)
        assert all("NaN" not in repr(series) for series in result)


@pytest.mark.parametrize("query", VARIABLES, ids=_named(VARIABLES))
def test_variables_offer_what_there_is(
    site: Site, query: Query, record_property: pytest.RecordProperty
) -> None:
    """A variable has values to choose from, and the one that these tests choose is among them."""
    record_property("query", query.where)
    offered = [site.label_values(query, selection) for selection in site.selections]
    wanted = [selection[query.where].split("|")[0] for selection in site.selections]
    if query.where in ("cluster", "site", "hall", "rack", "nodes"):
        assert all(offered)
    else:
        assert all(want in offer for want, offer in zip(wanted, offered, strict=True))


def test_the_banners_say_that_it_is_simulated(site: Site) -> None:
    """The first panel of each dashboard shows the number whose word is SIMULATED."""
    banners = [q for q in QUERIES if q.where == "Where these numbers come from A"]
    assert len(banners) == len(committed.dashboards())
    for banner in banners:
        (sample,) = site.first(banner)
        assert sample["value"][1] == "1", banner.dashboard


def _number(asked: Asked, where: str, values: Mapping[str, str]) -> float:
    (query,) = [q for q in QUERIES if q.dashboard == "gpumon-node" and q.where == where]
    (sample,) = asked.ask(query, values)
    return float(sample["value"][1])


def test_numbers_agree_with_the_agent(site: Site) -> None:
    """Eight GPUs answer, none is missing, and their energy is their power times the time."""
    agent = site.selections[1]
    assert _number(site, "GPUs A", agent) == _number(site, "GPUs B", agent) == 8
    assert _number(site, "GPUs missing A", agent) == 0
    power = f'gpumon_node_gpu_power_watts{{instance="{agent["instance"]}"}}'
    first = site.prometheus.value(f"min_over_time(timestamp({power})[15m:1s])")
    mean = site.prometheus.value(f"avg_over_time({power}[15m])")
    assert first
    assert mean
    kilowatt_hours = mean * (time.time() - first) / 3.6e6
    # Rates reach back to before the first scrape, and a mean forgets what is between two.
    assert 0.7 * kilowatt_hours < _number(site, "Energy A", agent) < 1.3 * kilowatt_hours


def test_without_optional_labels_and_with_gpus_missing(tmp_path: Path) -> None:
    """A target without a cluster is shown all the same, and GPUs that are not there are counted."""
    with run_agent(tmp_path, "sim:4xH100", "--expected-gpus", "8") as agent:
        config = shipped_prometheus_config(agent.target)
        bare = re.sub(r"\n +labels:\n +cluster: local", "", config)
        assert bare != config
        with run_prometheus(tmp_path, bare) as prometheus:
            asked = Asked(prometheus)
            asked.wait_for_scrapes(agent.target, 2)
            values = {"cluster": ".*", "instance": agent.target}
            assert _number(asked, "GPUs missing A", values) == 4
            offered = {
                q.where: asked.label_values(q, values)
                for q in VARIABLES
                if q.dashboard == "gpumon-node"
            }
            assert offered == {"cluster": [], "instance": [agent.target]}
