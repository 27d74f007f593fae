"""Layers of rules on Prometheus 3, and on VictoriaMetrics with vmalert, at full speed.

What is evaluated every minute or more often is compared, and alerts also while they are pending.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Mapping, Sequence

import pytest

from gpumon.rules import load
from gpumon.rules.model import RecordingRule
from gpumon.thresholds import shipped
from tests.engines.conftest import Fleet
from tests.engines.layouts import ENGINES
from tests.support.halls import RECORDED, Series, differences, series
from tests.support.servers import Prometheus, wait_for

pytestmark = [pytest.mark.engines, pytest.mark.timeout(600)]

OFTEN = frozenset({"", "15s", "30s", "1m"})
"""The intervals of groups that are compared: the others take ten minutes."""

COMPARED = {
    rule.record if isinstance(rule, RecordingRule) else rule.alert
    for group in load(shipped())
    for rule in group.rules
    if group.interval in OFTEN
}


OF_THE_START = frozenset({"budget:gpumon_power_watts:swing5m", "PowerSwing"})
"""What remembers for five minutes that halls arrive at the site one after another."""


def compared(prometheus: Prometheus) -> Series:
    """Return the recorded series that are evaluated often, and alerts of any state.

    The label that vmalert adds, an alert's group, is left out.
    """
    found: Series = {}
    for labels, value in (series(prometheus, RECORDED) | series(prometheus, "ALERTS")).items():
        own = dict(labels)
        name = own.get("alertname") or own["__name__"]
        if name in COMPARED - OF_THE_START:
            found[tuple(pair for pair in labels if pair[0] != "alertgroup")] = value
    return found


def wait_alike(one: Callable[[], Series], other: Callable[[], Series], seconds: float) -> None:
    """Wait until both are the same; shows the differences if they never are."""
    found: Sequence[str] = ()

    def alike() -> bool:
        nonlocal found
        first = one()
        found = differences(first, other())
        return len(first) > 500 and not found

    try:
        wait_for(alike, seconds, "the same in both", every=3)
    except pytest.fail.Exception:
        assert found == []
        raise


@pytest.mark.parametrize("engine", ENGINES)
def test_the_layers_say_what_one_with_all_rules_says(fleet: Fleet, engine: str) -> None:
    """Series by series and alert by alert."""
    layout = fleet.layouts[engine]
    wait_alike(lambda: compared(layout.whole), lambda: compared(layout.site), 240)


GPUS, WATTS = "sum(cluster:gpumon_gpus_up:sum)", "sum(site:gpumon_gpu_power_watts:sum)"
NODES = ("/n1", "/n5")
"""Those that fail, in two halls."""

PHASES = (0.5, 4.5, 8.5, 12.5)
"""When faults come, in seconds after a quarter of a minute: which is the worst, engines know."""


SOON = {"prometheus": 20, "victoriametrics": 60}
"""Seconds. VictoriaMetrics finds a sample after up to four, and three look for it, one after
another, 4.5 apart in an interval of ten: 28, an interval more if one comes too early (34 was
measured), and as much again on a machine that is busy."""


def test_a_fault_reaches_the_site_soon(
    fleet: Fleet, record_property: Callable[[str, object], None]
) -> None:
    """From expositions that are scraped each second to clusters' GPUs and the site's watts."""
    healthy = dict(fleet.texts)
    before = {
        (engine, query): wait_for(functools.partial(layout.site.value, query), 90, query)
        for engine, layout in fleet.layouts.items()
        for query in (GPUS, WATTS)
    }
    seen: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    for number, phase in enumerate(PHASES, start=1):
        # Else a fault would come while the one before is on its way.
        time.sleep((phase - time.time()) % 15)
        for path in NODES:
            fleet.texts[path] = _changed(healthy[path], number)
        for engine, seconds in _until_at_sites(fleet, before, number).items():
            seen[engine].append(round(seconds, 1))
    fleet.texts.update(healthy)
    for engine, seconds_of in seen.items():
        record_property(engine, seconds_of)
    assert all(max(seconds) <= SOON[engine] for engine, seconds in seen.items()), seen


def _changed(text: str, lost: int) -> str:
    """Return the exposition of a node of eight GPUs that lost some and draws far more."""
    for family, value in (
        ('gpumon_node_gpus{state="ok"}', 8 - lost),
        ("gpumon_node_gpu_power_watts", 10_000 * lost),
    ):
        text, count = re.subn(rf"(?m)^{re.escape(family)} .*$", f"{family} {value}", text)
        assert count == 1, family
    return text


def _until_at_sites(
    fleet: Fleet, before: Mapping[tuple[str, str], float], lost: int
) -> Mapping[str, float]:
    """Return after how many seconds each engine's site has both nodes' new values."""
    began = time.monotonic()
    after: dict[str, float] = {}

    def there(engine: str) -> bool:
        gpus, watts = (fleet.layouts[engine].site.value(query) or 0.0 for query in (GPUS, WATTS))
        return gpus == before[engine, GPUS] - len(NODES) * lost and watts - before[
            engine, WATTS
        ] > len(NODES) * (10_000 * lost - 1_000)

    def everywhere() -> bool:
        for engine in fleet.layouts.keys() - after.keys():
            if there(engine):
                after[engine] = time.monotonic() - began
        return len(after) == len(fleet.layouts)

    wait_for(everywhere, 60, "the fault at the sites", every=0.2)
    return after
