"""What is found of this machine."""

from __future__ import annotations

import os
import threading
from collections import namedtuple
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from gpumon.checks import Level
from gpumon.doctor import Finding, examine, here
from gpumon.doctor.here import KernelClock
from gpumon.errors import UnavailableError


def test_what_hangs_is_said_and_the_others_are_not_kept_waiting() -> None:
    """Each item is one finding at least, in their order, whatever happens to it."""
    released = threading.Event()

    def hangs() -> Finding:
        released.wait(60)
        return Finding("hangs", Level.PASS, "")

    def breaks() -> Finding:
        raise ZeroDivisionError("by nought")

    def refuses() -> Finding:
        raise UnavailableError("nothing there", "look elsewhere")

    def says() -> Iterator[Finding]:
        yield Finding("one", Level.PASS, "")
        yield Finding("two", Level.WARN, "", "")

    items = {"hangs": hangs, "breaks": breaks, "refuses": refuses, "says": says}
    found = examine(items, 0.3)
    released.set()
    assert [(each.item, each.level.value) for each in found] == [
        ("hangs", "fail"),
        ("breaks", "fail"),
        ("refuses", "fail"),
        ("one", "pass"),
        ("two", "warn"),
    ]
    assert found[0].evidence == "no answer within 0.3 s"
    assert found[1].evidence == "ZeroDivisionError: by nought"
    assert (found[2].evidence, found[2].next_step) == ("nothing there", "look elsewhere")


def test_a_device_that_this_user_may_not_open_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With whose group to join; without any device there is nothing to say."""
    assert here.devices(tmp_path).level is Level.SKIP
    for name in ("nvidia0", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert here.devices(tmp_path).evidence == "2 can be opened by this user"
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path).name != "nvidia0")
    found = here.devices(tmp_path)
    assert found.level is Level.FAIL
    assert found.evidence == f"this user may not open {tmp_path}/nvidia0"


def test_a_kernel_log_that_cannot_be_read_is_no_failure(tmp_path: Path) -> None:
    """The driver tells of some Xids; what is missed is said."""
    found = here.kernel_log(tmp_path / "kmsg")
    assert found.level is Level.WARN
    assert "No such file" in found.evidence
    (tmp_path / "kmsg").touch()
    assert here.kernel_log(tmp_path / "kmsg").level is Level.PASS


@pytest.mark.parametrize(
    ("clock", "level"),
    [(KernelClock(True, 0.0004), Level.PASS), (KernelClock(False, 16.0), Level.WARN)],
)
def test_a_clock_that_nothing_keeps_is_said(clock: KernelClock, level: Level) -> None:
    """And one that is kept, with its error."""
    found = here.clock(clock)
    assert found.level is level
    assert level is not Level.PASS or "0.4 ms" in found.evidence


def test_the_kernel_is_asked_for_its_own_clock() -> None:
    """By adjtimex(2), as timedatectl and chronyc see it."""
    found = here._kernel_clock()
    assert 0 <= found.error_seconds < 3600


Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - as shutil.disk_usage returns


def test_a_state_folder_needs_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent makes it where it is not there."""
    assert here.state(tmp_path / "none").level is Level.SKIP
    assert here.state(tmp_path).level is Level.PASS
    monkeypatch.setattr(here.shutil, "disk_usage", lambda _path: Usage(0, 0, 5e6))
    found = here.state(tmp_path)
    assert (found.level, found.evidence) == (Level.FAIL, f"5 MB are free in {tmp_path}")


@pytest.mark.parametrize(
    ("shown", "level", "words"),
    [
        (("loaded", "active", "enabled"), Level.PASS, "started with the machine"),
        (("loaded", "active", "disabled"), Level.WARN, "not after a reboot"),
        (("loaded", "inactive", "enabled"), Level.WARN, "is inactive"),
        (("loaded", "failed", "enabled"), Level.FAIL, "has failed"),
        (("not-found", "inactive", ""), Level.WARN, "there is no unit"),
    ],
)
def test_the_service_must_run_and_come_back(
    shown: tuple[str, str, str], level: Level, words: str
) -> None:
    """By what systemctl shows of the unit."""
    keys = ("LoadState", "ActiveState", "UnitFileState")
    found = here.service_of(dict(zip(keys, shown, strict=True)))
    assert found.level is level
    assert words in found.evidence
    assert bool(found.next_step) == (level is not Level.PASS)


@pytest.fixture
def stranger() -> Iterator[str]:
    """Somebody else's server."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_port_that_somebody_else_has_taken_is_a_failure(stranger: str) -> None:
    """One where nobody listens is not: perhaps none is wanted here."""
    found = here.agent(stranger)
    assert found.level is Level.FAIL
    assert "which is no gpumon agent's" in found.evidence
    nobody = here.agent("http://127.0.0.1:1")
    assert (nobody.level, nobody.next_step) == (Level.WARN, "gpumon agent starts one")
