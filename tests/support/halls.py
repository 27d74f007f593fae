"""A fleet of a few nodes for servers that share it: what each node serves, and how it compares.

Two clusters over three halls, and one job over all nodes; a GPU is lost, a rack is hot, a driver
does not answer, and one node has other limits.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gpumon.rules.layers import LABEL
from tests.expositions.record import record
from tests.support.servers import Prometheus

HALLS = ("h1", "h2", "h3")

RECORDED = '{__name__=~"[a-z_]+:gpumon_.+"}'
FIRING = 'ALERTS{alertstate="firing"}'

OF_TIME = re.compile(r"gpumon_(gpu_sample_age|scrape_duration)_seconds|critical:gpumon_agents_down")
"""What is another number at each look, whoever looks."""


@dataclasses.dataclass(frozen=True)
class Node:
    """A node of two GPUs; ``changes`` are of its exposition, as regular expressions."""

    name: str
    hall: str
    rack: str
    changes: tuple[tuple[str, str], ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its target; each rack has nodes of two clusters."""
        cluster = "alpha" if int(self.name[1:]) % 2 else "beta"
        return {
            "site": "s",
            "hall": self.hall,
            "row": "w",
            "rack": self.rack,
            "cluster": cluster,
            "node_partition": "train",
            "node": self.name,
            "instance": f"{self.name}:9842",
        }

    def exposition(self, text: str) -> str:
        """Return what it serves: its boards are its own, and its jobs those of its neighbours."""
        text = re.sub(r'((?:uuid|serial)="[^"]*)', rf"\1-{self.name}", text)
        for pattern, value in self.changes:
            text, count = re.subn(pattern, value, text, flags=re.MULTILINE)
            assert count, pattern
        return text


def all_of(family: str, value: str) -> tuple[str, str]:
    """Return the change of all samples of a family."""
    return rf"^({family}(?:{{.*}})?) \S+", rf"\1 {value}"


LOST = (
    (r'^(gpumon_gpu_state{gpu="0".*state="ok"}) 1', r"\1 0"),
    (r'^(gpumon_gpu_state{(gpu="0".*)state="ok"}) 0', r'\1 0\ngpumon_gpu_state{\2state="lost"} 1'),
    (r'^(gpumon_gpu_up{gpu="0".*}) 1', r"\1 0"),
    (r'^(gpumon_node_gpus{state="ok"}) \S+', r"\1 7"),
    (r'^(gpumon_node_gpus{state="lost"}) \S+', r"\1 1"),
)

NODES = (
    Node("n1", "h1", "r1"),
    Node("n2", "h1", "r1", LOST),
    Node("n3", "h1", "r2", (all_of("gpumon_gpu_temperature_margin_celsius", "2"),)),
    Node("n4", "h1", "r2", (all_of("gpumon_gpu_temperature_margin_celsius", "3"),)),
    Node("n5", "h2", "r1"),
    Node("n6", "h2", "r1", (all_of("gpumon_gpu_power_limit_watts", "500"),)),
    Node("n7", "h3", "r1"),
    Node("n8", "h3", "r1", (all_of("gpumon_source_up", "0"),)),
)

SITE = """
# TYPE gpumon_site_power_budget_watts gauge
gpumon_site_power_budget_watts{level="site",name=""} 1000
gpumon_site_power_budget_watts{level="hall",name="h1"} 100000
gpumon_site_power_budget_watts{level="rack",name="r1"} 400
"""


@contextlib.contextmanager
def serving(texts: Mapping[str, str]) -> Iterator[str]:
    """Serve texts by path; yields the address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = texts[self.path].encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def expositions(folder: Path) -> dict[str, str]:
    """Return what all nodes serve, and ``gpumon site``, by path; an agent serves it first."""
    text = record(folder, "jobfiles")
    return {f"/{node.name}": node.exposition(text) for node in NODES} | {"/site": SITE}


def _target(
    address: str, path: str, labels: Mapping[str, str], job: str, interval: str
) -> dict[str, object]:
    """Return the scrape of one path."""
    return {
        "job_name": f"{job}-{labels['instance']}",
        "metrics_path": path,
        "scrape_interval": interval,
        "scrape_timeout": interval,
        "static_configs": [{"targets": [address], "labels": {"job": job, **labels}}],
    }


def scrapes(address: str, interval: str = "500ms") -> list[dict[str, object]]:
    """Return the scrapes of all of them."""
    site = {"site": "s", "instance": "s:9843"}
    return [
        *(_target(address, f"/{node.name}", node.labels, "gpumon", interval) for node in NODES),
        _target(address, "/site", site, "gpumon-site", interval),
    ]


Series = dict[tuple[tuple[str, str], ...], float]


def series(prometheus: Prometheus, query: str) -> Series:
    """Return the values of what a query finds, without what each layer says of itself."""
    return {
        tuple(sorted(found["metric"].items())): float(found["value"][1])
        for found in prometheus.query(query)
        if LABEL not in found["metric"]
        and found["metric"].get("alertname") != "Watchdog"
        and not OF_TIME.search(found["metric"].get("__name__", ""))
    }


def differences(whole: Series, parts: Series, rel: float = 1e-6) -> list[str]:
    """Return what is in one and not in the other, or is another number by more than a share."""
    return [
        f"{dict(labels)}: {whole.get(labels)} of the whole, {parts.get(labels)} of the layers"
        for labels in sorted({*whole, *parts})
        if whole.get(labels) != pytest.approx(parts.get(labels), rel=rel)
    ]
