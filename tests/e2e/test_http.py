"""The agent's endpoints, and the clients it meets: good, slow and hostile."""

from __future__ import annotations

import contextlib
import gzip
import socket
import time
from collections.abc import Iterator

import pytest

from gpumon.web import protocol
from tests.support.exposition import Exposition
from tests.support.servers import Agent, run_agent, wait_for

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """An agent on eight simulated H100s."""
    with run_agent(tmp_path_factory.mktemp("http"), "sim:8xH100,workload=mixed") as agent:
        yield agent


def test_health_and_readiness(agent: Agent) -> None:
    """Both say 200 in words while there is fresh data."""
    assert (agent.get("/-/healthy").status, agent.get("/-/healthy").text) == (
        200,
        "gpumon is healthy\n",
    )
    assert (agent.get("/-/ready").status, agent.get("/-/ready").text) == (200, "gpumon is ready\n")


def test_metrics_are_compressed_for_who_takes_it(agent: Agent) -> None:
    """As Prometheus asks for them."""
    plain = agent.get("/metrics")
    packed = agent.get("/metrics", {"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert len(packed.body) < len(plain.body) / 4
    text = gzip.decompress(packed.body).decode()
    assert set(Exposition(text).names()) == set(Exposition(plain.text).names())
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_metrics_are_what_was_asked_for(agent: Agent) -> None:
    """The version that was asked for, the greatest weight, and no gzip for who refuses it."""
    refused = agent.get("/metrics", {"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in refused.headers
    old = agent.get("/metrics", {"Accept": "text/plain;version=0.0.4"})
    assert old.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    accept = "application/openmetrics-text;version=1.0.0;q=0.1,text/plain;version=1.0.0;q=0.9"
    new = agent.get("/metrics", {"Accept": accept})
    assert new.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8"
    assert not new.text.endswith("# EOF\n")


def test_the_snapshot_is_the_document_of_status(agent: Agent) -> None:
    """One schema everywhere, and it says that it is simulated."""
    document = agent.get("/api/v1/snapshot").json()
    assert document["schema"] == 1
    assert document["simulated"] is True
    assert len(document["gpus"]) == 8
    assert all(gpu["age_seconds"] < 5 for gpu in document["gpus"])
    assert document["node_power"]["gpu_power_peak_watts"] > 0
    history = agent.get("/api/v1/history").json()
    assert set(history["power_watts"]) == {gpu["uuid"] for gpu in document["gpus"]}


def test_the_agent_tells_what_it_costs(agent: Agent) -> None:
    """CPU and memory of both processes."""
    seen = Exposition(agent.metrics())
    for prefix in ("", "gpumon_reader_"):
        assert (seen.value(f"{prefix}process_cpu_seconds_total") or 0) > 0
        assert (seen.value(f"{prefix}process_resident_memory_bytes") or 0) > 1e6


@pytest.mark.parametrize("path", ["/nothing", "/metrics/x", "/../etc/passwd", "/%2e%2e/x", "//"])
def test_what_is_not_there_is_not_found(agent: Agent, path: str) -> None:
    """No path leads out."""
    assert agent.get(path).status == 404


def speak(agent: Agent, request: bytes, seconds: float = 15) -> bytes:
    """Send bytes and return all that comes back until the agent closes the connection."""
    with socket.create_connection(("127.0.0.1", agent.port), timeout=seconds) as sock:
        sock.sendall(request)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while more := sock.recv(65536):
                answer += more
        return answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_only_looking_is_allowed(agent: Agent, method: str) -> None:
    """GET and HEAD, and nothing else."""
    request = f"{method} /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert speak(agent, request.encode()).startswith(b"HTTP/1.1 405 ")
    head = speak(agent, b"HEAD /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "request_",
    [
        b"\x00\x01\x02\xff\r\n\r\n",
        b"GET /metrics SMTP/9\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
    ],
)
def test_nonsense_is_refused_and_the_next_scrape_is_served(agent: Agent, request_: bytes) -> None:
    """Random bytes, an unknown protocol, headers without end."""
    answer = speak(agent, request_)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    assert agent.get("/metrics").status == 200


def test_slow_and_idle_clients_do_not_stop_a_scrape(agent: Agent) -> None:
    """Six hundred that dribble, or say nothing: more than are kept; scrapes go on meanwhile."""
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", agent.port)))
            for _ in range(600)
        ]
        for client in clients[::2]:
            client.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        closed: set[int] = set()

        def all_closed() -> bool:
            assert agent.get("/metrics").status == 200
            for number, client in enumerate(clients):
                if number not in closed:
                    try:
                        if number % 2 == 0:
                            client.sendall(b"y")  # one byte more, never a whole request
                        client.setblocking(False)
                        if client.recv(4096) == b"":
                            closed.add(number)
                    except BlockingIOError:
                        continue
                    except OSError:
                        closed.add(number)
            return len(closed) == len(clients)

        patience = protocol.REQUEST_SECONDS
        wait_for(all_closed, patience + 20, "every slow client to be closed", every=0.5)


def test_a_client_that_takes_no_answer_is_let_go(agent: Agent) -> None:
    """It asks a thousand times and reads nothing: it is cut off, and the memory does not fill."""
    open_files = Exposition(agent.metrics()).value("process_open_fds")
    with socket.create_connection(("127.0.0.1", agent.port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(2)
        with contextlib.suppress(OSError):
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)

        def cut_off() -> bool:
            seen = Exposition(agent.metrics())
            assert (seen.value("process_resident_memory_bytes") or 0) < 120e6
            return seen.value("process_open_fds") == open_files

        wait_for(cut_off, protocol.REQUEST_SECONDS + 10, "the agent to let go", every=0.5)


def test_small_answers_do_not_wait_for_an_acknowledgement(agent: Agent) -> None:
    """Headers and body are two writes: without TCP_NODELAY each would wait 40 ms for the peer."""
    request = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", agent.port), timeout=10) as client:
        seconds = []
        for _ in range(21):
            began = time.monotonic()
            client.sendall(request)
            answer = b""
            while not answer.endswith(b"gpumon is healthy\n"):
                answer += client.recv(4096)
            seconds.append(time.monotonic() - began)
    assert sorted(seconds)[10] < 0.04  # the delay itself, not a claim of speed
