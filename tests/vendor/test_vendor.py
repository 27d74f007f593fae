"""The driver's door is a door: another vendor's GPUs need one folder and one row.

The package is copied, the folder and the row are added, and the copy is what runs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.exposition import Exposition
from tests.support.servers import ROOT, Agent, run_agent, wait_for

pytestmark = pytest.mark.e2e

ROW = '    SourceKind(name="acme", example="acme", real=True, xids=False),\n'
END_OF_ROWS = '    SourceKind(name="replay", '


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a gpumon that knows the vendor, and nothing of it but folder and row."""
    folder = tmp_path_factory.mktemp("vendor")
    package = folder / "agent" / "gpumon"
    shutil.copytree(
        ROOT / "agent" / "gpumon", package, ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("deploy", "docs"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "tests" / "vendor" / "acme", package / "sources" / "acme")
    kinds = package / "sources" / "kinds.py"
    text = kinds.read_text()
    assert text.count(END_OF_ROWS) == 1
    kinds.write_text(text.replace(END_OF_ROWS, ROW + END_OF_ROWS))
    return {"PYTHONPATH": str(package.parent), "ACME_LOST": str(folder / "lost")}


@pytest.fixture(scope="module")
def agent(env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """An agent on the vendor's two GPUs, in a node that draws 300 W beyond them."""
    with run_agent(
        tmp_path_factory.mktemp("agent"),
        "acme",
        *("--node-overhead-watts", "300", "--workload-manager", "processes"),
        env=env,
    ) as running:
        yield running


def gpumon(env: dict[str, str], *argv: str, code: int = 0) -> str:
    """Run a command of that gpumon."""
    done = subprocess.run(
        [sys.executable, "-m", "gpumon", *argv],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **env},
    )
    assert done.returncode == code, done.stderr
    return done.stdout


def test_status_shows_both_gpus_and_the_vendors_reason(env: dict[str, str], agent: Agent) -> None:
    """Directly, and of the agent."""
    for target in ("acme", agent.target):
        document = json.loads(gpumon(env, "status", target, "-o", "json"))
        assert document["source"] == "acme"
        assert [gpu["name"] for gpu in document["gpus"]] == ["Acme X1", "Acme X1"]
        assert [gpu["throttle_reasons"] for gpu in document["gpus"]] == [[], ["prochot"]]
        assert "prochot" in gpumon(env, "status", target)


def test_info_names_the_vendors_calls(env: dict[str, str], agent: Agent) -> None:
    """And what it was asked for in vain."""
    text = gpumon(env, "info", agent.target, "1")
    (power,) = [line for line in text.splitlines() if "gpumon_gpu_power_watts " in line]
    assert power.split()[1:] == ["500.0", "acme_socket_power"]
    assert "gpumon_gpu_throttled{reason=prochot}" in text
    assert "acme_limiters" in text
    assert "gpumon_gpu_fan_speed_ratio" in text.partition("not reported")[2]
    assert "field " not in text
    assert "acme_socket_power" in gpumon(env, "metrics", "-o", "markdown")


def test_check_judges_it_and_asks_for_no_xids(env: dict[str, str], agent: Agent) -> None:
    """It is fine; that it has no Xids is said."""
    document = json.loads(gpumon(env, "check", agent.target, "-o", "json"))
    xid = [each for each in document["verdicts"] if each["check"] == "xid"]
    assert {(each["level"], each["evidence"]) for each in xid} == {
        ("skip", "GPUs of this kind have no Xids")
    }


def test_metrics_have_its_readings_node_power_and_books(agent: Agent) -> None:
    """Joules are booked as they are drawn; no Xid series is made up."""

    def booked() -> Exposition | None:
        page = Exposition(agent.metrics())
        total = page.value("gpumon_ledger_energy_joules_total", gpu="0")
        return page if total and total > 0 else None

    page = wait_for(booked, 15, "the ledger")
    assert page.value("gpumon_gpu_power_watts", gpu="0") == 500
    assert page.value("gpumon_gpu_throttled", gpu="1", reason="prochot") == 1
    assert page.value("gpumon_gpu_throttled", gpu="1", reason="sw_power_cap") == 0
    assert page.value("gpumon_node_gpu_power_watts") == 1000
    assert not page.all("gpumon_gpu_xid_events_total")
    ledger = page.value("gpumon_ledger_energy_joules_total", gpu="0")
    assert ledger == page.value("gpumon_unallocated_energy_joules_total", gpu="0")
    powered = wait_for(
        lambda: Exposition(agent.metrics()).all("gpumon_node_power_watts", method="estimated"),
        15,
        "the node's power",
    )
    (watts,) = powered.values()
    assert watts >= 1300  # both GPUs and the overhead; RAPL adds the CPUs where there is one


def test_a_lost_gpu_costs_the_other_nothing(env: dict[str, str], agent: Agent) -> None:
    """The neutral fault becomes the state, as with the driver."""
    lost = Path(env["ACME_LOST"])
    lost.touch()
    try:
        states = wait_for(
            lambda: (s := _states(agent))["1"] == "lost" and s, 15, "the GPU to be lost"
        )
        assert states == {"0": "ok", "1": "lost"}
        assert "acme_read: the device is gone" in gpumon(env, "check", agent.target, code=1)
    finally:
        lost.unlink()


def _states(agent: Agent) -> dict[str, str]:
    gpus = agent.get("/api/v1/snapshot").json()["gpus"]
    return {str(gpu["gpu"]): gpu["state"] for gpu in gpus}
