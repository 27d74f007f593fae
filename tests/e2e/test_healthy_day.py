"""A day of a fleet in which nothing is wrong: every rule over all of it, and nobody is told.

``GPUMON_TEST_DAY_NODES`` makes it larger: ``make soak`` goes through the day of 200 nodes of eight
GPUs, which takes half an hour on two cores.
"""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from gpumon.rules import load
from gpumon.simulate.fleetplan import FleetPlan, plan_fleet
from gpumon.sources.sim.physics import WIDEST_STRIDE
from gpumon.thresholds import shipped
from tests.support.replay import DAY, Archive, judge_day, make_day, run_archive

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(7200)]

NODES = int(os.environ.get("GPUMON_TEST_DAY_NODES", "12"))
GPUS = 8 if NODES > 50 else 4
STEP = 60.0
WORKERS = 2

# What only dashboards read is left out: no alert depends on it.
ONLY_DASHBOARDS = {"gpumon-health", "gpumon-troubles", "gpumon-trust", "gpumon-deaf"}
GROUPS = [group for group in load(shipped()) if group.name not in ONLY_DASHBOARDS]
RULES = [rule for group in GROUPS for rule in group.rules]


def _work(url: str, plan: FleetPlan, part: int) -> None:
    make_day(plan, Archive(url), RULES, step=STEP, stride=WIDEST_STRIDE, part=(part, WORKERS))


def test_a_healthy_day_is_silent(tmp_path: Path) -> None:
    """Jobs begin and end, checkpoints are written, requests follow the hour: only the Watchdog."""
    plan = plan_fleet(nodes=NODES, gpus=GPUS, model="H100", seed=20, site=None)
    with run_archive(tmp_path) as archive:
        context = multiprocessing.get_context("spawn")
        workers = [
            context.Process(target=_work, args=(archive.url, plan, part)) for part in range(WORKERS)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0
        archive.flush()
        fired = judge_day(GROUPS, archive, step=STEP)
        whole = archive.over("cluster:gpumon_gpus_up:sum", STEP, DAY, 3600)
    assert fired.keys() == {"Watchdog"}, fired
    (series,) = whole
    assert len(series["values"]) == 24
    assert {float(value) for _, value in series["values"]} == {NODES * GPUS}


def test_the_same_rules_hear_what_is_wrong(tmp_path: Path) -> None:
    """Over two hours with faults exactly these are told: silence above means something."""
    plan = plan_fleet(nodes=12, gpus=4, model="H100", seed=20, site=None)
    faults = [
        "lost@n0001:0,start=20m",
        "pcie_width=8@n0002:1,start=20m",
        "idle@n0003:2,start=20m",
        "xid=94@n0004:0,start=20m",
        "scheduler=drained@n0001",
    ]
    with run_archive(tmp_path) as archive:
        make_day(plan, archive, RULES, step=STEP, stride=WIDEST_STRIDE, faults=faults, seconds=7200)
        fired = judge_day(GROUPS, archive, step=STEP, seconds=7200)
    assert fired.keys() == {
        "Watchdog",
        "GpuLost",
        "PcieWidthReduced",
        "JobPartlyIdle",
        "JobStraggler",
        "GpuXidHardware",
    }
