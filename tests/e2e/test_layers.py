"""A fleet over several servers: its layers together say what one server with all rules says.

One writer sends the same samples to a server that has all rules, and by hall to servers of the
layer ``node``, which send on what they record, and a few families, to one of the layer ``site``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from gpumon.rules import Rendering, load, render
from gpumon.rules.layers import LABEL, SENT
from gpumon.thresholds import shipped
from tests.support.halls import (
    FIRING,
    HALLS,
    RECORDED,
    differences,
    expositions,
    scrapes,
    series,
    serving,
)
from tests.support.servers import Prometheus, run_prometheus, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

QUICK = 30
"""Every duration is divided by it: a rule of 15 s is evaluated twice a second."""


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
    texts = expositions(tmp_path_factory.mktemp("node"))
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
            "scrape_configs": scrapes(address),
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
