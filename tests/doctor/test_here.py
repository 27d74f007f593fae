"""What is gathered of this machine."""

from __future__ import annotations

import contextlib
import os
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from gpumon.doctor import command, here
from gpumon.doctor.agent import agent
from gpumon.doctor.facts import Agent, ClockFacts
from gpumon.host import timekeeping
from tests.support.certificates import Authority, Pair
from tests.support.servers import free_port


def test_a_device_that_this_user_may_not_open_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that NVML opens; by its rights, without opening it."""
    assert here.devices(tmp_path).nodes == ()
    for name in ("nvidia0", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert here.devices(tmp_path).closed == ()
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path).name != "nvidia0")
    found = here.devices(tmp_path)
    assert found.nodes == (f"{tmp_path}/nvidia0", f"{tmp_path}/nvidiactl")
    assert found.closed == (f"{tmp_path}/nvidia0",)


def test_a_kernel_log_is_tried(tmp_path: Path) -> None:
    """By opening it: its rights alone do not say (kernel.dmesg_restrict)."""
    assert "No such file" in here.kernel_log(tmp_path / "kmsg").problem
    (tmp_path / "kmsg").touch()
    assert here.kernel_log(tmp_path / "kmsg").problem == ""


MODULES = {
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n"
    "GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04)\n": "535.183.01",
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.105.08  Release Build  "
    "(dvs-builder@U22)  Wed Oct 29 23:15:11 UTC 2025\nGCC version:  gcc 13.3.0\n": "580.105.08",
    "GCC version:  gcc 13.3.0\n": "",
}


@pytest.mark.parametrize(("text", "version"), MODULES.items())
def test_the_modules_version_is_read_of_both_kinds(tmp_path: Path, text: str, version: str) -> None:
    """The proprietary module and the open one word it differently."""
    (tmp_path / "version").write_text(text)
    assert here.library(tmp_path / "version").module == version
    assert here.library(tmp_path / "none").module == ""


def test_gpus_are_counted_on_the_bus(tmp_path: Path) -> None:
    """What computes or draws; not audio, bridges, virtual functions, or others' cards."""
    functions = {
        "0": ("0x10de", "0x030200"),
        "1": ("0x10de", "0x030000"),
        "2": ("0x10de", "0x040300"),
        "3": ("0x10de", "0x068000"),
        "4": ("0x1002", "0x030000"),
        "5": ("0x10de", "0x030200"),
    }
    for name, (vendor, kind) in functions.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(f"{vendor}\n")
        (tmp_path / name / "class").write_text(f"{kind}\n")
    (tmp_path / "5" / "physfn").symlink_to("../0")
    assert here.gpus_on_bus(tmp_path) == 2
    assert here.gpus_on_bus(tmp_path / "none") is None


def test_a_container_is_known_by_its_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each leaves another one; a machine has none."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert here.container(tmp_path) == ""
    (tmp_path / "run/systemd").mkdir(parents=True)
    (tmp_path / "run/systemd/container").write_text("lxc\n")
    assert here.container(tmp_path) == "lxc"
    (tmp_path / ".dockerenv").touch()
    assert here.container(tmp_path) == "docker"
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert here.container(tmp_path) == "kubernetes"


def test_who_asks_is_told_by_name() -> None:
    """And by number, where the user has no name."""
    found = here.user()
    assert found.uid == os.geteuid()
    assert found.name
    assert here.user_name(2**31 - 7) == str(2**31 - 7)


def test_a_state_folder_that_is_not_there_is_looked_for_where_it_will_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearest folder that is there has to take it."""
    found = here.state(tmp_path / "some" / "where")
    assert (found.exists, found.writable, found.owner) == (False, True, "")
    assert found.free
    asked: list[Path] = []
    monkeypatch.setattr(os, "access", lambda path, _mode: asked.append(path))
    assert not here.state(tmp_path / "some" / "where").writable
    assert asked == [tmp_path]


def test_a_state_folder_of_somebody_elses_names_him(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that he can be asked as."""
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    assert here.state(tmp_path).owner == here.user_name(tmp_path.stat().st_uid)


def test_the_clock_is_that_of_the_kernel_and_its_keepers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the agent sees it."""
    kernel = timekeeping.KernelClock(kept=False, offset_seconds=0.0, error_seconds=16.0)
    daemon = timekeeping.Daemon("chronyd", keeps=True, offset_seconds=-3.5)
    monkeypatch.setattr(timekeeping, "kernel_clock", lambda: kernel)
    monkeypatch.setattr(timekeeping, "chrony", lambda _: daemon)
    assert here.clock() == ClockFacts(
        kernel=False,
        error_seconds=16.0,
        daemon="chronyd",
        by_daemon=True,
        offset_seconds=-3.5,
    )


def test_a_command_that_does_not_end_is_left_with_what_it_has_printed(tmp_path: Path) -> None:
    """It is not killed: in a driver's call that could freeze a GPU."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script = f'echo begun; read line < "{gate}"; echo "$line" > "{tmp_path}/done"'
    printed = command.run(("sh", "-c", script), 1.0)
    assert (printed.text, printed.code) == ("begun\n", None)
    assert "did not end within 1 s" in printed.problem
    os.mkfifo(tmp_path / "done")
    gate.write_text("alive\n")
    assert (tmp_path / "done").read_text() == "alive\n"


def test_a_command_that_is_not_there_is_a_reason() -> None:
    """And one that fails has its code, and its complaint among what it printed."""
    assert command.run(("no-such-command",), 5).problem == "no-such-command is not installed"
    printed = command.run(("sh", "-c", "echo sorry >&2; exit 3"), 5)
    assert (printed.text, printed.code, printed.problem) == ("sorry\n", 3, "")


@contextlib.contextmanager
def answering(status: int, text: str, certificate: Pair | None = None) -> Iterator[str]:
    """Run a server that says one thing, whatever it is asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    class Server(HTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # plain HTTP to a TLS port

    with Server(("127.0.0.1", 0), Handler) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.cert, certificate.key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_what_somebody_else_says_at_the_agents_port_is_kept() -> None:
    """Its status and its words, for the judge; of nobody, that the port is free."""
    with answering(200, "Prometheus Server is Ready.\n") as url:
        assert agent(url) == Agent(url, 200, "Prometheus Server is Ready.")
    url = f"http://127.0.0.1:{free_port()}"
    assert agent(url) == Agent(url, nobody=True)


def test_an_agent_with_tls_is_found_by_the_address_alone(tmp_path: Path) -> None:
    """No authority that this machine trusts has signed its certificate."""
    certificate = Authority(tmp_path).sign("n17.example.org")
    with answering(200, 'gpumon_build_info{version="7.1"} 1\n', certificate) as url:
        found = agent(url)
    assert found.url == url.replace("http:", "https:")
    assert (found.status, found.version) == (200, "7.1")
