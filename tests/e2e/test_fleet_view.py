"""``gpumon status prom:URL``: a fleet with faults, through a real Prometheus and its rules."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.fleet import fleet_config, run_fleet
from tests.support.servers import Prometheus, run_prometheus, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

TIME_SCALE = 30
FAULTS = ("lost@n0002:1", "recovery=gpu_reset@n0003:0", "hot=30@n0003:1", "nvlink_down=2@n0005:3")


TROUBLES = {"missing": 5, "to_repair": 1, "hot": 1, "nvlinks_down": 2}


def troubles(prometheus: Prometheus) -> dict[str, float]:
    """Return what is wrong in the fleet, by kind, as it is recorded."""
    recorded = prometheus.query("sum by (trouble) (instance:gpumon_troubles:count)")
    return {each["metric"]["trouble"]: float(each["value"][1]) for each in recorded}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Eight nodes, of which one loses its agent once it has been seen."""
    folder = tmp_path_factory.mktemp("view")
    scale = ("--time-scale", str(TIME_SCALE))
    export = [sys.executable, "-m", "gpumon", "rules", "export", "--to", str(folder / "rules")]
    subprocess.run([*export, *scale], check=True, capture_output=True)
    faults = [word for fault in FAULTS for word in ("--fault", fault)]
    with run_fleet(folder, "--nodes", "8", "--gpus", "4", *faults) as fleet:
        config = fleet_config(fleet, cluster="sim", rules=folder / "rules")
        with run_prometheus(folder, config) as prometheus:
            counted = "count(instance:gpumon_gpus_expected:sum == 4)"
            wait_for(lambda: prometheus.value(counted) == 8, 90, "the nodes' GPUs to be counted")
            fleet.break_(["agent_dead@n0007"])
            wait_for(lambda: troubles(prometheus) == TROUBLES, 120, "the troubles to be recorded")
            yield prometheus


def status(prometheus: Prometheus, *args: str) -> subprocess.CompletedProcess[str]:
    """Ask for the fleet."""
    argv = [sys.executable, "-m", "gpumon", "status", f"prom:{prometheus.url}", *args]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def test_it_shows_the_counts_what_fires_and_who_is_worst_off(prometheus: Prometheus) -> None:
    """Nodes by their score, with what is wrong with each; racks with what is missing first."""
    done = status(prometheus)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "SIMULATED: no hardware was measured"
    assert lines[1].startswith("sim: 27 of 32 GPUs respond")
    assert "7 of 8 agents" in lines[1]
    heading = next(n for n, line in enumerate(lines) if line.startswith("node "))
    assert lines[heading].split() == [
        "node",
        "rack",
        "score",
        "missing",
        "repair",
        "hot",
        "NVLinks",
    ]
    rows = [line.split() for line in lines[heading + 1 : heading + 5]]
    assert [row[0] for row in rows] == ["n0007", "n0002", "n0003", "n0005"]
    assert rows[0][2:4] == ["400", "4"]
    assert rows[2][2:] == ["11", "-", "1", "1", "-"]


def test_programs_get_the_same(prometheus: Prometheus) -> None:
    """As one document, with all racks where all are asked for."""
    document = json.loads(status(prometheus, "-o", "json", "--most", "0").stdout)
    (cluster,) = document["clusters"]
    assert (cluster["gpus_up"], cluster["gpus_missing"], cluster["agents_up"]) == (27, 5, 7)
    assert document["simulated"] is True
    assert [node["node"] for node in document["nodes"]] == ["n0007", "n0002", "n0003", "n0005"]
    assert document["nodes"][1]["troubles"] == {"missing": 1}
    assert sum(rack["gpus_missing"] for rack in document["racks"]) == 5


def test_alerts_that_cannot_fire_are_listed(prometheus: Prometheus) -> None:
    """What no simulated GPU reports, on the seven nodes that respond; and the rules record it."""
    argv = [sys.executable, "-m", "gpumon", "rules", "check", f"prom:{prometheus.url}"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    listed = dict(line.split(" cannot fire on ") for line in done.stdout.splitlines())
    assert listed.keys() == {
        *("NvswitchFatalError", "XidUnattributed"),
        *("GpuSramThresholdExceeded", "PowerSmoothingWornOut"),
    }
    needs = "7 of 7 nodes: it needs gpumon_gpu_sram_threshold_exceeded"
    assert listed["GpuSramThresholdExceeded"] == needs

    def recorded() -> set[str]:
        found = prometheus.query("alert:gpumon_nodes_deaf:count")
        return {each["metric"]["alert"] for each in found}

    wait_for(lambda: recorded() == listed.keys(), 90, "the rules record them too")


def test_what_a_fleet_is_not_is_said(prometheus: Prometheus) -> None:
    """Rows of GPUs are a node's, and a Prometheus without our rules has nothing to say."""
    done = status(prometheus, "-o", "csv")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "a table or json" in done.stderr


def test_a_prometheus_without_the_rules_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    """With what to load there."""
    with run_prometheus(tmp_path_factory.mktemp("bare"), "global: {}\n") as bare:
        done = status(bare)
    assert done.returncode == 3
    assert "load its rules there (gpumon rules export)" in done.stderr
