"""One file with a site's thresholds, and everything that judges or says by what is judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from playwright.sync_api import expect, sync_playwright

from gpumon.thresholds import load_thresholds, shipped
from tests.support.documents import definition
from tests.support.exposition import Exposition
from tests.support.servers import CHROMIUM_FLAGS, Agent, require, run_agent, wait_for
from tests.support.terminal import open_terminal

pytestmark = pytest.mark.e2e

SOURCE = "sim:2xH100,workload=training"
"""Two GPUs at work: some 28 degrees from slowing down, and 90 % of their SMs active."""

SITE = """
[heat]
margin_low_celsius = 40
[activity]
idle_ratio = 0.99
[power]
swing_ratio = 0.4
[xid]
dashboard_window = "2d"
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration that names a site's thresholds."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "thresholds.toml").write_text(SITE)
    (folder / "gpumon.toml").write_text('thresholds = "thresholds.toml"\n')
    return folder / "gpumon.toml"


@pytest.fixture(scope="module")
def agent(site: Path) -> Iterator[Agent]:
    """An agent with this configuration."""
    with run_agent(site.parent, SOURCE, env={"GPUMON_CONFIG": str(site)}) as agent:
        yield agent


def gpumon(*argv: str, config: Path | None, code: int = 0) -> str:
    """Return what a command prints, with a site's configuration or without any."""
    others = {name: word for name, word in os.environ.items() if not name.startswith("GPUMON_")}
    done = subprocess.run(
        [sys.executable, "-m", "gpumon", *argv],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**others, "COLUMNS": "200", **({"GPUMON_CONFIG": str(config)} if config else {})},
    )
    assert done.returncode == code, done.stderr
    return done.stdout


def warned(target: str, config: Path | None, *more: str) -> list[tuple[str, int]]:
    """Return what ``gpumon check`` warns of, by check and GPU."""
    argv = ("check", target, "--timeout", "20", "-o", "json", *more)
    verdicts = json.loads(gpumon(*argv, config=config))["verdicts"]
    return [(v["check"], v["gpu"]) for v in verdicts if v["level"] == "warn"]


HOT = [("margin", 0), ("margin", 1)]


def test_check_judges_by_it(site: Path) -> None:
    """Both GPUs are too near to their slowdown for this site, and for no other."""
    assert warned(SOURCE, site) == HOT
    assert warned(SOURCE, None) == []


def test_status_judges_by_it(site: Path) -> None:
    """In its first line, and in a line for each GPU."""
    told = gpumon("status", SOURCE, config=site)
    assert "0 of 2 GPUs fine, 2 with a warning" in told
    assert told.count("°C from slowing down") == 2
    assert "2 GPUs, all fine" in gpumon("status", SOURCE, config=None)


def test_several_nodes_are_judged_by_it(site: Path) -> None:
    """A line each."""
    several = ("status", SOURCE, "sim:1xH100,workload=training,seed=2")
    assert "0 of 3 GPUs fine, 3 with a warning" in gpumon(*several, config=site)
    assert "3 of 3 GPUs fine" in gpumon(*several, config=None)


def test_top_judges_by_it(site: Path, tmp_path: Path) -> None:
    """As long as it is looked at."""
    program = f"{sys.executable} -m gpumon"
    with open_terminal(tmp_path, 160, 40) as terminal:
        terminal.type(f"{program} --config {site} top {SOURCE}")
        terminal.shows("0 of 2 GPUs fine, 2 with a warning")
        terminal.press("q")
        terminal.wait(terminal.is_as_it_was, "the ordinary screen")
        terminal.type(f"{program} top {SOURCE}")
        terminal.shows("2 GPUs, all fine")
        terminal.press("q")


def test_a_viewer_without_any_judges_as_the_agent_that_it_asks(agent: Agent, site: Path) -> None:
    """One that was given some judges by these, whatever the agent's are."""
    target = agent.url.removeprefix("http://")
    assert warned(target, None) == HOT
    assert "2 with a warning" in gpumon("status", target, config=None)
    (site.parent / "usual.toml").write_text("")
    usual = ("--thresholds", str(site.parent / "usual.toml"))
    assert warned(target, None, *usual) == []
    assert "2 GPUs, all fine" in gpumon("status", target, *usual, config=None)


def test_the_page_judges_by_it(agent: Agent) -> None:
    """In a real browser: margins are red that would be neither red nor orange elsewhere."""
    program = require("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_FLAGS)
        page = browser.new_page()
        page.goto(agent.url)
        margins = page.locator("article .margin")
        expect(margins).to_have_count(2)
        for number in range(2):
            expect(margins.nth(number)).to_have_class("margin bad")
        browser.close()


def test_the_ledger_counts_by_it(agent: Agent, site: Path) -> None:
    """At 90 % activity a job's GPUs are idle here: its seconds, the bill, and what holds when."""

    def seconds(state: str) -> float:
        told = Exposition(agent.metrics())
        return sum(told.all("gpumon_job_gpu_seconds_total", state=state).values())

    wait_for(lambda: seconds("idle") > 1, 20, "a second that was held")
    assert seconds("active") == 0
    state = ("--state-dir", str(site.parent / "state"), "--source", SOURCE)

    def bill() -> dict[str, Any]:
        document: dict[str, Any] = json.loads(gpumon("report", *state, "-o", "json", config=None))
        return document

    wait_for(lambda: bill()["total"]["held_seconds"], 20, "a bill")
    document = bill()
    assert document["total"]["active_seconds"] == 0
    assert [line["ratio"] for line in document["active_lines"]] == [0.99]


def test_the_agent_says_which_are_in_force(agent: Agent, site: Path) -> None:
    """One series with their digest, and the values at an address."""
    own = load_thresholds(site.parent / "thresholds.toml")
    assert f'gpumon_thresholds_info{{digest="{own.digest}"}} 1' in agent.metrics()
    document = agent.get("/api/v1/thresholds").json()
    jsonschema.validate(document, definition("thresholds"))
    assert document["digest"] == own.digest != shipped().digest
    assert document["values"] == dict(own.values)
    assert document["seconds"]["xid.dashboard_window"] == 172_800


def test_the_rules_are_written_by_it(site: Path) -> None:
    """What alerts, what is recorded, and what both say; and ``explain`` shows the same rule."""
    own, usual = (gpumon("rules", "export", config=config) for config in (site, None))
    for there, text in (("40", own), ("5", usual)):
        assert f"  gpumon_gpu_temperature_margin_celsius < {there}\n" in text
        assert f"gpumon_gpu_temperature_margin_celsius < bool {there})\n" in text
    assert ">= 0.99" in own
    assert "< 172800" in own
    shown = gpumon("explain", "GpuMarginLow", config=site)
    assert "gpumon_gpu_temperature_margin_celsius < 40" in shown
    assert "heat.margin_low_celsius = 40" in gpumon("explain", "margin", config=site)


def dashboard(name: str, config: Path | None) -> dict[str, dict[str, Any]]:
    """Return the panels of a dashboard as it is exported, by their title."""
    document = json.loads(gpumon("dashboards", "export", name, config=config))
    return {panel["title"]: panel for panel in document["panels"]}


def test_the_dashboards_are_written_by_it(site: Path) -> None:
    """Their colours, their queries, their prose and their titles."""
    own, usual = dashboard("gpumon-node", site), dashboard("gpumon-node", None)

    def steps(panels: dict[str, dict[str, Any]]) -> list[float]:
        defaults = panels["Lowest temperature margin"]["fieldConfig"]["defaults"]
        return [step["value"] for step in defaults["thresholds"]["steps"]]

    assert steps(own) == [None, 40, 80]
    assert steps(usual) == [None, 5, 10]
    assert (
        "above 80 degrees. Below 40 look at the cooling"
        in own["Lowest temperature margin"]["description"]
    )
    assert "Below 99 % a GPU is idle." in own["SM activity by GPU"]["description"]
    assert "Below 5 % a GPU is idle." in usual["SM activity by GPU"]["description"]
    swing = next(
        panel for title, panel in dashboard("gpumon-power", site).items() if "wing" in title
    )
    assert "told from 40 % of a budget on" in swing["description"]
    assert swing["targets"][1]["expr"].startswith("0.4 * ")
    assert "Xids by code, within 2 days" in dashboard("gpumon-health", site)
