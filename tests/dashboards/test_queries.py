"""Every query of every dashboard, on a real Prometheus that scrapes a real agent."""

from __future__ import annotations

import re
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from tests.dashboards import committed
from tests.dashboards.committed import Query
from tests.support.servers import (
    Prometheus,
    get,
    run_agent,
    run_prometheus,
    shipped_prometheus_config,
    wait_for,
)

pytestmark = pytest.mark.e2e

CANNOT_BE_THERE = {
    "gpumon_gpu_fan_speed_ratio": "SXM boards have no fans of their own: the chassis cools them",
}
"""Metrics that a healthy H100 does not have, and why."""


class Scraped:
    """An agent as Prometheus sees it."""

    def __init__(self, prometheus: Prometheus, instance: str) -> None:
        """Keep the server, and the name that it gave the agent."""
        self.prometheus = prometheus
        self.instance = instance

    def ask(self, query: Query) -> list[dict[str, Any]]:
        """Run a query the way Grafana does: at the end, or over the time shown."""
        text = query.filled(self.instance)
        if query.instant:
            return self.prometheus.query(text)
        now = time.time()
        parameters = {"query": text, "start": now - 10, "end": now, "step": 1}
        answer = self._get(f"query_range?{urllib.parse.urlencode(parameters)}")
        series: list[dict[str, Any]] = answer["result"]
        return series

    def label_values(self, query: Query) -> list[str]:
        """Return the values that a variable's query gives it."""
        match = re.fullmatch(r"label_values\((.*), (\w+)\)", query.filled(self.instance))
        assert match, query.expr
        selector = urllib.parse.urlencode({"match[]": match[1]})
        values: list[str] = self._get(f"label/{match[2]}/values?{selector}")
        return values

    def _get(self, path: str) -> Any:
        answer = get(f"{self.prometheus.url}/api/v1/{path}").json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def wait_for_scrapes(self, count: int) -> None:
        """Wait until so many scrapes of readings are there."""
        series = f'gpumon_node_gpu_power_watts{{instance="{self.instance}"}}'
        wait_for(
            lambda: (self.prometheus.value(f"count_over_time({series}[5m])") or 0) >= count,
            60,
            f"{count} scrapes",
            every=0.2,
        )


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """A simulated node, scraped with the configuration that ships."""
    folder = tmp_path_factory.mktemp("node")
    with (
        run_agent(folder, "sim:8xH100,workload=mixed") as agent,
        run_prometheus(folder, shipped_prometheus_config(agent.target)) as prometheus,
    ):
        scraped = Scraped(prometheus, agent.target)
        scraped.wait_for_scrapes(5)
        yield scraped


QUERIES = committed.panel_queries()
VARIABLES = committed.variable_queries()


@pytest.mark.parametrize("query", QUERIES, ids=[query.where for query in QUERIES])
def test_every_query_returns_data(node: Scraped, query: Query) -> None:
    """No panel of a healthy node says "No data", except for what such a node cannot have."""
    result = node.ask(query)
    absent = query.metrics & CANNOT_BE_THERE.keys()
    if absent:
        assert not result, f"there is data after all: {absent}"
    else:
        assert result, query.filled(node.instance)
        assert all("NaN" not in repr(series) for series in result)


@pytest.mark.parametrize("query", VARIABLES, ids=[query.where for query in VARIABLES])
def test_variables_offer_the_node(node: Scraped, query: Query) -> None:
    """A variable has values to choose from."""
    expected = {"cluster": ["local"], "instance": [node.instance]}
    assert node.label_values(query) == expected[query.where]


def test_the_banner_says_that_it_is_simulated(node: Scraped) -> None:
    """The first panel shows the number whose word is SIMULATED."""
    (banner,) = [q for q in QUERIES if q.where == "Where these numbers come from A"]
    (sample,) = node.ask(banner)
    assert sample["value"][1] == "1"


def test_numbers_agree_with_the_agent(node: Scraped) -> None:
    """Eight GPUs answer, none is missing, and their energy is their power times the time."""

    def number(where: str) -> float:
        (query,) = [q for q in QUERIES if q.where == where]
        (sample,) = node.ask(query)
        return float(sample["value"][1])

    assert number("GPUs A") == number("GPUs B") == 8
    assert number("GPUs missing A") == 0
    kilowatt_hours = 10 * number("Power now A") / 3.6e6
    # The window holds a few samples only, and power changes within it.
    assert 0.3 * kilowatt_hours < number("Energy A") < 3 * kilowatt_hours


def test_without_optional_labels_and_with_gpus_missing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A target without a cluster is shown all the same, and GPUs that are not there are counted."""
    folder = tmp_path_factory.mktemp("bare")
    with run_agent(folder, "sim:4xH100", "--expected-gpus", "8") as agent:
        config = shipped_prometheus_config(agent.target)
        bare = re.sub(r"\n +labels:\n +cluster: local", "", config)
        assert bare != config
        with run_prometheus(folder, bare) as prometheus:
            scraped = Scraped(prometheus, agent.target)
            scraped.wait_for_scrapes(2)
            (missing,) = [q for q in QUERIES if q.where == "GPUs missing A"]
            (sample,) = scraped.ask(missing)
            assert sample["value"][1] == "4"
            cluster, instance = VARIABLES
            assert scraped.label_values(cluster) == []
            assert scraped.label_values(instance) == [agent.target]
