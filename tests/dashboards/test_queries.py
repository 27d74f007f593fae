"""Every query of every dashboard, on a real Prometheus over a simulated fleet and an agent."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.dashboards import committed
from tests.dashboards.committed import Query
from tests.support.fleet import fleet_config, run_fleet
from tests.support.servers import (
    ITSELF,
    Prometheus,
    get,
    run_agent,
    run_prometheus,
    shipped_prometheus_config,
    wait_for,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

NODES = 40
TIME_SCALE = 15
"""A rule's quarter of a minute is a second: what looks back ten minutes sees it all in 40 s."""

PATIENCE = 70.0

SECONDS_OF_ALL = 30.0
"""All queries of all dashboards together; each alone takes milliseconds."""

SICK = "n0002:9842"
FAULTS = [
    # One GPU with everything that a GPU that still answers can have.
    *(
        f"{kind}@n0002:0"
        for kind in (
            "ecc_corrected=3",
            "ecc_uncorrected=2",
            "remap_pending",
            "remap_failed",
            "nvlink_down=2",
            "nvlink_errors=1",
            "pcie_width=8",
            "pcie_replays=2",
            "recovery=gpu_reset",
            "power_brake",
            "memory_hot=99",
        )
    ),
    "hot=30@n0002:1",
    "energy_stuck@n0002:3",
    "straggler=0.4@n0002:2",
    "idle@n0004",
    "lost@n0006:1",
    "hung@n0006:2",
    "released@n0007",
    "agent_dead@n0008",
    "collector=ipmi@n0009",
    "reader_restarts=36000@n0010",
    "power_cap=400@rack:r005",
    "overdraw@rack:r006",
    "hot=26@rack:r007",
    "driver=570.86.15@n0012",
    "missing=1@n0013",
    "fact_stale=carbon@site",
]

XIDS = [
    *(f"xid={code}@n0002:0" for code in (31, 79, 94)),
    "unattributed_xid@n0002",
    "xid=74@rack:r009",
]
"""Told once there is a past to compare with, as a board's new faults are with its old ones."""

CANNOT_BE_THERE = {
    "gpumon_gpu_fan_speed_ratio": "SXM boards have no fans of their own: the chassis cools them",
    "gpumon_node_cpu_energy_joules_total": "simulated nodes have no processors that tell joules",
    "gpumon_mig_info": "no simulated GPU is divided",
}
"""Metrics that simulated H100s and their nodes do not have, and why."""

Answer = list[dict[str, Any]]


class Asked:
    """A Prometheus that is asked the way Grafana does."""

    def __init__(self, prometheus: Prometheus) -> None:
        """Keep the server."""
        self.prometheus = prometheus

    def ask(self, query: Query, values: Mapping[str, str]) -> Answer:
        """Run a query: at the end, or over the time shown."""
        text = query.filled(values)
        if query.instant:
            return self.prometheus.query(text)
        now = time.time()
        parameters = {"query": text, "start": now - 30, "end": now, "step": 1}
        answer = self._get(f"query_range?{urllib.parse.urlencode(parameters)}")
        series: Answer = answer["result"]
        return series

    def label_values(self, query: Query, values: Mapping[str, str]) -> list[str]:
        """Return the values that a variable's query gives it."""
        match = re.fullmatch(r"label_values\((.*), (\w+)\)", query.filled(values))
        assert match, query.expr
        selector = urllib.parse.urlencode({"match[]": match[1]})
        found: list[str] = self._get(f"label/{match[2]}/values?{selector}")
        return found

    def _get(self, path: str) -> Any:
        answer = get(f"{self.prometheus.url}/api/v1/{path}").json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def wait_for_scrapes(self, instance: str, count: int) -> None:
        """Wait until so many scrapes of readings are there."""
        series = f'gpumon_node_gpu_power_watts{{instance="{instance}"}}'
        wait_for(
            lambda: (self.prometheus.value(f"count_over_time({series}[5m])") or 0) >= count,
            60,
            f"{count} scrapes",
            every=0.2,
        )


class Site(Asked):
    """A simulated fleet in which much is broken, with an agent of its own beside it."""

    def __init__(self, prometheus: Prometheus, agent: str, jobs: tuple[str, str]) -> None:
        """Keep where to look: an agent that is well, a job that trains, and one that is idle."""
        super().__init__(prometheus)
        chosen = {"cluster": ".*", "hall": ".*", "rack": ".*", "nodes": ".*", "gpu": "0"}
        self.selections = [
            {**chosen, "cluster": "sim|other", "instance": SICK, "job_id": jobs[0]},
            {**chosen, "cluster": "sim", "instance": agent, "job_id": jobs[1]},
            {**chosen, "instance": SICK, "gpu": "1", "job_id": jobs[0]},
        ]

    def first(self, query: Query) -> Answer:
        """Return what a query answers for the first selection that has an answer."""
        answers = (self.ask(query, selection) for selection in self.selections)
        return next(filter(None, answers), [])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Forty nodes with jobs and faults, and one real agent, at a drill's pace."""
    folder = tmp_path_factory.mktemp("site")
    export = [
        *(sys.executable, "-m", "gpumon", "rules", "export"),
        *("--to", str(folder / "rules"), "--time-scale", str(TIME_SCALE)),
    ]
    subprocess.run(export, check=True, capture_output=True)
    with (
        run_fleet(folder, "--nodes", str(NODES), "--gpus", "4", "--seed", "3") as fleet,
        run_agent(folder, "sim:8xH100,workload=mixed") as agent,
    ):
        config = yaml.safe_load(fleet_config(fleet, cluster="sim", rules=folder / "rules"))
        agents = config["scrape_configs"][0]
        agents["static_configs"] = [{"targets": [agent.target], "labels": {"cluster": "sim"}}]
        config["scrape_configs"].append(
            {
                "job_name": "prometheus",
                "static_configs": [{"targets": [ITSELF], "labels": {"cluster": "sim"}}],
            }
        )
        with run_prometheus(folder, yaml.safe_dump(config)) as prometheus:
            up = 'count(up{job="gpumon"} == 1)'
            wait_for(lambda: prometheus.value(up) == NODES + 1, 60, "the nodes")
            jobs = _jobs_of(prometheus, SICK), _jobs_of(prometheus, "n0004:9842")
            fleet.break_(FAULTS)
            found = Site(prometheus, agent.target, jobs)
            past = "gpumon_gpu_xid_events_total offset 45s"
            wait_for(lambda: prometheus.query(past), 120, "a past")
            fleet.break_(XIDS)
            _wait_for_rules(prometheus)
            yield found


def _jobs_of(prometheus: Prometheus, instance: str) -> str:
    """Return a job on a node, once one is told of."""
    share = f'gpumon_job_gpu_share{{instance="{instance}"}}'
    wait_for(lambda: prometheus.query(share), 60, "a job")
    return str(prometheus.query(share)[0]["metric"]["job_id"])


def _wait_for_rules(prometheus: Prometheus) -> None:
    """Wait until the slowest recorded series are there, and what is broken fires."""
    for series in (
        "job_id:gpumon_job_idle_gpus:count > 0",
        "last_over_time(serial:gpumon_gpu_hardware_xid:bool10m[5m])",
        "cluster:gpumon_gpu_xid_errors:per_1000_gpu_hours",
        "instance:gpumon_agent_cpu:rate5m",
        'ALERTS{alertstate="firing",severity="critical"}',
        'ALERTS{alertstate="firing",severity="warning"}',
        'ALERTS{alertstate="firing",severity="info"}',
    ):
        wait_for(lambda series=series: prometheus.query(series), 300, series)  # type: ignore[misc]


QUERIES = committed.panel_queries()
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
    if query.where in ("cluster", "hall", "rack", "nodes"):
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


def test_all_of_them_take_no_time(site: Site) -> None:
    """Nothing among them is slow by nature."""
    began = time.monotonic()
    for query in QUERIES:
        site.ask(query, site.selections[0])
    assert time.monotonic() - began < SECONDS_OF_ALL


def _number(asked: Asked, where: str, values: Mapping[str, str]) -> float:
    (query,) = [q for q in QUERIES if q.dashboard == "gpumon-node" and q.where == where]
    (sample,) = asked.ask(query, values)
    return float(sample["value"][1])


def test_numbers_agree_with_the_agent(site: Site) -> None:
    """Eight GPUs answer, none is missing, and their energy is their power times the time."""
    agent = site.selections[1]
    assert _number(site, "GPUs A", agent) == _number(site, "GPUs B", agent) == 8
    assert _number(site, "GPUs missing A", agent) == 0
    kilowatt_hours = 180 * _number(site, "Power now A", agent) / 3.6e6
    # Some three minutes of the window have passed, and power changes within them.
    assert 0.3 * kilowatt_hours < _number(site, "Energy A", agent) < 3 * kilowatt_hours


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
