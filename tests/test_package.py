"""What is installed: the wheel holds the code and what ships beside it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.support.servers import ROOT
from tests.support.wheel import build_wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """The wheel, built from this checkout."""
    return zipfile.Path(build_wheel(tmp_path_factory.mktemp("wheel")))


@pytest.mark.parametrize(
    "name",
    [
        "gpumon/py.typed",
        "gpumon/server/page.html",
        "gpumon/sources/nvml/library.py",
        "gpumon/_assets/deploy/prometheus/prometheus.yml",
        "gpumon/_assets/deploy/systemd/gpumon-agent.service",
        "gpumon/_assets/deploy/jobs/gpumon-job.sh",
        "gpumon/_assets/deploy/pbs/gpumon_pbs_hook.py",
        "gpumon/_assets/deploy/flux/prolog.d-gpumon.sh",
        "gpumon/_assets/dashboards/json/gpumon-node.json",
        "gpumon/_assets/dashboards/thresholds.json",
    ],
)
def test_the_wheel_holds_what_runs_and_what_ships(wheel: zipfile.Path, name: str) -> None:
    """The page, the deployment files and the dashboards go with the code."""
    assert wheel.joinpath(name).read_bytes() == _in_checkout(name).read_bytes()


def _in_checkout(name: str) -> Path:
    beside = name.removeprefix("gpumon/_assets/")
    return ROOT / beside if beside != name else ROOT / "agent" / name


def test_the_wheel_holds_no_tests(wheel: zipfile.Path) -> None:
    """Nor anything else of the checkout."""
    tops = {entry.name for entry in wheel.iterdir()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"gpumon"}
