"""``gpumon report prom:URL``: out of a real Prometheus, with series whose joules are known."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from gpumon.report.asking import CHUNK_HOURS, Answers, Scope
from gpumon.report.counters import HourSpan
from gpumon.report.prometheus import _Books
from gpumon.report.quantities import (
    HOST,
    IDLE,
    INFO,
    INFO_RECORDED,
    INFO_RULE,
    JOBS,
    NODE,
    QUANTITIES,
    SECONDS,
    UNALLOCATED,
    Quantity,
)
from gpumon.times import format_time
from tests.report.test_report import call
from tests.support.servers import (
    ROOT,
    Prometheus,
    answers,
    free_port,
    get,
    require,
    run,
    run_prometheus,
    wait_for,
)

HOUR = 3600
BEGIN = 490_000 * HOUR
"""The first moment of the span; the series begin two hours before."""

KILOWATT_HOUR = 3_600_000.0

PLACES = {
    "n1": 'cluster="alpha",instance="n1:9842",node="n1",rack="r1"',
    "n2": 'cluster="alpha",instance="n2:9842",node="n2",rack="r2"',
}


TOLD = {"n1": [*range(-1, 11), *range(14, 49)], "n2": [*range(-1, 41)]}
"""The hours at whose ends each node tells its counters."""


@dataclasses.dataclass(frozen=True)
class TheJob:
    """A job that holds one GPU; energies in kWh an hour."""

    job_id: str
    user: str
    node: str
    first: int
    last: int
    power: float
    beyond: float
    method: str

    def counters(self, held: float) -> Iterator[tuple[Quantity, str, float]]:
        """Yield what is counted, its labels and its value after some hours."""
        job = f'job_id="{self.job_id}"'
        yield JOBS, job, held * self.power * KILOWATT_HOUR
        yield IDLE, job, held * 0.1 * KILOWATT_HOUR
        yield HOST, f'{job},method="{self.method}"', held * self.beyond * KILOWATT_HOUR
        yield SECONDS, f'{job},state="active"', held * HOUR


ALICES = TheJob("1", "alice", "n1", 2, 30, 1.0, 0.25, "measured")
BOBS = TheJob("2", "bob", "n2", -10, 20, 2.0, 0.2, "estimated")


def samples() -> Iterator[tuple[Quantity, str, float, int]]:
    """Yield (counter, labels, value, hour) of two nodes.

    n1 has job 1 from hour 2 to hour 30 at 1 kWh an hour; n2 has job 2 since before the span, at
    2 kWh an hour, until hour 20. What nobody holds is 0.1 kWh an hour on both. Altogether n1 counts
    1.6 kWh an hour, measured, and n2 2.3, estimated.
    """
    for node, whole, method in (("n1", 1.6, "measured"), ("n2", 2.3, "estimated")):
        labels = f'{PLACES[node]},method="{method}",source="ipmi"'
        for hour in TOLD[node]:
            yield UNALLOCATED, PLACES[node], (50 + 0.1 * hour) * KILOWATT_HOUR, hour
            yield NODE, labels, (100 + whole * hour) * KILOWATT_HOUR, hour
    for job in (ALICES, BOBS):
        for hour in TOLD[job.node]:
            if job.first < hour <= job.last:
                for quantity, labels, value in job.counters(hour - job.first):
                    yield quantity, f"{PLACES[job.node]},{labels}", value, hour


def series(*, recorded: bool) -> Iterator[str]:
    """Yield the samples and the jobs' facts, in OpenMetrics."""
    for quantity, labels, value, hour in samples():
        name, gpu = (
            (quantity.recorded, "") if recorded else (quantity.metric, ',gpu="0",uuid="GPU-0"')
        )
        yield f"{name}{{{labels}{gpu}}} {value:.0f} {BEGIN + hour * HOUR}"
    for job in (ALICES, BOBS):
        labels = (
            f'cluster="alpha",job_id="{job.job_id}",user="{job.user}",account="physics",'
            f'partition="gpu",name="train",manager="slurm"'
        )
        for hour in range(-1, 49):
            name = INFO_RECORDED if recorded else INFO
            yield f"{name}{{{labels}}} 1 {BEGIN + hour * HOUR}"


@pytest.fixture(scope="module", params=["recorded", "raw", "victoria-metrics"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """Run a Prometheus with these series, recorded or raw, and a VictoriaMetrics."""
    folder = tmp_path_factory.mktemp(request.param)
    lines = sorted(series(recorded=request.param != "raw"), key=lambda x: x.split("{")[0])
    run_one = run_victoria if request.param == "victoria-metrics" else run_backfilled
    with run_one(folder, lines) as running:
        yield running


@contextlib.contextmanager
def run_backfilled(folder: Path, lines: list[str]) -> Iterator[Prometheus]:
    """Run a Prometheus that has had these series."""
    text = folder / "series.om"
    text.write_text("\n".join([*lines, "# EOF\n"]))
    argv = [require("promtool"), "tsdb", "create-blocks-from", "openmetrics", "-q"]
    subprocess.run([*argv, str(text), str(folder / "tsdb")], check=True, capture_output=True)
    with run_prometheus(folder, "", "--storage.tsdb.retention.time=50y") as prometheus:
        yield prometheus


@contextlib.contextmanager
def run_victoria(folder: Path, lines: list[str]) -> Iterator[Prometheus]:
    """Run a VictoriaMetrics that was told these series."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    argv = [require("victoria-metrics"), f"-storageDataPath={folder / 'data'}"]
    argv += [f"-httpListenAddr=127.0.0.1:{port}", "-retentionPeriod=100y"]
    told = (line.rsplit(" ", 1) for line in lines)
    body = "".join(f"{sample} {int(time) * 1000}\n" for sample, time in told).encode()
    with run([*argv, "-search.latencyOffset=1s"], folder / "log"):
        wait_for(lambda: answers(f"{url}/health"), 20, "VictoriaMetrics")
        httpx.post(f"{url}/api/v1/import/prometheus", content=body).raise_for_status()
        get(f"{url}/internal/force_flush")
        told_all = Prometheus(port)
        query = f"count(last_over_time({UNALLOCATED.recorded}[30d]))&time={BEGIN + 48 * HOUR}"
        wait_for(lambda: '"2"' in get(f"{url}/api/v1/query?query={query}").text, 10, "the series")
        yield told_all


def report(server: Prometheus, *args: str, code: int = 0) -> str:
    """Return what gpumon report prints of the span."""
    span = ("--since", format_time(BEGIN), "--until", format_time(BEGIN + 48 * HOUR))
    return call(["report", f"prom:{server.url}", *span, *args], code)


def lines(text: str, what: str = "energy_joules") -> dict[str, float]:
    """Return a figure of the lines, energies in kWh, by key."""
    factor = KILOWATT_HOUR if what.endswith("joules") else 1.0
    return {
        line["key"]: pytest.approx(line[what] / factor, abs=1e-6)
        for line in json.loads(text)["lines"]
    }


@pytest.mark.e2e
def test_each_job_has_all_its_joules(server: Prometheus) -> None:
    """Those before its first scrape too; of a job that began earlier, those of the span."""
    text = report(server, "-o", "json")
    # Nobody's: n1 to its last hour, n2 to hour 40.
    assert lines(text) == {"1": 28.0, "2": 40.0, "(unallocated)": 4.8 + 4.0}
    assert lines(text, "waste_joules") == {"1": 2.8, "2": 2.0, "(unallocated)": 0.0}
    assert lines(text, "held_seconds") == {"1": 28 * HOUR, "2": 20 * HOUR, "(unallocated)": 0.0}
    names = {line["key"]: line["name"] for line in json.loads(text)["lines"]}
    assert names == {"1": "alice train", "2": "bob train", "(unallocated)": ""}


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("by", "wanted"),
    [
        ("user", {"alice": 28.0, "bob": 40.0, "(unallocated)": 8.8}),
        ("node", {"n1": 32.8, "n2": 44.0}),
        ("rack", {"r1": 32.8, "r2": 44.0}),
    ],
)
def test_by_user_node_and_rack(server: Prometheus, by: str, wanted: dict[str, float]) -> None:
    """From the same joules."""
    assert lines(report(server, "--by", by, "-o", "json")) == wanted


@pytest.mark.e2e
def test_what_is_missing_is_said(server: Prometheus) -> None:
    """Which nodes, for how many hours, and the share of all."""
    document = json.loads(report(server, "-o", "json"))
    assert document["missing"] == [
        "n2: nothing known of 8 of 48 hours",
        "n1: nothing known of 3 of 48 hours",
    ]
    assert document["without_data_ratio"] == pytest.approx(11 / 96, abs=1e-6)
    assert "n2: nothing known of 8 of 48 hours" in report(server)


@pytest.mark.e2e
def test_prices_by_the_hour_reach_each_job(server: Prometheus, tmp_path: Path) -> None:
    """Job 1 across a change; its three hours without data lie evenly between those known."""
    prices = tmp_path / "prices.csv"
    rows = [(BEGIN - HOUR, 0.1), (BEGIN + 12 * HOUR, 0.3), (BEGIN + 24 * HOUR, 0.2)]
    prices.write_text("time,price\n" + "".join(f"{format_time(t)},{p}\n" for t, p in rows))
    text = report(server, "--price", str(prices), "--currency", "EUR", "-o", "json")
    by_hand = 10 * 0.1 + 12 * 0.3 + 6 * 0.2  # hours 2 to 12, 12 to 24, 24 to 30, at 1 kWh
    assert lines(text, "cost")["1"] == by_hand
    assert lines(text)["1"] == 28.0


@pytest.mark.e2e
def test_boundaries_are_apart_and_measured_from_estimated(server: Prometheus) -> None:
    """GPUs, nodes, and nodes times PUE; what is beyond the GPUs of n2 is estimated."""
    args = ("--boundary", "facility", "--pue", "1.2", "--price", "1", "-o", "json")
    document = json.loads(report(server, *args))
    total = document["total"]
    node = 28 + 40 + 8.8 + 0.5 * 48 + 0.2 * 40
    assert total["energy_joules"] / KILOWATT_HOUR == pytest.approx(76.8)
    # n1's node counter tells 1.6 an hour throughout, also where no job draws: all of it counts.
    whole = 1.6 * 48 + 2.3 * 40
    assert total["node_energy_joules"] / KILOWATT_HOUR == pytest.approx(whole)
    assert whole > node
    assert total["facility_energy_joules"] == pytest.approx(1.2 * total["node_energy_joules"])
    assert total["cost"] == pytest.approx(1.2 * whole)
    by_job = {line["key"]: line for line in document["lines"]}
    assert by_job["1"]["node_energy_joules"] / KILOWATT_HOUR == pytest.approx(28 * 1.25)
    assert by_job["1"]["node_estimated_joules"] == 0
    assert by_job["2"]["node_estimated_joules"] / KILOWATT_HOUR == pytest.approx(20 * 0.2)
    assert document["node_known_ratio"] == 1


@pytest.mark.e2e
def test_a_meter_can_be_a_query(server: Prometheus) -> None:
    """A constant 3 kW against what is reckoned by the hour."""
    args = ("--boundary", "node", "--meter", "vector(3000)", "-o", "json")
    meter = json.loads(report(server, *args))["meter"]
    assert meter["meter_energy_joules"] / KILOWATT_HOUR == pytest.approx(48 * 3.0)
    assert meter["energy_joules"] / KILOWATT_HOUR == pytest.approx(1.6 * 48 + 2.3 * 40)
    assert meter["explained_ratio"] == pytest.approx((1.6 * 48 + 2.3 * 40) / 144)
    assert not meter["agrees"]


@pytest.mark.e2e
def test_a_job_has_a_card_by_node(server: Prometheus) -> None:
    """Which a user can be sent."""
    text = report(server, "job", "1")
    assert text.startswith("Job 1 train of alice (account physics, partition gpu)\n")
    assert "n1" in text
    assert "28.000" in text
    assert "Job 1 train of alice" in report(server, "job", "1", "-o", "html")
    assert "has no hours in this span" in report(server, "job", 'x"}', code=3)
    assert "(unallocated)" not in text


@pytest.mark.e2e
def test_the_page_has_all_lines_and_no_script(server: Prometheus) -> None:
    """One file; nothing is loaded from elsewhere."""
    page = report(server, "-o", "html", "--price", "0.3", "--currency", "EUR")
    assert "alice train" in page
    assert not re.search(r"<script|https?://(?!127\.0\.0\.1)|<link|@import", page)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("target", "args", "code", "says"),
    [
        ("prom:http://127.0.0.1:1", (), 3, "is it a Prometheus, and is it up?"),
        ("prom:localhost", (), 2, "prom:http://HOST:9090"),
        ("{url}", ("--since", "2000-01-01", "--until", "2000-01-02"), 3, "knows no energy"),
        ("{url}/nowhere", (), 3, "/api/v1/query is appended"),
        ("{url}", ("--meter", "up and("), 3, "refused a query"),
        ("{url}", ("--boundary", "facility"), 2, "--pue 1.25"),
        ("alertmanager:x", (), 2, "prom:http://HOST:9090, replay:FILE"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    server: Prometheus, target: str, args: tuple[str, ...], code: int, says: str
) -> None:
    """With the next step."""
    span = ("--since", format_time(BEGIN), "--until", format_time(BEGIN + 48 * HOUR))
    said = call(["report", target.format(url=f"prom:{server.url}"), *span, *args], code)
    assert says in said
    assert said.count("\n") == 1


def test_the_rules_that_ship_record_what_is_asked_for() -> None:
    """Each recorded series has its rule; whose a job is, the fleet's rules record."""
    rules: dict[str, dict[str, str]] = {}
    for name in ("report", "fleet"):
        file = ROOT / "deploy" / "prometheus" / "rules" / f"{name}.yml"
        groups = yaml.safe_load(file.read_text())["groups"]
        rules[name] = {rule["record"]: rule["expr"] for g in groups for rule in g["rules"]}
    assert rules["report"] == {quantity.recorded: quantity.rule for quantity in QUANTITIES}
    assert rules["fleet"][INFO_RECORDED] == INFO_RULE


def facts_of(*whose: tuple[str, str]) -> list[dict[str, str]]:
    """Return what a server says of the job 1 by its users and accounts."""
    common = {"cluster": "alpha", "job_id": "1", "partition": "gpu", "manager": "slurm"}
    return [{**common, "user": user, "account": account} for user, account in whose]


def books_of(*days: list[dict[str, str]]) -> list[tuple[str, str, float]]:
    """Return user, account and joules of the job 1, of which a server says this on each day."""
    scope = Scope(hourly=False)
    books = _Books(0, scope)
    for day, facts in enumerate(days):
        span = HourSpan(day * CHUNK_HOURS, (day + 1) * CHUNK_HOURS)
        values = {("alpha", "n1", "1"): {span.end: 100.0 * (day + 1)}}
        books.enter(
            span, Answers(targets=[], facts=facts, known={}, values={JOBS: values}, demands={})
        )
    rows = books.hours(len(days) * CHUNK_HOURS).rows
    return [(row.job.user, row.job.account, row.joules) for row in rows if row.job]


def test_a_number_that_comes_back_is_charged_to_who_had_it_each_day() -> None:
    """Not all of it to the last; a day without facts is of the nearest one."""
    alice, bob = facts_of(("alice", "physics")), facts_of(("bob", "biology"))
    assert books_of(alice, bob) == [("alice", "physics", 100.0), ("bob", "biology", 100.0)]
    assert books_of(alice, [], bob)[1] == ("alice", "physics", 100.0)


@pytest.mark.parametrize(
    ("whose", "known"),
    [
        ([("alice", ""), ("alice", "physics")], ("alice", "physics")),
        ([("alice", "physics"), ("", "physics")], ("alice", "physics")),
        ([("alice", "physics"), ("bob", "physics")], ("", "physics")),
        ([("alice", "physics"), ("bob", "biology"), ("alice", "physics")], ("", "")),
    ],
)
def test_two_jobs_of_one_number_on_one_day_are_charged_to_neither(
    whose: list[tuple[str, str]], known: tuple[str, str]
) -> None:
    """It is not known whose each hour is; a server that may not see users contradicts nobody."""
    assert books_of(facts_of(*whose)) == [(*known, 100.0)]
