"""A real Alertmanager with the configuration that ships, and somebody who is told."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import json
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from gpumon.times import format_time, parse_duration
from tests.support.servers import ROOT, answers, free_port, require, run, wait_for

SHIPPED = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
PAGER = SHIPPED.with_name("pager.yml")


@dataclasses.dataclass(frozen=True)
class Told:
    """An alert as it arrived at a receiver."""

    receiver: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def alert(self) -> str:
        """The alert's name."""
        return self.labels["alertname"]

    def has(self, labels: Mapping[str, str]) -> bool:
        """Tell whether it has these labels, among others."""
        return labels.items() <= self.labels.items()


class Operator:
    """Everybody who is told something, at once: a webhook for all receivers."""

    def __init__(self) -> None:
        """Have heard of nothing."""
        self._lock = threading.Lock()
        self._told: dict[tuple[str, str], Told] = {}
        self._messages: list[tuple[str, Mapping[str, Any]]] = []

    def hear(self, receiver: str, message: Mapping[str, Any]) -> None:
        """Take in a message of Alertmanager's webhook."""
        with self._lock:
            self._messages.append((receiver, message))
            for alert in message["alerts"]:
                key = receiver, json.dumps(alert["labels"], sort_keys=True)
                self._told[key] = Told(receiver, alert["labels"], alert["annotations"])

    def messages(self, receiver: str) -> list[Mapping[str, Any]]:
        """Return what a receiver got, in order, as Alertmanager's webhook sends it."""
        with self._lock:
            return [message for to, message in self._messages if to == receiver]

    def told(self) -> list[Told]:
        """Return everything that has arrived so far, once each."""
        with self._lock:
            return list(self._told.values())


@contextlib.contextmanager
def run_operator() -> Iterator[tuple[Operator, str]]:
    """Listen for Alertmanager's messages; yields who hears them, and the URL without receiver."""
    operator = Operator()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            operator.hear(self.path.strip("/"), json.loads(self.rfile.read(length)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield operator, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def at_a_drills_pace(webhook: str) -> str:
    """Return the shipped configuration with a webhook at each receiver, and no time to wait."""
    config = yaml.safe_load(SHIPPED.read_text())
    for receiver in config["receivers"]:
        url = f"{webhook}/{receiver['name']}"
        receiver["webhook_configs"] = [{"url": url, "send_resolved": False}]
    for route in (config["route"], *config["route"]["routes"]):
        # Long enough for what is known by a greater trouble to be held back.
        route["group_wait"], route["group_interval"] = "5s", "5s"
    return yaml.safe_dump(config)


def at_a_pace(webhook: str, times: float) -> str:
    """Return the shipped configuration with a webhook at each receiver, and all times shorter.

    The pager is the one of the example.
    """
    config = yaml.safe_load(SHIPPED.read_text())
    example = yaml.safe_load(PAGER.read_text())["receivers"]
    (pager,) = next(r["webhook_configs"] for r in example if r["name"] == "pager-webhook")
    for receiver in config["receivers"]:
        url = f"{webhook}/{receiver['name']}"
        settings = pager if receiver["name"] == "pager" else {"send_resolved": True}
        receiver["webhook_configs"] = [{**settings, "url": url}]
    usual = dict(config["route"])
    for route in (config["route"], *usual["routes"]):
        for name in ("group_wait", "group_interval", "repeat_interval"):
            seconds = parse_duration(route.get(name, usual[name])) / times
            route[name] = f"{max(1, round(1000 * seconds))}ms"
    return yaml.safe_dump(config)


def post_alerts(address: str, alerts: Iterable[Mapping[str, str]], *, over: bool = False) -> None:
    """Send alerts (their labels) to Alertmanager as Prometheus does; ``over`` if they ended."""
    now = time.time()
    ends = {"endsAt": format_time(now - 1), "startsAt": format_time(now - 60)} if over else {}
    body = [{"labels": dict(labels), **ends} for labels in alerts]
    request = urllib.request.Request(
        f"http://{address}/api/v2/alerts",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(request, timeout=10).close()


@contextlib.contextmanager
def run_alertmanager(folder: Path, config: str) -> Iterator[str]:
    """Run Alertmanager on a configuration's text; yields HOST:PORT once it is ready."""
    file, port = folder / "alertmanager.yml", free_port()
    file.write_text(config)
    argv = [
        require("prometheus-alertmanager"),
        f"--config.file={file}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with run(argv, folder / "alertmanager.log"):
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/-/ready"), 30, "Alertmanager")
        yield f"127.0.0.1:{port}"
