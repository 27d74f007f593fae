"""Rules on VictoriaMetrics: what a server of Prometheus says of the same samples."""

from __future__ import annotations

import contextlib
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpumon.rules import Rendering, load, render
from gpumon.thresholds import shipped
from tests.engines.conftest import Fleet
from tests.engines.layouts import store, vmalert
from tests.engines.test_layers import compared, wait_alike
from tests.support.servers import Prometheus, get, wait_for

QUICK = 10
"""What restarts has every duration divided by it."""

pytestmark = [pytest.mark.engines, pytest.mark.timeout(600)]


def test_it_says_what_prometheus_says(fleet: Fleet) -> None:
    """Series by series and alert by alert, of the same samples."""
    one, other = fleet.layouts["prometheus"].whole, fleet.layouts["victoriametrics"].whole
    wait_alike(lambda: compared(one), lambda: compared(other), 240)


def test_what_is_pending_survives_a_restart_of_the_evaluator(tmp_path: Path) -> None:
    """The alert is as old after it as before, to the second: by remote read."""
    groups = load(shipped(), QUICK)
    rules = tmp_path / "rules"
    rules.mkdir()
    for name, text in render(groups, Rendering(form="vmalert", time_scale=QUICK)).items():
        (rules / name).write_text(text)
    with contextlib.ExitStack() as stack:
        kept = stack.enter_context(store(tmp_path / "store"))
        stack.enter_context(importing(kept, 'gpumon_source_up{job="gpumon",instance="n1"} 0\n'))
        with vmalert(tmp_path / "first", rules, kept, kept) as first:
            wait_for(lambda: "SourceDown" in pending(first), 60, "a pending alert")
            state = 'ALERTS_FOR_STATE{alertname="SourceDown"}'
            wait_for(lambda: kept.query(state), 30, "the alert's state in the store")
            before = pending(first)
        with vmalert(tmp_path / "second", rules, kept, kept) as second:
            wait_for(lambda: pending(second) == before, 30, f"{before} after the restart")


@contextlib.contextmanager
def importing(to: Prometheus, text: str) -> Iterator[None]:
    """Write samples to a store, twice a second."""
    ended = threading.Event()

    def write() -> None:
        while not ended.wait(0.5):
            url = f"{to.url}/api/v1/import/prometheus"
            urllib.request.urlopen(urllib.request.Request(url, text.encode())).close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def pending(alerts: Prometheus) -> dict[str, str]:
    """Return since when alerts of a vmalert are pending, to the second, which is what it keeps."""
    found = get(f"{alerts.url}/api/v1/alerts").json()["data"]["alerts"]
    return {one["name"]: one["activeAt"][:19] for one in found if one["state"] == "pending"}
