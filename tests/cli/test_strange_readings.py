"""Readings that are NaN or infinite: from an agent, a Prometheus, a recording, and a source."""

from __future__ import annotations

import asyncio
import csv
import dataclasses
import io
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from gpumon.checks import CHECKS, Level, Observation, judge
from gpumon.cli import run
from gpumon.documents.snapshot import to_document
from gpumon.model import GpuProcess, Job, JobGpuReading, JobReading, LedgerState, Snapshot, Tier
from gpumon.prometheus.fleet import QUANTITIES
from gpumon.server.app import make_app
from gpumon.server.node import Node
from gpumon.server.parts import NodeParts
from gpumon.sources import open_source
from gpumon.targets.several import Look
from gpumon.thresholds import shipped
from gpumon.times import format_time
from gpumon.views import check, info, nodes, ps, records
from tests.support.clock import FakeClock
from tests.support.documents import definition, published
from tests.support.strange import parsed, serving, without_numbers

KEPT = frozenset({"schema", "time", "gpu", "index", "pid", "uid", "read_at", "origins"})
"""What is not a reading."""


def hold(text: str, name: str) -> dict[str, Any]:
    """Hold a text against the schema, and return the document."""
    document: dict[str, Any] = parsed(text)
    jsonschema.validate(document, definition(name))
    jsonschema.validate(document, published())
    return document


@pytest.fixture
def snapshot() -> Snapshot:
    """Return two GPUs with a process and a job, without a number among their readings."""
    whole = open_source("sim:2xH100", FakeClock()).read()
    process = GpuProcess(30, "compute", 2**30, 0.7, "bob", "train")
    gpus = tuple(gpu.changed(held_by=(process,), jobs=("7",)) for gpu in whole.gpus)
    uuid = gpus[0].identity.uuid
    ledger = LedgerState(
        jobs=(
            JobReading(job=Job(job_id="7", user="bob", manager="slurm"), gpu_seconds={"idle": 1}),
        ),
        shares=(JobGpuReading(job_id="7", gpu=0, uuid=uuid, share=1.0, energy_joules=5.0),),
    )
    whole = dataclasses.replace(whole, node="n1", gpus=gpus, ledger=ledger)
    changed: Snapshot = without_numbers(whole, KEPT)
    return changed


@pytest.fixture
def agent(snapshot: Snapshot) -> Iterator[str]:
    """Give the address of something that answers as an agent, in JSON that only Python takes."""
    text = json.dumps(to_document(snapshot, samples=True))
    text = text.replace("-Infinity", "-1e999")  # that is JSON, and still no number
    assert all(word in text for word in ("NaN", "Infinity", "-1e999"))
    with serving(lambda *_: text) as url:
        yield url.removeprefix("http://")


FORMS = {
    ("status", "-o", "json"): "node",
    ("status", "-o", "ndjson"): "node",
    ("ps", "-o", "json"): "processes",
    ("ps", "-o", "ndjson"): None,
    ("info", "-o", "json"): "info",
    ("check", "-o", "json"): "check",
}


@pytest.mark.parametrize("argv", FORMS, ids=" ".join)
def test_of_an_agent(agent: str, argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """What is not a number is not known, and no command stumbles over it."""
    assert run([argv[0], agent, *argv[1:]]) in (0, 1, 3)
    out = capsys.readouterr().out
    if name := FORMS[argv]:
        hold(out, name)
    else:
        assert [hold(line, "process_line")["memory_bytes"] for line in out.splitlines()] == [
            None
        ] * 2


def test_of_several_agents(agent: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And in a table with commas."""
    assert run(["status", agent, agent, "-o", "json"]) == 0
    document = hold(capsys.readouterr().out, "nodes")
    assert [node["gpus"][0]["power_watts"] for node in document["nodes"]] == [None, None]
    assert run(["status", agent, "-o", "csv"]) == 0
    rows = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert {cell.lower().strip("-") for row in rows for cell in row.values()}.isdisjoint(
        {"nan", "inf", "infinity"}
    )


def test_what_an_agent_says_can_be_recorded_and_played(
    agent: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The recording has null, which is not known either."""
    path = tmp_path / "run.ndjson"
    assert run(["record", agent, "-f", str(path), "--duration", "0.1"]) == 0
    (line,) = path.read_text("utf-8").splitlines()
    assert hold(line, "node")["gpus"][0]["power_watts"] is None
    capsys.readouterr()
    assert run(["status", f"replay:{path}", "-o", "json"]) == 0
    hold(capsys.readouterr().out, "node")


@pytest.mark.parametrize("command", ["status", "ps", "info", "check", "report"])
@pytest.mark.parametrize("word", ["NaN", "Infinity", "1e999"])
def test_a_recording_with_them_is_refused(
    command: str, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Gpumon writes no such line: the file is damaged, and nothing is said of what is in it."""
    line = json.dumps(to_document(open_source("sim:1xH100", FakeClock()).read()))
    path = tmp_path / "run.ndjson"
    damaged = re.sub(r'"gpu_power_watts": [^,]+', f'"gpu_power_watts": {word}', line)
    assert damaged != line
    path.write_text(f"{line}\n{damaged}\n{line}\n")
    assert run([command, f"replay:{path}", "-o", "json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"line 2: {word} is not a reading: expected a line of gpumon record" in err


@pytest.fixture
def prometheus() -> Iterator[str]:
    """Give a Prometheus in which every second value is not a number."""
    numbers = itertools.chain.from_iterable((str(n), "NaN", "+Inf", "-Inf") for n in range(10**6))

    def answer(_path: str, asked: Mapping[str, str]) -> str:
        query = asked["query"]
        names = [""]
        if "__name__=~" in query:
            level = query.partition('"')[2].partition(":")[0]
            names = [f"{level}:{name}" for name in QUANTITIES.values()]
        result = [
            {
                "metric": {**LABELS, "__name__": name},
                "value": [0, next(numbers)],
                "values": [[3600 * hour, next(numbers)] for hour in range(HOUR + 1, HOUR + 25)],
            }
            for name in names
        ]
        return json.dumps({"status": "success", "data": {"result": result}})

    with serving(answer) as url:
        yield f"prom:{url}"


HOUR = 500_000
LABELS = {
    "cluster": "c",
    "node": "n1",
    "instance": "n1:9842",
    "job_id": "7",
    "gpu": "0",
    "state": "active",
    "method": "measured",
    "severity": "warning",
    "trouble": "hot",
    "alertname": "GpuHot",
}


def test_of_a_fleet(prometheus: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What Prometheus divided by nothing is null, in JSON, and a dash in the table."""
    assert run(["status", prometheus, "-o", "json"]) == 0
    (cluster,) = hold(capsys.readouterr().out, "fleet")["clusters"]
    values = [cluster[name] for name in QUANTITIES if name in cluster]
    assert None in values
    assert any(values)
    assert run(["status", prometheus]) == 0
    assert not re.search(r"\b(nan|inf)\b", capsys.readouterr().out)


@pytest.mark.parametrize("by", ["job", "node", "gpu"])
def test_of_a_bill(prometheus: str, by: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is made of the readings that are numbers."""
    since, until = (format_time(3600 * hour) for hour in (HOUR, HOUR + 24))
    span = ["--since", since, "--until", until]
    more = ["--by", by, "--price", "0.3", "--currency", "EUR", "--meter", "sum(meter_watts)"]
    assert run(["report", prometheus, *span, *more, "-o", "json"]) == 0
    assert hold(capsys.readouterr().out, "report")["total"]["energy_joules"] > 0
    for form in ("csv", "html", "table"):
        assert run(["report", prometheus, *span, *more, "-o", form]) == 0
        assert not re.search(r"\b(nan|inf)\b", capsys.readouterr().out)


def test_no_view_writes_what_a_source_should_not_have_said(
    snapshot: Snapshot, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is read, and wherever it gets past: null."""
    hold(records.render(snapshot, "json"), "node")
    hold(records.render(snapshot, "ndjson"), "node")
    assert "nan" not in records.render(snapshot, "csv")
    for known in hold(info.to_json(snapshot), "info")["gpus"][0]["known"]:
        assert known["value"] is not None
    look = Look("n1", snapshot)
    nodes.write([look, look], "json", header=True)
    hold(capsys.readouterr().out, "nodes")
    ps.write(snapshot, ps.held(snapshot), "json", header=True)
    hold(capsys.readouterr().out, "processes")
    seen = Observation(snapshot=snapshot, thresholds=shipped())
    report = judge(seen, CHECKS, level=Level.FAIL)
    hold(check.to_json(report, seen, 0.0), "check")


class NoCost:
    """What the agent costs, which is nothing."""

    def text(self, _format: object) -> str:
        """Return nothing."""
        return ""


def test_every_answer_of_the_agents_api_is_a_document(snapshot: Snapshot) -> None:
    """Before the first reading, and with one that has no numbers."""
    clock = FakeClock()
    node = Node("n1", snapshot.source, NodeParts.bare(clock=clock), clock=clock)
    app = make_app(node, NoCost(), Tier.STANDARD)
    paths = [r.path for r in app.routes if r.path.startswith("/api/")]
    assert {"/api/v1/snapshot", "/api/v1/history"} <= {*paths}

    async def ask() -> dict[str, str]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://n1") as client:
            return {path: (await client.get(path)).text for path in paths}

    before = asyncio.run(ask())
    hold(before["/api/v1/snapshot"], "error")
    node.snapshot(dataclasses.replace(snapshot, time=clock.time()))
    for text in asyncio.run(ask()).values():
        jsonschema.validate(parsed(text), published())
