"""Every limit stands once: no number of ``thresholds.toml`` is written down a second time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from gpumon.grafana.limits import FILE
from gpumon.model import Tier
from gpumon.model.catalogue import rows
from gpumon.thresholds import shipped
from tests.support.servers import ROOT
from tests.thresholds.literals import Finder, Literal

FINDER = Finder(shipped())

PACKAGE = ROOT / "agent" / "gpumon"

ALLOWED = {
    ("agent/gpumon/host/host.py", "60", "monitor.stale_seconds"): (
        "how long a collector of the host that has fallen silent is believed: its own period"
    ),
    ("agent/gpumon/host/node_power.py", "60", "monitor.stale_seconds"): (
        "how old a BMC's watts may be to be summed: four of its periods"
    ),
    ("agent/gpumon/reader/supervisor.py", "60", "monitor.stale_seconds"): (
        "how often a fresh reader is tried: a pace, and not a judgement"
    ),
    ("agent/gpumon/sources/sim/models.py", "300", "links.nvlink_for"): (
        "a simulated board's bandwidth: links times what each carries"
    ),
    ("agent/gpumon/sources/sim/workload.py", "0.02", "links.nvlink_errors_per_second"): (
        "the traffic of a simulated job, as a share of the bandwidth"
    ),
    ("agent/gpumon/statedb/file.py", "0.05", "activity.idle_ratio"): (
        "what held before a site could change it: history, which stays what it was"
    ),
    ("agent/gpumon/grafana/limits.py", "2", "heat.margin_near_factor"): (
        "an example of a placeholder"
    ),
    ("dashboards/usage/now.py", "0.05", "activity.idle_ratio"): (
        "which share of wasted energy is ordinary: not from which activity on a GPU is idle"
    ),
}
"""Numbers that are a threshold's only by chance, with the reason: (file, number, threshold)."""

ORDINARY = {
    ("gpumon-usage", "Idle", "5"): "which share of idle GPUs is ordinary",
    ("gpumon-usage", "Waste", "5"): "which share of wasted energy is ordinary",
    ("gpumon-usage", "Jobs of lowest activity", "30"): "what serving is like",
    ("gpumon-node", "Power of all GPUs", "30"): "seconds of the samples' window",
}
"""Numbers in panels' prose that are a threshold's only by chance: (dashboard, title, number)."""

BUCKETS = {"5", "10", "15", "20", "30", "40"}
"""The bounds of the recorded histogram of margins: a scale, which is the same at every site."""


def test_no_module_holds_a_thresholds_number_again() -> None:
    """Of the package and of the dashboards' builders, in code and in prose."""
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "dashboards").rglob("*.py")]
    found = {
        (str(file.relative_to(ROOT)), literal.number, literal.threshold): literal.line
        for file in files
        for literal in FINDER.in_python(file.read_text("utf-8"))
    }
    new = {place: line for place, line in found.items() if place not in ALLOWED}
    assert new == {}, "take it from Thresholds, or say in ALLOWED why it is another number"
    assert ALLOWED.keys() == found.keys(), "an exception is no longer needed"


def test_the_page_holds_none() -> None:
    """It asks the agent."""
    page = (PACKAGE / "server" / "page.html").read_text("utf-8")
    script = page.partition("<script>")[2]
    assert "/api/v1/thresholds" in script
    assert FINDER.in_script(script) == []


def test_no_help_of_a_metric_states_one() -> None:
    """A site may have another; help names the threshold instead."""
    for _, metric in rows(Tier.FULL):
        assert FINDER.in_prose(f"{metric.help} ({metric.name})") == [], metric.name


COMPARED = re.compile(r"[<>]=?\s*(?:bool\s*)?(\d+(?:\.\d+)?)")


def compared(promql: str) -> list[str]:
    """Return the numbers that an expression compares with, but for 0 and 1 and placeholders."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"|<<.*?>>', "", promql)
    return [number for number in COMPARED.findall(bare) if number not in ("0", "1")]


def test_no_rule_compares_with_a_number_of_its_own() -> None:
    """What a rule compares with is a threshold by its name; but for the histogram's bounds."""
    found = [
        (file.name, number)
        for file in sorted((PACKAGE / "rules" / "source").glob("*.yml"))
        for line in file.read_text("utf-8").splitlines()
        for number in compared(line)
    ]
    assert {file for file, _ in found} == {"fleet.yml"}
    assert {number for _, number in found} == BUCKETS


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each dashboard's panels, with placeholders where thresholds stand."""
    templates = json.loads((ROOT / FILE).read_text("utf-8"))
    for file in sorted((ROOT / "dashboards" / "json").glob("*.json")):
        dashboard = json.loads(file.read_text("utf-8"))
        mine = templates[dashboard["uid"]]
        for place, panel in enumerate(dashboard["panels"]):
            named = {**panel}
            for key in ("title", "description"):
                named[key] = mine.get(f"/panels/{place}/{key}", panel.get(key, ""))
            named["queries"] = [
                mine.get(f"/panels/{place}/targets/{n}/expr", target.get("expr", ""))
                for n, target in enumerate(panel.get("targets", ()))
            ]
            yield dashboard["uid"], named


def test_no_panel_states_one_in_its_words() -> None:
    """A number beside a word of its meaning is a placeholder in the file beside the dashboards."""
    found = set()
    for uid, panel in panels():
        reading = panel["description"].partition("\n\n")[0]
        text = re.sub(r"<<.*?>>", "", f"{panel['title']} {reading}")
        # All of a panel is about one thing: its words count for each of its numbers.
        one = re.sub(r"[.;:!?]\s", " ", text)
        found |= {(uid, panel["title"], literal.number) for literal in FINDER.in_prose(one)}
    assert found == ORDINARY.keys()


def test_no_panel_asks_for_one_by_its_number() -> None:
    """Queries compare with placeholders; 0.01 only leaves out what has lost next to nothing."""
    found = {(uid, n) for uid, panel in panels() for q in panel["queries"] for n in compared(q)}
    assert found == {("gpumon-power", "0.01")}


@pytest.mark.parametrize(
    ("source", "threshold"),
    [
        ("ACTIVE_RATIO = 0.05", "activity.idle_ratio"),
        ("LOW_MARGIN_CELSIUS = 5.0", "heat.margin_low_celsius"),
        ("STALE_SECONDS = 10.0", "monitor.fresh_seconds"),
        ("low = margin is not None and margin < 5", "heat.margin_low_celsius"),
        ("old = reading.age(now) > 60", "monitor.stale_seconds"),
        ("def judge(gpu, *, hbm=95): ...", "heat.hbm_celsius"),
        ("window(recent_xids=15 * 60)", "xid.recent"),
        ("window(recent_xids=900)", "xid.recent"),
        ('HELP = "Held, and its activity below 5 %."', "activity.idle_ratio"),
        ('text = f"{name}: throttled more than 10 % of the time"', "heat.throttled_ratio"),
        (
            "panels.value(Text('Margin', '…'), thresholds=style.thresholds(BAD, (5, WARNING)))",
            "heat.margin_low_celsius",
        ),
        ("GPUS = 8", None),
        ("columns = width > 60", None),
    ],
)
def test_the_search_finds_what_it_is_for(source: str, threshold: str | None) -> None:
    """The faults that it was written for, and their kind; not every 8 there is."""
    found = {literal.threshold for literal in FINDER.in_python(source)}
    assert threshold in found if threshold else not found


def test_the_search_finds_the_pages_own_faults() -> None:
    """As the page once had them."""
    script = (
        "const MINUTES = 5, STALE_SECONDS = 10, LOW_MARGIN = 5;\n"
        'const text = margin < 5 ? "bad" : margin < 2 * LOW_MARGIN ? "warn" : "";\n'
        "const recent = xid && now - xids[0][1] < 86400;\n"
    )
    assert {(literal.line, literal.threshold) for literal in FINDER.in_script(script)} >= {
        (1, "monitor.fresh_seconds"),
        (1, "heat.margin_low_celsius"),
        (2, "heat.margin_low_celsius"),
        (2, "heat.margin_near_factor"),
        (3, "xid.dashboard_window"),
    }


def test_a_number_is_named_with_its_line() -> None:
    """Whoever meets the failure finds it."""
    assert FINDER.in_python("\n\nMARGIN = 5\n") == [Literal(3, "5", "heat.margin_low_celsius")]
