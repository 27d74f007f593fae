"""``gpumon demo``: a stranger's first command."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakenvml import FakeDriver
from tests.support.servers import answers, get, require, run, wait_for

pytestmark = pytest.mark.e2e

DEMO = [sys.executable, "-m", "gpumon", "demo", "--web.listen-address", "127.0.0.1:0"]


def test_a_demo_ends_by_itself_with_nought_and_leaves_nothing(tmp_path: Path) -> None:
    """After its duration; no process, no folder."""
    done = subprocess.run(
        [*DEMO, "--no-prometheus", "--duration", "2"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=_environment(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert "SIMULATED" in done.stdout
    assert re.search(r"Live page:  http://127\.0\.0\.1:\d+/", done.stdout)
    assert list(tmp_path.iterdir()) == []


def _environment(folder: Path) -> dict[str, str]:
    import os

    return {**os.environ, "TMPDIR": str(folder)}


def url(log: Path, pattern: str) -> str:
    """Wait for a URL in the demo's words."""
    match = wait_for(lambda: re.search(pattern, log.read_text()), 30, pattern)
    return str(match[1])


def test_a_demo_starts_prometheus_with_the_configuration_that_ships(tmp_path: Path) -> None:
    """Which holds the node's power soon; Ctrl-C ends both."""
    require("prometheus")
    log = tmp_path / "demo.log"
    with run(DEMO, log) as process:
        live = url(log, r"Live page:  (\S+)/")
        prometheus = url(log, r"Prometheus: (\S+)/graph")
        wait_for(lambda: answers(f"{live}/-/ready"), 20, "the node")
        wait_for(lambda: answers(f"{prometheus}/-/ready"), 20, "prometheus")
        jobs = get(f"{prometheus}/api/v1/status/config").json()["data"]["yaml"]
        assert "job_name: gpumon" in jobs
        assert live.removeprefix("http://") in jobs
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 130
    wait_for(lambda: not answers(f"{prometheus}/-/ready"), 10, "prometheus to end")


def test_a_demo_goes_without_prometheus_where_there_is_none(tmp_path: Path) -> None:
    """And says so."""
    python = Path(sys.executable)
    done = subprocess.run(
        [*DEMO, "--duration", "1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**_environment(tmp_path), "PATH": str(python.parent)},
    )
    assert shutil.which("prometheus", path=str(python.parent)) is None
    assert done.returncode == 0, done.stderr
    assert "Prometheus is not on the PATH" in done.stdout


def test_a_demo_shows_the_gpus_there_are(tmp_path: Path, driver: FakeDriver) -> None:
    """Where the driver shows some, nothing is simulated."""
    done = subprocess.run(
        [*DEMO, "--no-prometheus", "--duration", "1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**_environment(tmp_path), **driver.env()},
    )
    assert done.returncode == 0, done.stderr
    assert "SIMULATED" not in done.stdout
    assert "8 GPUs" in done.stderr
