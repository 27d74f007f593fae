"""A simulated site in which much is broken, in a real Prometheus with all rules, for dashboards."""

from __future__ import annotations

import contextlib
import functools
import re
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.dashboards.committed import Query
from tests.support.fleet import fleet_config, run_fleet, scaled
from tests.support.servers import ITSELF, Prometheus, get, run_agent, run_prometheus, wait_for

NODES = 40
TIME_SCALE = 15
"""A rule's quarter of a minute is a second: what looks back ten minutes sees it all in 40 s."""

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
    "level:gpumon_members_doubled:count": "each node is scraped once, and each level recorded once",
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
        chosen["site"] = ".*"
        self.selections = [
            {**chosen, "cluster": "sim|other", "instance": SICK, "job_id": jobs[0]},
            {**chosen, "cluster": "sim", "site": "lab", "instance": agent, "job_id": jobs[1]},
            {**chosen, "instance": SICK, "gpu": "1", "job_id": jobs[0]},
        ]

    def first(self, query: Query) -> Answer:
        """Return what a query answers for the first selection that has an answer."""
        answers = (self.ask(query, selection) for selection in self.selections)
        return next(filter(None, answers), [])


@contextlib.contextmanager
def run_site(folder: Path) -> Iterator[Site]:
    """Run forty nodes with jobs and faults, and one real agent, at a drill's pace."""
    export = [
        *(sys.executable, "-m", "gpumon", "rules", "export"),
        *("--to", str(folder / "rules"), "--time-scale", str(TIME_SCALE)),
    ]
    subprocess.run(export, check=True, capture_output=True)
    with (
        run_fleet(
            folder,
            *("--nodes", str(NODES), "--gpus", "4", "--seed", "3"),
            *("--thresholds", str(scaled(folder, TIME_SCALE))),
        ) as fleet,
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
        for scrape in config["scrape_configs"]:
            scrape["relabel_configs"] = [{"target_label": "site", "replacement": "lab"}]
        with run_prometheus(folder, yaml.safe_dump(config)) as prometheus:
            up = 'count(up{job="gpumon"} == 1)'
            wait_for(lambda: prometheus.value(up) == NODES + 1, 180, "the nodes")
            jobs = _jobs_of(prometheus, SICK), _jobs_of(prometheus, "n0004:9842")
            fleet.break_(FAULTS)
            found = Site(prometheus, agent.target, jobs)
            past = "gpumon_gpu_xid_events_total offset 45s"
            wait_for(lambda: prometheus.query(past), 180, "a past")
            fleet.break_(XIDS)
            _wait_for_rules(prometheus)
            yield found


def _jobs_of(prometheus: Prometheus, instance: str) -> str:
    """Return a job on a node, once one is told of."""
    share = f'gpumon_job_gpu_share{{instance="{instance}"}}'
    wait_for(lambda: prometheus.query(share), 180, "a job")
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
        wait_for(functools.partial(prometheus.query, series), 300, series)
