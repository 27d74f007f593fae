"""The agent and its peers, each started on a free port and waited for."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gpumon import __version__
from tests.fakenvml import FakeDriver, profiles
from tests.support.servers import ROOT, answers, free_port, run

GPUS = 8

NAMES = (GPUMON, NVITOP, NODE) = ("gpumon", "nvitop-exporter", "node_exporter")

PEERS_ENVIRONMENT = ROOT / ".venv-bench"


class NotStartedError(Exception):
    """A contender cannot be measured; says in one line why, and what to do."""


@dataclasses.dataclass(frozen=True)
class Contender:
    """A program that answers scrapes; ``driver`` is the fake one that it reads, and it alone."""

    name: str
    version: str
    pid: int
    url: str
    driver: FakeDriver | None = None


@contextlib.contextmanager
def gpumon(folder: Path, library: Path) -> Iterator[Contender]:
    """Run the agent as it comes, on eight H100s."""
    driver = _moving_gpus(folder / "gpumon-driver", library)
    port = free_port()
    argv = [
        *(sys.executable, "-m", "gpumon", "agent", "--state-dir", str(folder / "state")),
        *("--web.listen-address", f"127.0.0.1:{port}"),
    ]
    # A GPUMON_… of whoever measures must not change what is measured.
    own = {name: "" for name in os.environ if name.startswith("GPUMON_")}
    env = {**own, **driver.env()}
    with _started(GPUMON, argv, port, folder, env, ready="/-/ready") as (pid, url):
        yield Contender(GPUMON, __version__, pid, url, driver)


@contextlib.contextmanager
def nvitop_exporter(folder: Path, library: Path) -> Iterator[Contender]:
    """Run nvitop-exporter at 1 Hz on another eight H100s; it is installed where it is missing."""
    program = _installed_nvitop_exporter()
    driver = _moving_gpus(folder / "nvitop-driver", library)
    port = free_port()
    argv = [str(program), "--port", str(port), "--bind-address", "127.0.0.1", "--interval", "1.0"]
    env = {**driver.env(), "PYTHONPATH": ""}
    with _started(NVITOP, argv, port, folder, env) as (pid, url):
        yield Contender(NVITOP, _version(program), pid, url, driver)


@contextlib.contextmanager
def node_exporter(folder: Path, library: Path) -> Iterator[Contender]:
    """Run Debian's node_exporter with its default collectors (it reads no GPU)."""
    found = shutil.which("prometheus-node-exporter") or shutil.which("node_exporter")
    if found is None:
        raise NotStartedError(f"{NODE} is not here: apt-get install prometheus-node-exporter")
    port = free_port()
    argv = [found, f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    with _started(NODE, argv, port, folder, {}) as (pid, url):
        yield Contender(NODE, _version(Path(found)), pid, url)


ALL = {GPUMON: gpumon, NVITOP: nvitop_exporter, NODE: node_exporter}


MOVING = {
    "power_usage": "cycle:900:512340,498760,551230,530010,476540",
    "field.185": "cycle:900:512340,498760,551230,530010,476540",
    "field.186": "cycle:700:521000,467890,560120,533450",
    "samples.0": "auto:100000:521340,467890,560120,533450,509870,548760,498120",
    "temperature": "cycle:1900:57,58,59,58",
    "field.82": "cycle:2300:68,69,70",
    "margin_temperature": "cycle:1900:30,29,28,29",
    "utilization.gpu": "cycle:900:97,99,91,100,88",
    "utilization.memory": "cycle:900:41,47,38,44",
    "memory.used": "cycle:2900:70123456789,71123456789,69987654321",
    "memory.free": "cycle:2900:14893896704,13893896704,15029699171",
    "clock.0": "cycle:900:1980,1905,1950,1875",
    "clock.1": "cycle:900:1980,1905,1950,1875",
    "gpm.2": "cycle:900:86.125,91.5,79.75",
    "gpm.3": "cycle:900:31.25,36.5,28.125",
    "gpm.5": "cycle:900:52.5,61.25,47.875",
    "gpm.10": "cycle:900:40.5,44.25,37.125",
}
"""Readings of GPUs at work, in NVML's units: what never changes, a program need not do again."""


def _moving_gpus(folder: Path, library: Path) -> FakeDriver:
    driver = FakeDriver(folder, profiles.h100(GPUS), library=library)
    with driver.batch():
        for key, value in MOVING.items():
            driver.set("*", key, value)
    return driver


@contextlib.contextmanager
def _started(
    name: str,
    argv: Sequence[str],
    port: int,
    folder: Path,
    env: Mapping[str, str],
    ready: str = "/metrics",
) -> Iterator[tuple[int, str]]:
    base, log = f"http://127.0.0.1:{port}", folder / f"{name}.log"
    with run(argv, log, env=env) as process:
        deadline = time.monotonic() + 30
        while not answers(base + ready):
            if process.poll() is not None or time.monotonic() > deadline:
                raise NotStartedError(f"{name} does not start: {_last_line(log)}")
            time.sleep(0.1)
        yield process.pid, f"{base}/metrics"


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it says nothing; run it by hand"


def _installed_nvitop_exporter() -> Path:
    program = PEERS_ENVIRONMENT / "bin" / NVITOP
    if program.exists():
        return program
    pip = [str(PEERS_ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "--quiet", NVITOP]
    try:
        venv = [sys.executable, "-m", "venv", str(PEERS_ENVIRONMENT)]
        subprocess.run(venv, check=True, capture_output=True)
        subprocess.run(pip, check=True, capture_output=True)
    except (OSError, subprocess.SubprocessError):
        raise NotStartedError(
            f"{NVITOP} cannot be installed: check that pip reaches a package index, and retry"
        ) from None
    return program


def _version(program: Path) -> str:
    """Return the first thing in a program's ``--version`` that looks like one."""
    answer = subprocess.run(
        [str(program), "--version"], check=False, capture_output=True, text=True
    )
    found = re.search(r"\d+(\.\d+)+", answer.stdout + answer.stderr)
    return found[0] if found else "of unknown version"
