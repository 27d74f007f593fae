"""``gpumon site``: its metrics, its targets, and the rates that rules make of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gpumon.site.service import SiteFacts, make_site_app
from gpumon.thresholds import with_own
from tests.support.clock import FakeClock
from tests.support.exposition import Exposition
from tests.support.servers import (
    ROOT,
    answers,
    free_port,
    get,
    require,
    run,
    run_agent,
    run_prometheus,
    wait_for,
)

SITE = """
cluster = "alpha"
[[nodes]]
names = "n[1-2]"
rack = "r1"
gpus = 4
[budgets]
site = 20000
rack.r1 = 12000
[pue]
value = 1.25
[price]
currency = "EUR"
value = 0.2
[carbon]
zone = "DE-LU"
file = "carbon.csv"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A site with a file of carbon by the hour: 300 g from 1970 on."""
    (tmp_path / "site.toml").write_text(SITE)
    (tmp_path / "carbon.csv").write_text("time,grams\n1970-01-01T00:00Z,300\n")
    return tmp_path


def touch(path: Path, text: str, at: int) -> None:
    """Write a file with a time of its own, so that a change shows."""
    path.write_text(text)
    os.utime(path, (at, at))


def test_a_file_replaced_while_it_runs_holds_at_once_and_a_broken_one_does_not(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was known before holds meanwhile; it is said once, and shown as failing."""
    facts = SiteFacts(folder / "site.toml", clock=FakeClock())
    assert set((facts.reading().carbon_intensity_grams_per_kilowatt_hour or {}).values()) == {300}
    touch(folder / "carbon.csv", "time,grams\n1970-01-01T00:00Z,400\n", 10)
    facts.look()
    assert set((facts.reading().carbon_intensity_grams_per_kilowatt_hour or {}).values()) == {400}
    touch(folder / "carbon.csv", "time,grams\nnonsense\n", 20)
    facts.look()
    facts.look()
    reading = facts.reading()
    assert set((reading.carbon_intensity_grams_per_kilowatt_hour or {}).values()) == {400}
    assert reading.collector_success == {"config": 0}
    assert caplog.text.count("what was known before holds") == 1
    (folder / "carbon.csv").unlink()
    facts.look()
    assert facts.reading().collector_success == {"config": 0}
    touch(folder / "carbon.csv", "time,grams\n1970-01-01T00:00Z,500\n", 30)
    facts.look()
    assert set((facts.reading().carbon_intensity_grams_per_kilowatt_hour or {}).values()) == {500}
    assert facts.reading().collector_success == {"config": 1}


def test_each_fact_says_how_old_it_is(folder: Path) -> None:
    """A file of hours by its last hour, a value by the file it stands in."""
    clock = FakeClock()
    os.utime(folder / "site.toml", (clock.time() - 86_400, clock.time() - 86_400))
    ages = SiteFacts(folder / "site.toml", clock=clock).reading().fact_age_seconds
    assert ages is not None
    assert ages["price"] == ages["pue"] == pytest.approx(86_400)
    assert ages["carbon"] == pytest.approx(clock.time())  # since 1970


def test_slurm_that_fails_leaves_what_it_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its nodes are added to those of the file, drained ones too; then sinfo is gone."""
    with (folder / "site.toml").open("a") as file:
        file.write("[slurm]\nevery_seconds = 60\n")
    programs = folder / "bin"
    programs.mkdir()
    sinfo = programs / "sinfo"
    node = (
        '{{"name": "{}", "state": "idle", "state_flags": [{}], "partitions": ["p"], "gres": "{}"}}'
    )
    nodes = ", ".join([node.format("n2", '"DRAIN"', "gpu:4"), node.format("n3", "", "gpu:h200:8")])
    sinfo.write_text(f"#!/bin/sh\ncat <<'END'\n{{\"nodes\": [{nodes}]}}\nEND\n")
    sinfo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    facts = SiteFacts(folder / "site.toml", clock=FakeClock())

    def told() -> dict[str, tuple[str, str, int | None]]:
        return {n.node: (n.rack, n.state, n.expected_gpus) for n in facts.nodes}

    asyncio.run(facts.ask())
    whole = {"n1": ("r1", "", 4), "n2": ("r1", "drained", 4), "n3": ("", "idle", 8)}
    assert told() == whole
    assert {target["labels"]["node"] for target in facts.targets()} == {"n1", "n2", "n3"}  # type: ignore[index]
    sinfo.write_text("#!/bin/sh\nexit 1\n")
    asyncio.run(facts.ask())
    assert told() == whole
    assert (facts.reading().collector_success or {})["slurm"] == 0
    assert "sinfo failed" in caplog.text


@contextlib.contextmanager
def run_site(folder: Path) -> Iterator[str]:
    """Run ``gpumon site`` and give its URL."""
    port = free_port()
    argv = [sys.executable, "-m", "gpumon", "site", "--site", str(folder / "site.toml")]
    argv += ["--web.listen-address", f"127.0.0.1:{port}"]
    url = f"http://127.0.0.1:{port}"
    with run(argv, folder / "site.log"):
        wait_for(lambda: answers(f"{url}/-/ready"), 20, "the site")
        yield url


@pytest.mark.e2e
def test_rules_make_todays_rate_of_what_agents_and_site_say(folder: Path) -> None:
    """A real Prometheus finds the agent by the site, scrapes both, and the rates are as by hand."""
    rules = ROOT / "deploy" / "prometheus" / "rules"
    shutil.copytree(rules, folder / "rules")
    with run_agent(folder, "sim:4xH100") as agent:
        site = SITE.replace('names = "n[1-2]"', 'names = "localhost"').replace(
            'cluster = "alpha"', f'cluster = "alpha"\nagent_port = {agent.port}'
        )
        (folder / "site.toml").write_text(site)
        # The simulated node has no BMC: what one would say stands beside it, in a rule.
        (folder / "rules" / "bmc.yml").write_text(
            "groups: [{name: bmc, rules: [{record: gpumon_node_power_watts, expr: "
            "'sum without (gpu, uuid) (0 * gpumon_gpu_power_watts) + 6000', labels: "
            "{method: measured, source: ipmi}}]}]"
        )
        with run_site(folder) as url:
            text = get(f"{url}/metrics").text
            check(text)
            config = f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [rules/*.yml]
scrape_configs:
  - job_name: gpumon
    http_sd_configs: [{{url: "{url}/api/v1/targets"}}]
  - job_name: gpumon-site
    static_configs: [{{targets: ["{url.removeprefix("http://")}"], labels: {{cluster: alpha}}}}]
"""
            with run_prometheus(folder, config) as prometheus:
                cost = wait_for(
                    lambda: prometheus.query("cluster:gpumon_cost:rate_per_hour"), 30, "the cost"
                )
                (labels,) = [sample["metric"] for sample in cost]
                assert (labels["cluster"], labels["currency"]) == ("alpha", "EUR")
                # 6 kW of the node, times PUE 1.25, at 0.2 EUR and 300 g per kWh.
                assert prometheus.value("cluster:gpumon_cost:rate_per_hour") == pytest.approx(1.5)
                carbon = wait_for(
                    lambda: prometheus.value("cluster:gpumon_carbon_grams:rate_per_hour"), 10, "CO2"
                )
                assert carbon == pytest.approx(2250)
                assert prometheus.value("cluster:gpumon_facility_power_nodes:ratio") == 1
                (target,) = [t for t in prometheus.targets() if t["labels"]["job"] == "gpumon"]
                assert target["labels"]["rack"] == "r1"
                assert target["labels"]["node"] == "localhost"


def check(text: str) -> None:
    """Assert what the service says, and that promtool finds nothing in it."""
    exposition = Exposition(text)
    info = exposition.all("gpumon_site_node_info")
    assert [dict(labels)["rack"] for labels in info] == ["r1"]
    assert exposition.all("gpumon_site_expected_gpus") == {
        (("cluster", ""), ("node", "localhost")): 4
    }
    budgets = {
        (dict(k)["level"], dict(k)["name"]): v
        for k, v in exposition.all("gpumon_site_power_budget_watts").items()
    }
    assert budgets == {("site", ""): 20_000, ("rack", "r1"): 12_000}
    done = subprocess.run(
        [require("promtool"), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.e2e
def test_a_broken_file_at_the_start_is_said(folder: Path) -> None:
    """In one line; --check says what is in a good one."""
    argv = [sys.executable, "-m", "gpumon", "site", "--site", str(folder / "site.toml"), "--check"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (
        0,
        f"{folder / 'site.toml'}: 2 nodes in 1 racks with 8 GPUs, 2 budgets\n",
    )
    (folder / "site.toml").write_text("clustr = 1")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "did you mean cluster" in done.stderr
    assert json.dumps(done.stderr).count("\\n") == 1


def test_a_wrong_file_is_an_error_before_anybody_can_connect(folder: Path) -> None:
    """Also one of thresholds that site.toml names; it is said who names it."""
    file = folder / "site.toml"
    file.write_text(f'thresholds = "none.toml"\n{file.read_text()}')
    argv = [sys.executable, "-m", "gpumon", "site", "--site", str(file)]
    argv += ["--web.listen-address", "127.0.0.1:0"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert f"no file of thresholds {folder / 'none.toml'} (named by {file})" in done.stderr
    assert "serving" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_sites_thresholds_are_told_and_followed(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As a digest, and at an address; a file that is replaced holds at once, a broken one never."""
    with (folder / "site.toml").open("r+") as file:
        text = file.read()
        file.seek(0)
        file.write(f'thresholds = "own.toml"\n{text}')
    own = folder / "own.toml"
    touch(own, "[heat]\nmargin_low_celsius = 8\n", 10)
    facts = SiteFacts(folder / "site.toml", clock=FakeClock())

    def told() -> tuple[str, float]:
        info, answer = facts.reading().thresholds_info, asked(facts, "/api/v1/thresholds")
        assert info is not None
        assert info.digest == answer["digest"]
        return info.digest, answer["values"]["heat.margin_low_celsius"]

    assert told() == (with_own({"heat.margin_low_celsius": 8}).digest, 8)
    touch(own, "[heat]\nmargin_low_celsius = 9\n", 20)
    facts.look()
    assert told() == (with_own({"heat.margin_low_celsius": 9}).digest, 9)
    touch(own, "[heat]\nmargin_lo_celsius = 10\n", 30)
    facts.look()
    assert told()[1] == 9
    assert "own.toml: unknown threshold heat.margin_lo_celsius" in caplog.text
    assert facts.reading().collector_success == {"config": 0}


def asked(facts: SiteFacts, path: str) -> dict[str, Any]:
    """Return what the service answers at a path."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=make_site_app(facts))
        async with httpx.AsyncClient(transport=transport, base_url="http://site:9843") as client:
            return await client.get(path)

    document: dict[str, Any] = asyncio.run(ask()).json()
    return document


class TestOwnersAndRunbooks:
    """Who gets a node's alerts, and where their links lead."""

    def test_a_nodes_owners_are_labels_of_its_target(self, folder: Path) -> None:
        """Prometheus puts them on all its series, and so on its alerts; empty ones are left out."""
        text = SITE.replace('rack = "r1"\ngpus', 'rack = "r1"\nteam = "red"\npager = "p7"\ngpus')
        (folder / "site.toml").write_text(text)
        labels = SiteFacts(folder / "site.toml").targets()[0]["labels"]
        assert labels == {
            "cluster": "alpha",
            "node": "n1",
            "rack": "r1",
            "team": "red",
            "pager": "p7",
        }

    def test_runbooks_are_served(self, folder: Path) -> None:
        """As they are written; an unknown one is refused with the nearest, a path is no name."""
        transport = httpx.ASGITransport(app=make_site_app(SiteFacts(folder / "site.toml")))

        async def ask(path: str) -> httpx.Response:
            async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
                return await client.get(path)

        page = asyncio.run(ask("/runbooks/AgentDown"))
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert "# AgentDown" in page.text
        assert '<a href="/runbooks/SourceDown">' in page.text
        assert '/runbooks/GpuLost"' in asyncio.run(ask("/runbooks")).text
        wrong = asyncio.run(ask("/runbooks/GpuLots"))
        assert (wrong.status_code, wrong.text.endswith("did you mean GpuLost?\n")) == (404, True)
        assert asyncio.run(ask("/runbooks/..%2Falerting")).status_code == 404
