"""A fleet over several servers: its layers together say what one server with all rules says.

One writer sends the same samples to a server that has all rules, and by hall to servers of the
layer ``node``, which send on what they record, and a few families, to one of the layer ``site``.
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
import yaml

from gpumon.rules import Rendering, load, render
from gpumon.rules.layers import LABEL, SENT
from gpumon.thresholds import shipped
from tests.expositions.record import record
from tests.support.servers import Prometheus, run_prometheus, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

QUICK = 30
"""Every duration is divided by it: a rule of 15 s is evaluated twice a second."""

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
    (r'^(gpumon_node_gpus{state="ok"}) \S+', r'\1 1\ngpumon_node_gpus{state="lost"} 1'),
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


def target(address: str, path: str, labels: Mapping[str, str], job: str) -> dict[str, object]:
    """Return the scrape of one path."""
    return {
        "job_name": f"{job}-{labels['instance']}",
        "metrics_path": path,
        "scrape_interval": "500ms",
        "scrape_timeout": "500ms",
        "static_configs": [{"targets": [address], "labels": {"job": job, **labels}}],
    }


def sending(to: Prometheus | str, *relabel: Mapping[str, object]) -> dict[str, object]:
    """Return where samples are sent at once, and which."""
    url = to if isinstance(to, str) else to.url
    return {
        "url": f"{url}/api/v1/write",
        "queue_config": {"batch_send_deadline": "100ms", "max_shards": 1},
        "write_relabel_configs": list(relabel),
    }


@contextlib.contextmanager
def evaluating(folder: Path, layer: str, *remote: Mapping[str, object]) -> Iterator[Prometheus]:
    """Run a Prometheus that takes samples, and evaluates a layer's rules over them."""
    rules = folder / "rules"
    rules.mkdir(parents=True)
    rendering = Rendering(layer=layer, time_scale=QUICK)
    for name, text in render(load(shipped(), QUICK), rendering).items():
        (rules / name).write_text(text)
    config = {
        "global": {"evaluation_interval": "500ms"},
        "rule_files": [f"{rules}/*.yml"],
        "remote_write": list(remote),
    }
    args = ("--web.enable-remote-write-receiver",)
    with run_prometheus(folder, yaml.safe_dump(config), *args) as prometheus:
        yield prometheus


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, Prometheus]]:
    """The server with all rules, and that of the site above three halls'; of the same samples."""
    folder = tmp_path_factory.mktemp("layers")
    text = record(tmp_path_factory.mktemp("node"), "jobfiles")
    texts = {f"/{node.name}": node.exposition(text) for node in NODES} | {"/site": SITE}
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(serving(texts))
        whole = stack.enter_context(evaluating(folder / "whole", "all"))
        site = stack.enter_context(evaluating(folder / "site", "site"))
        keep = {"source_labels": ["__name__"], "regex": SENT, "action": "keep"}
        halls = {
            hall: stack.enter_context(evaluating(folder / hall, "node", sending(site, keep)))
            for hall in HALLS
        }
        of_site = {"source_labels": ["job"], "regex": "gpumon-site", "action": "keep"}
        writer = {
            "scrape_configs": [
                *(target(address, f"/{n.name}", n.labels, "gpumon") for n in NODES),
                target(address, "/site", {"site": "s", "instance": "s:9843"}, "gpumon-site"),
            ],
            "remote_write": [
                sending(whole),
                sending(site, of_site),
                *(
                    sending(server, {"source_labels": ["hall"], "regex": hall, "action": "keep"})
                    for hall, server in halls.items()
                ),
            ],
        }
        stack.enter_context(run_prometheus(folder, yaml.safe_dump(writer)))
        yield whole, site


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


def differences(whole: Series, parts: Series) -> list[str]:
    """Return what is in one and not in the other, or is another number."""
    return [
        f"{dict(labels)}: {whole.get(labels)} of the whole, {parts.get(labels)} of the layers"
        for labels in sorted({*whole, *parts})
        if whole.get(labels) != pytest.approx(parts.get(labels), rel=1e-6)
    ]


def test_alerts_of_both_layers_fire(fleet: tuple[Prometheus, Prometheus]) -> None:
    """The comparison is of something: a GPU, a driver, a rack and budgets above it."""
    _, site = fleet
    wanted = {"GpuLost", "SourceDown", "RackHot", "PowerOverBudget"}

    def firing() -> set[str]:
        return {found["metric"]["alertname"] for found in site.query(FIRING)}

    wait_for(lambda: wanted <= firing(), 100, f"{wanted}; there are {firing()}")


@pytest.mark.parametrize("query", [RECORDED, FIRING], ids=["series", "alerts"])
def test_the_layers_say_what_one_server_with_all_rules_says(
    fleet: tuple[Prometheus, Prometheus], query: str
) -> None:
    """Series by series and alert by alert, with jobs and a cluster over three halls."""
    whole, site = fleet

    def alike() -> bool:
        found = series(whole, query)
        return len(found) > least and not differences(found, series(site, query))

    least = {RECORDED: 500, FIRING: 8}[query]
    try:
        wait_for(alike, 100, "the same in both", every=2)
    except pytest.fail.Exception:
        found = differences(series(whole, query), series(site, query))
        assert found == []


def test_each_layer_has_a_watchdog(fleet: tuple[Prometheus, Prometheus]) -> None:
    """Those of the halls are one series here, for they are sent without external labels."""
    whole, site = fleet
    dogs = wait_for(lambda: site.query('ALERTS{alertname="Watchdog"}'), 30, "watchdogs")
    assert {found["metric"].get(LABEL) for found in dogs} == {"node", "site"}
    (dog,) = whole.query('ALERTS{alertname="Watchdog"}')
    assert LABEL not in dog["metric"]
