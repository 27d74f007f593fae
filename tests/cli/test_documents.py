"""Every ``-o json`` is a document of the one published schema, and every command that has one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest

from gpumon.cli import COMMANDS, cli
from gpumon.documents.schema import schema
from tests.fakenvml import FakeDriver
from tests.support.documents import definition, published
from tests.support.servers import Agent, run_agent, wait_for


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
    return json.loads(done.stdout)


DOCUMENTS = {
    ("status", "sim:2xH100"): "node",
    ("status", "sim:2xGB200"): "node",
    ("status", "sim:2xH100", "sim:1xA100", "127.0.0.1:1"): "nodes",
    ("ps", "sim:2xH100"): "processes",
    ("info", "sim:2xH100"): "info",
    ("check", "sim:2xH100"): "check",
    ("doctor",): "doctor",
    ("metrics",): "metrics",
    ("rules", "list"): "alerts",
    ("dashboards", "list"): "dashboards",
}
"""Commands that need nothing else; the others have tests of their own below, or beside theirs."""

ELSEWHERE = {"events": "events", "report": "report"}
"""Commands that need an agent's memory."""


@pytest.mark.parametrize("argv", DOCUMENTS, ids=" ".join)
def test_what_a_command_prints_is_what_was_published(argv: tuple[str, ...]) -> None:
    """As the document of its name, and as one of all."""
    document = printed(*argv, "-o", "json")
    jsonschema.validate(document, definition(DOCUMENTS[argv]))
    jsonschema.validate(document, published())


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
    document = printed(*argv)
    jsonschema.validate(document, definition(ELSEWHERE[name]))
    jsonschema.validate(document, published())
    jsonschema.validate(server.get("/api/v1/snapshot").json(), definition("node"))


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


def forms(command: click.Command) -> set[str]:
    """Return the words that ``-o`` of a command takes."""
    (found, *_) = [
        p.type.choices
        for p in command.params
        if "-o" in p.opts and isinstance(p.type, click.Choice)
    ] or [()]
    return set(found)


def test_every_command_that_prints_json_is_among_them() -> None:
    """A new one is held against the schema from its first day."""
    having = set()
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        inner = command.commands.values() if isinstance(command, click.Group) else [command]
        having |= {name for one in inner if "json" in forms(one)}
    assert having == {argv[0] for argv in DOCUMENTS} | set(ELSEWHERE)


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
        {"schema": 2, "events": []},
        {"schema": 1, "events": [{"time": "yesterday"}]},
        {"schema": 1, "nodes": [{}], "unanswered": []},
    ],
)
def test_what_was_not_published_is_refused(wrong: Any) -> None:
    """The schema says something."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, published())
