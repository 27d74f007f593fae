"""By whose thresholds a viewer judges: by its own if it was given any, else by the agent's."""

from __future__ import annotations

import dataclasses
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gpumon.clock import SYSTEM
from gpumon.documents.snapshot import to_document
from gpumon.documents.thresholds import DIGEST_HEADER
from gpumon.documents.thresholds import to_document as thresholds_document
from gpumon.errors import UnavailableError
from gpumon.sources import open_source
from gpumon.targets.several import ask_all
from gpumon.targets.target import open_target
from gpumon.thresholds import Thresholds, shipped, with_own
from gpumon.top.looking import Looking
from gpumon.views.diagnosis import diagnose
from gpumon.views.gpus import grid
from tests.support.clock import FakeClock
from tests.support.servers import wait_for

OWN = with_own({"heat.margin_low_celsius": 90})
OTHER = with_own({"heat.margin_low_celsius": 3})


class Agent(http.server.ThreadingHTTPServer):
    """Answers as an agent with these thresholds; None is one of before there were any to ask."""

    daemon_threads = True

    def __init__(self) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.thresholds: Thresholds | None = OWN
        self.broken = False
        self.asked: list[str] = []
        snapshot = open_source("sim:1xH100", FakeClock()).read()
        gpus = tuple(gpu.changed(read_at=SYSTEM.monotonic()) for gpu in snapshot.gpus)
        self.document = to_document(dataclasses.replace(snapshot, gpus=gpus, node="n1"))

    @property
    def target(self) -> str:
        """What a viewer names."""
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Agent

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        thresholds = self.server.thresholds
        answers: dict[str, Any] = {"/api/v1/snapshot": self.server.document}
        if thresholds is not None and not self.server.broken:
            answers["/api/v1/thresholds"] = thresholds_document(thresholds)
        body = json.dumps(answers.get(path)).encode()
        self.send_response(200 if path in answers else 404)
        self.send_header("content-length", str(len(body)))
        if thresholds is not None:
            self.send_header(DIGEST_HEADER, thresholds.digest)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def agent() -> Iterator[Agent]:
    """An agent with a site's thresholds."""
    with Agent() as agent:
        thread = threading.Thread(target=agent.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield agent
        agent.shutdown()
        thread.join()


def seen(agent: Agent, given: Thresholds | None = None) -> Thresholds:
    """Return by what a viewer judges after one look."""
    with open_target(agent.target, thresholds=given) as target:
        target.read()
        return target.thresholds()


def test_a_viewer_that_was_given_none_judges_as_the_agent_does(agent: Agent) -> None:
    """Its page, its ledger and whoever looks at it say the same."""
    assert seen(agent) == OWN


def test_a_viewer_that_was_given_some_judges_by_these(agent: Agent) -> None:
    """And does not ask for others."""
    assert seen(agent, OTHER) == OTHER
    assert agent.asked == ["/api/v1/snapshot"]


def test_those_that_ship_are_not_asked_for(agent: Agent) -> None:
    """Most agents have these: one look is one request."""
    agent.thresholds = shipped()
    assert seen(agent) == shipped()
    assert agent.asked == ["/api/v1/snapshot"]


def test_an_agent_of_before_judges_by_what_ships(agent: Agent) -> None:
    """It has no thresholds to ask for."""
    agent.thresholds = None
    assert seen(agent) == shipped()
    assert agent.asked == ["/api/v1/snapshot"]


def test_they_are_asked_for_once_and_again_when_they_change(agent: Agent) -> None:
    """An agent that was restarted may have others; the digest says so."""
    with open_target(agent.target) as target:
        for _ in range(3):
            target.read()
            assert target.thresholds() == OWN
        agent.thresholds = OTHER
        target.read()
        assert target.thresholds() == OTHER
    assert agent.asked.count("/api/v1/thresholds") == 2


def test_an_agent_that_does_not_say_them_is_no_answer(agent: Agent) -> None:
    """To judge by others, as if nothing were wrong, would be a lie."""
    agent.broken = True
    with open_target(agent.target) as target:
        target.read()
        with pytest.raises(UnavailableError, match="replies 404"):
            target.thresholds()
    (look,) = ask_all([agent.target], 5.0)
    assert look.snapshot is None
    assert "replies 404" in look.problem


def test_several_nodes_are_each_judged_by_their_own(agent: Agent) -> None:
    """Unless the viewer was given some."""
    looks = ask_all([agent.target, "sim:1xH100"], 5.0)
    assert [look.thresholds for look in looks] == [OWN, shipped()]
    looks = ask_all([agent.target, "sim:1xH100"], 5.0, OTHER)
    assert [look.thresholds for look in looks] == [OTHER, OTHER]


def test_top_goes_on_by_those_of_an_agent_that_was_restarted(agent: Agent) -> None:
    """It looks for hours."""
    looking = Looking(agent.target, 0.1)
    looks: list[object] = []
    looking.start(looks.append)
    try:
        wait_for(lambda: looks and looking.thresholds == OWN, 10, "a look")
        agent.thresholds = OTHER
        wait_for(lambda: looking.thresholds == OTHER, 10, "the other thresholds")
    finally:
        looking.stop(5)


def test_a_row_is_coloured_by_the_same_line_as_its_verdict() -> None:
    """And a reading is shown with its age from a site's own age on."""
    snapshot = open_source("sim:2xH100", FakeClock()).read()
    old = tuple(gpu.changed(read_at=SYSTEM.monotonic() - 7) for gpu in snapshot.gpus)
    snapshot = dataclasses.replace(snapshot, gpus=old)

    def cells(thresholds: Thresholds) -> dict[str, tuple[str, str]]:
        found = grid(snapshot, diagnose(snapshot, thresholds), snapshot.gpus, None)
        return dict(zip(found.titles, found.rows[0], strict=True))

    usual = cells(shipped())
    assert usual["state"] == ("ok", "green")
    assert usual["margin"][1] == ""
    own = cells(with_own({"heat.margin_low_celsius": 90, "monitor.fresh_seconds": 5}))
    assert own["state"] == ("ok, 7.0 s old", "yellow")
    assert own["margin"][1] == "bold red"
