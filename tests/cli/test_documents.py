"""Every ``-o json`` is a document of the one published schema, and every command that has one."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest

from gpumon.cli import COMMANDS, cli, run
from gpumon.documents.schema import schema
from tests.fakenvml import FakeDriver
from tests.support.documents import definition, published
from tests.support.servers import Agent, run_agent, wait_for
from tests.support.strange import parsed


def printed(*argv: str, env: dict[str, str] | None = None) -> Any:
    """Return the document that a command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "gpumon", *argv],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode in (0, 1, 3), done.stderr
    return parsed(done.stdout)


def hold(document: Any, name: str) -> None:
    """Hold a document against the schema: as that of its name, and as one of all."""
    assert isinstance(document, dict)
    jsonschema.validate(document, definition(name))
    jsonschema.validate(document, published())


DOCUMENTS = {
    "status sim:2xH100": "node",
    "status sim:2xGB200": "node",
    "status sim:2xH100 sim:1xA100 127.0.0.1:1": "nodes",
    "ps sim:2xH100": "processes",
    "info sim:2xH100": "info",
    "check sim:2xH100": "check",
    "check --list": "checks",
    "doctor": "doctor",
    "metrics": "metrics",
    "rules list": "rules",
    "rules thresholds": "thresholds",
    "dashboards list": "dashboards",
}
"""Command lines that need nothing else, and the name of their document in the schema."""

ELSEWHERE = {"events": "events", "report": "report"}
"""Commands that need an agent's memory."""

LINES = {"status": "node", "ps": "process_line", "events": "event_line"}
"""What each line is of the commands that print one after another."""


@pytest.mark.parametrize("line", DOCUMENTS)
def test_what_a_command_prints_is_what_was_published(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And no command prints what one reader of JSON in a hundred takes."""
    assert run([*shlex.split(line), "-o", "json"]) in (0, 1, 3)
    hold(parsed(capsys.readouterr().out), DOCUMENTS[line])


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Agent, Path]]:
    """An agent with its memory."""
    folder = tmp_path_factory.mktemp("agent")
    with run_agent(folder, "sim:2xH100", "--state-dir", str(folder / "state")) as agent:
        wait_for(lambda: list((folder / "state").glob("*.db")), 20, "the state file")
        yield agent, folder / "state"


@pytest.mark.e2e
@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_told_of_an_agents_memory_too(agent: tuple[Agent, Path], name: str) -> None:
    """And the snapshot that the agent serves is the document of ``status``."""
    server, state = agent
    argv = (name, "--state-dir", str(state), "--source", "sim:2xH100", "-o", "json")
    hold(printed(*argv), ELSEWHERE[name])
    jsonschema.validate(server.get("/api/v1/snapshot").json(), definition("node"))


@pytest.mark.e2e
@pytest.mark.parametrize("name", LINES)
def test_each_line_is_a_document(agent: tuple[Agent, Path], name: str) -> None:
    """What is printed line by line can be read line by line."""
    server, state = agent
    memory = ("--state-dir", str(state), "--source", "sim:2xH100")
    which = memory if name == "events" else (f"127.0.0.1:{server.port}",)
    argv = [sys.executable, "-m", "gpumon", name, *which, "-o", "ndjson"]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines
    for line in lines:
        hold(parsed(line), LINES[name])


@pytest.mark.e2e
def test_a_hung_a_lost_and_a_mig_gpu_are_documents_too(driver: FakeDriver) -> None:
    """What is not known is null, and not absent."""
    driver.hang(3)
    driver.lose(5)
    try:
        document = printed("status", "nvml", "-o", "json", env=driver.env())
    finally:
        driver.release()
    jsonschema.validate(document, definition("node"))
    keys = {frozenset(gpu) for gpu in document["gpus"]}
    assert len(keys) == 1


def commands(form: str) -> set[str]:
    """Return the commands, and the commands of commands, whose ``-o`` takes a word."""

    def below(path: str, command: click.Command) -> Iterator[str]:
        if isinstance(command, click.Group):
            for name, inner in command.commands.items():
                yield from below(f"{path} {name}", inner)
        for option in command.params:
            if "-o" in option.opts and form in getattr(option.type, "choices", ()):
                yield path

    found = set()
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        found |= set(below(name, command))
    return found


def test_every_command_that_prints_json_is_among_them() -> None:
    """A new one is held against the schema from its first day."""
    having = commands("json")
    assert {"status", "rules list"} <= having
    tried = [f"{line} " for line in (*DOCUMENTS, *ELSEWHERE)]
    untried = [name for name in having if not any(line.startswith(f"{name} ") for line in tried)]
    assert not untried
    assert commands("ndjson") == set(LINES)


def test_every_document_of_the_schema_is_printed_or_served() -> None:
    """A definition that nothing is held against says nothing."""
    of_servers = {"history", "error", "faults", "fleet_jobs", "ended", "thresholds"}
    of_prometheus = {"fleet"}
    names = {way["$ref"].removeprefix("#/$defs/") for way in published()["anyOf"]}
    held = {*DOCUMENTS.values(), *ELSEWHERE.values(), *LINES.values()}
    assert names == held | of_servers | of_prometheus


def test_the_schema_is_valid_and_is_that_of_this_code() -> None:
    """``make docs`` writes it; every metric of a GPU is in it with its help."""
    jsonschema.Draft202012Validator.check_schema(published())
    assert published() == schema()
    power = published()["$defs"]["gpu"]["properties"]["power_watts"]
    assert power["description"].startswith("Power drawn")


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        [],
        [{"schema": 1}],
        {"schema": 2, "events": []},
        {"schema": 1, "events": [{"time": "yesterday"}]},
        {"schema": 1, "nodes": [{}], "unanswered": []},
        {"schema": 1, "metrics": []},
        {"schema": 1, "error": None},
    ],
)
def test_what_was_not_published_is_refused(wrong: Any) -> None:
    """The schema says something."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, published())
