"""Fifty thousand hostile requests, and Prometheus notices nothing.

``GPUMON_TEST_HOSTILE_REQUESTS`` makes it more: ``make soak`` sends 200,000.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.servers import ROOT, Agent, get, run_agent, wait_for

pytestmark = pytest.mark.e2e

REQUESTS = int(os.environ.get("GPUMON_TEST_HOSTILE_REQUESTS", "50000"))
LATE_SECONDS = 1.0
"""A scrape that takes longer is late: the agent's promise, and the one time that a test asserts."""

GROWTH_BYTES = 2 * 1024 * 1024
"""What the server's memory may differ by: buffers of the connections there are at the moment.

By the request it is 42 bytes, less than the smallest object that could be left behind for each.
"""


def processes(agent: Agent) -> list[psutil.Process]:
    """Return the server and its reader."""
    server = psutil.Process(agent.process.pid)
    return [server, *server.children()]


def resident(agent: Agent) -> list[int]:
    """Return the bytes of memory of server and reader."""
    return [process.memory_info().rss for process in processes(agent)]


def handles(agent: Agent) -> list[tuple[int, int]]:
    """Return descriptors and threads of server and reader."""
    return [(process.num_fds(), process.num_threads()) for process in processes(agent)]


def flood(agent: Agent, requests: int, seed: int) -> subprocess.Popen[str]:
    """Start a flood beside this process."""
    argv = [sys.executable, "-m", "tests.e2e.hostile", str(agent.port), str(requests), str(seed)]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.timeout(600)
def test_hostile_clients_delay_no_scrape_and_leave_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Random bytes, huge headers, slow senders, 500 idle connections, resets half way."""
    with run_agent(tmp_path, "sim:8xH100") as agent:
        with flood(agent, 200, 0) as first:  # what is opened once, lazily, is open
            first.communicate(timeout=60)
        time.sleep(1)
        before = handles(agent)
        with flood(agent, REQUESTS // 10, 1) as warming:  # allocators and caches fill up
            warming.communicate(timeout=300)
        wait_for(lambda: handles(agent) == before, 30, f"what was there before: {before}")
        warm = resident(agent)
        took = []
        with flood(agent, REQUESTS, 2) as running:
            due = time.monotonic()
            while running.poll() is None:
                began = time.monotonic()
                answer = get(f"{agent.url}/metrics", timeout=30)
                took.append(time.monotonic() - began)
                assert answer.status == 200
                assert "gpumon_source_up 1" in answer.text
                due += 1.0
                time.sleep(max(0.0, due - time.monotonic()))
            report = json.loads(running.communicate()[0])
        wait_for(lambda: handles(agent) == before, 30, "the connections to be gone")
        grown = [after - before for after, before in zip(resident(agent), warm, strict=True)]
        with capsys.disabled():
            sys.stdout.write(
                f"\n{REQUESTS} hostile requests in {len(took)} s: slowest of {len(took)} scrapes "
                f"{max(took) * 1000:.0f} ms, median {sorted(took)[len(took) // 2] * 1000:.0f} ms; "
                f"memory {'/'.join(f'{n / 1e6:+.1f}' for n in grown)} MB (server/reader); "
                f"answers {report['answers']}\n"
            )
        assert sum(report["done"].values()) == REQUESTS
        assert max(took) < LATE_SECONDS
        assert all(growth < GROWTH_BYTES for growth in grown)
        assert not {status for status in report["answers"] if status.startswith("5")}
        assert "root:" not in json.dumps(report)
        assert len(agent.log.splitlines()) < 10
        assert agent.ready()
