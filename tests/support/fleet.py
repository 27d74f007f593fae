"""A running ``gpumon simulate``, and a Prometheus configuration for it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from gpumon.thresholds import shipped
from tests.support.servers import answers, free_port, get, run, wait_for


class RunningFleet:
    """A simulated fleet over HTTP."""

    def __init__(self, port: int, pid: int) -> None:
        """Keep where it listens, and its process's id."""
        self.address = f"127.0.0.1:{port}"
        self.url = f"http://{self.address}"
        self.pid = pid

    def break_(self, faults: Sequence[str]) -> list[dict[str, Any]]:
        """Let faults begin."""
        request = urllib.request.Request(
            f"{self.url}/faults",
            data=json.dumps({"faults": list(faults)}).encode(),
            headers={"Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            begun: list[dict[str, Any]] = json.load(answer)["faults"]
        return begun

    def metrics(self, node: str) -> str:
        """Return a node's exposition."""
        return get(f"{self.url}/nodes/{node}/metrics").text

    def jobs(self) -> list[dict[str, Any]]:
        """Return the jobs that run."""
        running: list[dict[str, Any]] = get(f"{self.url}/jobs").json()["jobs"]
        return running


@contextlib.contextmanager
def run_fleet(folder: Path, *args: str) -> Iterator[RunningFleet]:
    """Run ``gpumon simulate``; waits until it answers."""
    port = free_port()
    argv = [
        *(sys.executable, "-m", "gpumon", "simulate"),
        *("--web.listen-address", f"127.0.0.1:{port}", *args),
    ]
    with run(argv, folder / "simulate.log", env={"COLUMNS": os.environ.get("COLUMNS", "80")}) as p:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/-/healthy"), 60, "the fleet")
        yield RunningFleet(port, p.pid)


def scaled(folder: Path, scale: int) -> Path:
    """Write thresholds for agents under rules whose times are so many times shorter.

    The window in which a job's GPU is idle is the agents' as well as the rules'.
    """
    file = folder / "agents.toml"
    window = shipped().seconds("activity.idle_window") / scale
    file.write_text(f'[activity]\nidle_window = "{window:g}s"\n', "utf-8")
    return file


def fleet_config(
    fleet: RunningFleet,
    *,
    cluster: str,
    interval: str = "1s",
    refresh: str = "1s",
    rules: Path | None = None,
    alertmanager: str | None = None,
) -> str:
    """Return a Prometheus configuration that scrapes a fleet and its site, as docs describe."""
    config: dict[str, Any] = {
        "global": {
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "evaluation_interval": interval,
        },
        "scrape_configs": [
            {
                "job_name": "gpumon",
                "http_sd_configs": [{"url": f"{fleet.url}/sd", "refresh_interval": refresh}],
            },
            {
                "job_name": "gpumon-site",
                "metrics_path": "/site/metrics",
                "static_configs": [
                    {"targets": [fleet.address], "labels": {"cluster": cluster}},
                ],
            },
        ],
    }
    if rules is not None:
        config["rule_files"] = [f"{rules}/*.yml"]
    if alertmanager is not None:
        config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    return yaml.safe_dump(config)
