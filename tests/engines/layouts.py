"""A fleet's layouts on engines that are built for it, at full speed, all of the same samples.

Each engine has a server with all rules, and one of the layer ``site`` above three halls' of the
layer ``node``. One writer sends to all of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from gpumon.rules import Rendering, load, render
from gpumon.rules.layers import SENT
from gpumon.thresholds import shipped
from tests.engines.programs import built
from tests.support.halls import HALLS, scrapes
from tests.support.servers import Prometheus, answers, free_port, run, run_prometheus, wait_for

ENGINES = ("prometheus", "victoriametrics")

KEEP = {"source_labels": ["__name__"], "regex": SENT, "action": "keep"}
"""What a hall's server sends to the site's, as docs/alerting.md says it."""

Sink = dict[str, object]
"""Where the writer sends samples, and which."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """The two servers that are asked: one with all rules, and the site's above the halls'."""

    whole: Prometheus
    site: Prometheus


def sink(to: Prometheus, *relabel: Mapping[str, object]) -> Sink:
    """Return a remote write that sends at once."""
    return {
        "url": f"{to.url}/api/v1/write",
        "queue_config": {"batch_send_deadline": "100ms", "max_shards": 1},
        "write_relabel_configs": list(relabel),
    }


def of_hall(to: Prometheus, hall: str) -> Sink:
    """Return a remote write of one hall's samples."""
    return sink(to, {"source_labels": ["hall"], "regex": hall, "action": "keep"})


def of_site(to: Prometheus) -> Sink:
    """Return a remote write of what ``gpumon site`` exposes."""
    return sink(to, {"source_labels": ["job"], "regex": "gpumon-site", "action": "keep"})


@contextlib.contextmanager
def writing(folder: Path, address: str, sinks: list[Sink]) -> Iterator[None]:
    """Run the writer, which scrapes all nodes and keeps nothing that anybody asks for."""
    folder.mkdir()
    config = yaml.safe_dump({"scrape_configs": scrapes(address, "1s"), "remote_write": sinks})
    with run_prometheus(folder, config, program=built("prometheus")):
        yield


def exported(folder: Path, form: str, layer: str) -> Path:
    """Write a layer's rules; returns their folder."""
    rules = folder / "rules"
    rules.mkdir(parents=True, exist_ok=True)
    for name, text in render(load(shipped()), Rendering(form=form, layer=layer)).items():
        (rules / name).write_text(text)
    return rules


# ------------------------------------------------------------------------------- Prometheus


@contextlib.contextmanager
def prometheus(folder: Path, layer: str, *remote: Sink) -> Iterator[Prometheus]:
    """Run a Prometheus 3 that takes samples, and evaluates a layer's rules over them."""
    rules = exported(folder, "prometheus", layer)
    config = {
        "global": {"evaluation_interval": "15s"},
        "rule_files": [f"{rules}/*.yml"],
        "remote_write": list(remote),
    }
    args = ("--web.enable-remote-write-receiver",)
    text = yaml.safe_dump(config)
    with run_prometheus(folder, text, *args, program=built("prometheus")) as server:
        yield server


@contextlib.contextmanager
def on_prometheus(folder: Path, sinks: list[Sink]) -> Iterator[Layout]:
    """Run both layouts on Prometheus 3; adds where samples must go."""
    with contextlib.ExitStack() as stack:
        whole = stack.enter_context(prometheus(folder / "whole", "all"))
        site = stack.enter_context(prometheus(folder / "site", "site"))
        sinks += [sink(whole), of_site(site)]
        for hall in HALLS:
            server = prometheus(folder / hall, "node", sink(site, KEEP))
            sinks.append(of_hall(stack.enter_context(server), hall))
        yield Layout(whole, site)


# -------------------------------------------------------------------------- VictoriaMetrics


@contextlib.contextmanager
def program(folder: Path, name: str, *args: str) -> Iterator[Prometheus]:
    """Run one of VictoriaMetrics' programs on a free port."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    argv = [built(name), f"-httpListenAddr=127.0.0.1:{port}", "-loggerLevel=WARN", *args]
    with run(argv, folder / f"{name}.log"):
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"), 30, name)
        yield Prometheus(port)


def store(folder: Path) -> contextlib.AbstractContextManager[Prometheus]:
    """Run a store of samples that shows the newest ones."""
    return program(
        folder,
        "victoria-metrics",
        f"-storageDataPath={folder / 'data'}",
        "-search.latencyOffset=1ms",
        "-memory.allowedBytes=100MB",
    )


def vmalert(
    folder: Path, rules: Path, reads: Prometheus, writes: Prometheus
) -> contextlib.AbstractContextManager[Prometheus]:
    """Run a vmalert as docs/alerting.md says."""
    return program(
        folder,
        "vmalert",
        f"-rule={rules}/*.yml",
        f"-datasource.url={reads.url}",
        f"-remoteWrite.url={writes.url}",
        "-remoteWrite.flushInterval=200ms",
        f"-remoteRead.url={reads.url}",
        "-notifier.blackhole",
    )


def evaluating(
    folder: Path, layer: str, reads: Prometheus, writes: Prometheus
) -> contextlib.AbstractContextManager[Prometheus]:
    """Run a vmalert that evaluates a layer's rules over a store."""
    return vmalert(folder, exported(folder, "vmalert", layer), reads, writes)


def passing_on(
    folder: Path, to: Prometheus, site: Prometheus, sent: str = SENT
) -> contextlib.AbstractContextManager[Prometheus]:
    """Run a vmagent that writes all to a hall's store, and to the site's only what is ``sent``."""
    folder.mkdir(parents=True, exist_ok=True)
    keep, everything = folder / "keep.yml", folder / "all.yml"
    keep.write_text(yaml.safe_dump([KEEP | {"regex": sent}]))
    everything.write_text("[]\n")
    return program(
        folder,
        "vmagent",
        f"-remoteWrite.url={to.url}/api/v1/write",
        f"-remoteWrite.urlRelabelConfig={everything}",
        f"-remoteWrite.url={site.url}/api/v1/write",
        f"-remoteWrite.urlRelabelConfig={keep}",
        f"-remoteWrite.tmpDataPath={folder / 'queue'}",
        "-remoteWrite.queues=1",
        "-remoteWrite.flushInterval=200ms",
    )


@contextlib.contextmanager
def on_victoriametrics(folder: Path, sinks: list[Sink]) -> Iterator[Layout]:
    """Run both layouts on VictoriaMetrics with vmalert; adds where samples must go."""
    with contextlib.ExitStack() as stack:
        whole = stack.enter_context(store(folder / "whole"))
        site = stack.enter_context(store(folder / "site"))
        sinks += [sink(whole), of_site(site)]
        for hall in HALLS:
            own = stack.enter_context(store(folder / hall))
            agent = stack.enter_context(passing_on(folder / hall, own, site))
            stack.enter_context(evaluating(folder / hall, "node", own, agent))
            sinks.append(of_hall(agent, hall))
        stack.enter_context(evaluating(folder / "whole", "all", whole, whole))
        stack.enter_context(evaluating(folder / "site", "site", site, site))
        yield Layout(whole, site)
