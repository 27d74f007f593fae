"""What the kernel and the daemons say of this machine's clock."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpumon.clock import boot_id
from gpumon.host import timekeeping
from gpumon.host.timekeeping import Daemon, KernelClock, Timekeeping, chrony, counter_epoch
from gpumon.ledger.measure import Epoch

CHRONY = "50505049,2.2.2.2,2,1732617900.1,{},-0.0002,0.0003,-1.5,0.01,0.05,0.02,0.001,64.5,{}\n"


def kernel(monkeypatch: pytest.MonkeyPatch, outcome: int, **facts: int) -> KernelClock:
    """Return what is made of a kernel's answer."""

    class Library:
        """The C library."""

        @staticmethod
        def adjtimex(asked: Any) -> int:
            """Answer as the kernel does."""
            for name, value in facts.items():
                setattr(asked._obj, name, value)
            return outcome

    with monkeypatch.context() as patch:
        patch.setattr(ctypes, "CDLL", lambda *_, **__: Library)
        return timekeeping.kernel_clock()


def test_this_kernel_can_be_asked() -> None:
    """By adjtimex(2), as timedatectl and chronyc see it."""
    found = timekeeping.kernel_clock()
    assert found.kept in {True, False, None}
    assert 0 <= found.error_seconds < 3600


def test_the_kernels_offset_is_by_how_much_the_clock_is_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says what is still to be added, in micro- or in nanoseconds."""
    found = kernel(monkeypatch, 0, offset=250_000, status=0x1, maxerror=1500)
    assert found == KernelClock(kept=True, offset_seconds=-0.25, error_seconds=0.0015)
    found = kernel(monkeypatch, 0, offset=-250_000, status=0x2001)
    assert (found.kept, found.offset_seconds) == (True, 0.00025)


def test_a_clock_that_nothing_disciplines_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the outcome, or by the flag; a kernel that may not be asked knows nothing."""
    assert kernel(monkeypatch, 5, status=0x0).kept is False
    assert kernel(monkeypatch, 0, status=0x40).kept is False
    assert kernel(monkeypatch, -1) == KernelClock()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (CHRONY.format("0.000100000", "Normal"), Daemon("chronyd", True, -0.0001)),
        (CHRONY.format("-3.500000000", "Insert second"), Daemon("chronyd", True, 3.5)),
        (CHRONY.format("0.000000000", "Not synchronised"), Daemon("chronyd", False)),
        (CHRONY.format("nan", "Normal"), Daemon("chronyd", True)),
        (CHRONY.format("much", "Normal"), Daemon("chronyd", True)),
        ("506 Cannot talk to daemon\n", Daemon()),
        ("", Daemon()),
        (None, Daemon()),
    ],
)
def test_chrony_says_how_far_behind_the_clock_is(text: str | None, found: Daemon) -> None:
    """In the fifth field of its tracking report; the last is whether it keeps it."""
    assert chrony(text) == found


@given(st.text() | st.lists(st.text(max_size=5), min_size=14, max_size=15).map(",".join))
def test_no_report_of_chrony_is_too_strange(text: str) -> None:
    """It is a number of seconds, or none."""
    offset = chrony(text).offset_seconds
    assert offset is None or abs(offset) < 1e9


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ((KernelClock(True, 0.001), Daemon()), (True, 0.001, "")),
        ((KernelClock(True, -2.0), Daemon()), (True, -2.0, "2.0 s behind")),
        # chronyd slews what the kernel does not know of.
        ((KernelClock(True, 0.0), Daemon("chronyd", True, 3.5)), (True, 3.5, "3.5 s ahead")),
        # Without rtcsync the kernel's word is no proof.
        ((KernelClock(False, 0.0), Daemon("chronyd", True, 0.01)), (True, 0.01, "")),
        ((KernelClock(False, 0.0), Daemon("systemd-timesyncd", True)), (True, None, "")),
        ((KernelClock(False, 0.0), Daemon("chronyd", False)), (False, None, "not synchronized")),
        ((KernelClock(False, 0.0), Daemon()), (False, None, "not synchronized")),
        ((KernelClock(), Daemon("chronyd", False)), (False, None, "not synchronized")),
        ((KernelClock(), Daemon()), (None, None, None)),
    ],
)
def test_the_keeper_that_knows_better_is_believed(
    says: tuple[KernelClock, Daemon], expected: tuple[bool | None, float | None, str | None]
) -> None:
    """And nothing is said of an offset while nobody keeps the clock."""
    found = Timekeeping(*says)
    assert (found.synchronized, found.offset_seconds, found.wrong) == expected


def test_timesyncd_leaves_its_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken if the kernel does not say so itself and chronyd is not there."""
    monkeypatch.setattr(timekeeping, "kernel_clock", KernelClock)
    monkeypatch.setattr(timekeeping, "printed", lambda _: None)
    assert timekeeping.look(tmp_path).synchronized is None
    (tmp_path / "synchronized").touch()
    assert timekeeping.look(tmp_path).daemon == Daemon("systemd-timesyncd", keeps=True)


def test_chrony_is_asked_by_its_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails, hangs or is not there says nothing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(timekeeping, "_CALL_SECONDS", 0.5)
    program = tmp_path / "chronyc"
    assert timekeeping.printed(timekeeping.CHRONYC) is None
    for script, found in (
        ('[ "$*" = "-c tracking" ] && echo said', "said\n"),
        ("echo said; exit 1", None),
        ("exec /bin/sleep 60", None),
    ):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        assert timekeeping.printed(timekeeping.CHRONYC) == found


def test_counters_count_since_a_boot_and_a_load_of_the_driver(tmp_path: Path) -> None:
    """A module's folder is another one each time; what is not known is empty."""
    module = tmp_path / "nvidia"
    assert counter_epoch(module, lambda: "a") == Epoch("a", "")
    module.mkdir()
    first = counter_epoch(module, lambda: "a")
    assert first.driver
    assert counter_epoch(module, lambda: "a") == first
    (tmp_path / "old").mkdir()
    module.rename(tmp_path / "old" / "nvidia")
    module.mkdir()
    assert first.is_over_in(counter_epoch(module, lambda: "a"))


def test_a_boot_has_a_name(tmp_path: Path) -> None:
    """Or none, if the kernel does not say."""
    assert boot_id(tmp_path / "none") == ""
    (tmp_path / "id").write_bytes(b"3030703c-84d1\n")
    assert boot_id(tmp_path / "id") == "3030703c-84d1"
    (tmp_path / "id").write_bytes(b"\xff")
    assert boot_id(tmp_path / "id") == ""
    with contextlib.suppress(OSError):
        assert timekeeping.uptime() > 0
