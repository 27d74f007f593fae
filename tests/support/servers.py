"""Real servers and processes for tests: found, started on free ports, waited for, and ended."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def missing(what: str) -> Any:
    """Skip for want of something, which in CI is a failure: there nothing may be missing."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and this is CI")
    pytest.skip(f"{what} is not here")


def require(program: str) -> str:
    """Return the path of a program."""
    found = shutil.which(program)
    return found if found is not None else str(missing(program))


def data(name: str) -> Path:
    """Return a file of the shared recordings (GPUMON_TEST_DATA, else ../shared/data)."""
    folder = Path(os.environ.get("GPUMON_TEST_DATA") or ROOT.parent / "shared" / "data")
    return folder / name if (folder / name).exists() else Path(missing(f"the recording {name}"))


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def wait_for(
    predicate: Callable[[], Any], seconds: float, what: str, *, every: float = 0.05
) -> Any:
    """Return the predicate's first true value; fail, saying what was waited for, past the time."""
    deadline = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} s in vain for {what}")
        time.sleep(every)


class Answer:
    """What a server said."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Keep status, headers (lower case) and body."""
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


def get(url: str, headers: Mapping[str, str] | None = None, timeout: float = 10) -> Answer:
    """GET a URL; an HTTP error is an answer too."""
    request = urllib.request.Request(url, headers=dict(headers or {}))
    try:
        with _OPENER.open(request, timeout=timeout) as answer:
            return Answer(answer.status, dict(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read())


def answers(url: str) -> bool:
    """Tell whether a URL answers with 200 now."""
    try:
        return get(url, timeout=2).status == 200
    except OSError:
        return False


@contextlib.contextmanager
def run(
    argv: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None, patience: float = 15
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process with its output in a file; SIGTERM at the end, and SIGKILL past patience."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            argv, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                pytest.fail(f"{argv[0]} did not end within {patience} s: {log.read_text()[-2000:]}")


class Agent:
    """A running agent."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        """Keep the process, its port, and the file of its log."""
        self.process = process
        self.port = port
        self.target = f"127.0.0.1:{port}"
        self.url = f"http://{self.target}"
        self._log = log

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GET a path of the agent."""
        return get(self.url + path, headers)

    def metrics(self) -> str:
        """Return the exposition."""
        return self.get("/metrics").text

    def ready(self) -> bool:
        """Tell whether the agent says that it is ready."""
        return answers(self.url + "/-/ready")

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text()


@contextlib.contextmanager
def run_agent(
    folder: Path,
    source: str,
    *args: str,
    env: Mapping[str, str] | None = None,
    ready: bool = True,
) -> Iterator[Agent]:
    """Run ``gpumon agent`` on a source; waits until it is ready, or only until it answers."""
    port = free_port()
    log = folder / f"agent-{port}.log"
    argv = [
        *(sys.executable, "-m", "gpumon", "agent", "--source", source),
        *("--web.listen-address", f"127.0.0.1:{port}"),
        *("--state-dir", str(folder / "state"), *args),
    ]
    with run(argv, log, env=env) as process:
        agent = Agent(process, port, log)

        def up() -> bool:
            if process.poll() is not None:
                pytest.fail(f"the agent ended with {process.returncode}: {agent.log}")
            return agent.ready() if ready else answers(agent.url + "/-/healthy")

        wait_for(up, 30, "the agent")
        yield agent


CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

ITSELF = "itself.invalid:9090"
"""What stands in a configuration for the address of the Prometheus that will read it."""


class Prometheus:
    """A running Prometheus."""

    def __init__(self, port: int) -> None:
        """Keep the port."""
        self.url = f"http://127.0.0.1:{port}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an instant query: ``{"metric": …, "value": [time, text]}``."""
        parameters = urllib.parse.urlencode({"query": expression})
        answer = get(f"{self.url}/api/v1/query?{parameters}").json()
        assert answer["status"] == "success", answer
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def value(self, expression: str) -> float | None:
        """Return the single number a query gives, or None where it gives none."""
        result = self.query(expression)
        assert len(result) <= 1, result
        return float(result[0]["value"][1]) if result else None

    def targets(self) -> list[dict[str, Any]]:
        """Return the active targets."""
        active: list[dict[str, Any]] = get(f"{self.url}/api/v1/targets").json()["data"][
            "activeTargets"
        ]
        return active


@contextlib.contextmanager
def run_prometheus(
    folder: Path, config: str, *args: str, program: str = "prometheus"
) -> Iterator[Prometheus]:
    """Run Prometheus on a configuration's text, ITSELF in it; waits until it is ready."""
    program = require(program)
    file, port = folder / "prometheus.yml", free_port()
    file.write_text(config.replace(ITSELF, f"127.0.0.1:{port}"))
    argv = [
        program,
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
        *args,
    ]
    log = folder / "prometheus.log"
    with run(argv, log) as process:

        def up() -> bool:
            if process.poll() is not None:
                pytest.fail(f"prometheus ended with {process.returncode}: {log.read_text()}")
            return answers(f"http://127.0.0.1:{port}/-/ready")

        wait_for(up, 30, "prometheus")
        yield Prometheus(port)


def shipped_prometheus_config(target: str, interval: str = "1s") -> str:
    """Return the scrape configuration that ships, for one agent and at a test's pace."""
    text = (ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text()
    assert "127.0.0.1:9842" in text
    text = text.replace("127.0.0.1:9842", target)
    for name in ("scrape_interval: 15s", "scrape_timeout: 10s", "evaluation_interval: 15s"):
        assert name in text
        text = text.replace(name, f"{name.partition(':')[0]}: {interval}")
    return text
