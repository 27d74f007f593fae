"""What the facts of a machine mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from gpumon import __version__
from gpumon.checks import Level
from gpumon.doctor import Finding, judge
from gpumon.doctor.facts import (
    Agent,
    ClockFacts,
    DeviceNodes,
    Driver,
    KernelLogAccess,
    LibraryFacts,
    ProgramFacts,
    Service,
    State,
    User,
)

LIBRARY = "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.105.08"
STATE = Path("/var/lib/gpumon")
URL = "http://127.0.0.1:9842"

READY = Agent(URL, 200, "gpumon is ready", __version__)
UNIT = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"}


def case(facts: Any, level: Level, words: str, step: str = "") -> Any:
    """Return facts with what is to be found of them, named by the words."""
    return pytest.param(facts, level, words, step, id=f"{type(facts).__name__}: {words}")


JUDGES: dict[type, Callable[[Any], Iterable[Finding]]] = {
    LibraryFacts: judge.library,
    Driver: judge.driver,
    DeviceNodes: judge.devices,
    KernelLogAccess: judge.kernel_log,
    Agent: judge.agent,
    Service: judge.service,
    State: judge.state,
    ClockFacts: judge.clock,
    User: judge.user,
}

CASES = [
    case(
        LibraryFacts(LIBRARY, "", "580.105.08", 8), Level.PASS, "as the kernel module (580.105.08)"
    ),
    case(
        LibraryFacts("/opt/libnvidia-ml.so.1", "", "580.105.08"),
        Level.PASS,
        "/opt/libnvidia-ml.so.1",
    ),
    case(LibraryFacts(LIBRARY, "", "575.57.08", 8), Level.FAIL, "module is of 575.57.08", "reboot"),
    case(
        LibraryFacts("", "no such file", "", 8), Level.FAIL, "8 GPUs are on the PCI bus", "install"
    ),
    case(
        LibraryFacts("", "no such file", "", None), Level.FAIL, "cannot be loaded", "NVIDIA runtime"
    ),
    case(
        LibraryFacts("", "no such file", "580.105.08", 0), Level.FAIL, "cannot be loaded", "install"
    ),
    case(LibraryFacts("", "no such file", "", 0), Level.SKIP, "no GPU of NVIDIA's"),
    case(Driver("580.105.08", 8, 8, 0.7), Level.PASS, "8 of 8 GPUs respond, in 0.7 s"),
    case(Driver("580.105.08", 8, 7, 0.7), Level.WARN, "7 of 8 GPUs respond", "gpumon check"),
    case(Driver("580.105.08", 0, 0, 0.7), Level.FAIL, "0 of 0 GPUs respond", "lspci"),
    case(
        Driver(problem="the driver does not answer", next_step="see dmesg", on_bus=0),
        Level.FAIL,
        "the driver does not answer",
        "see dmesg",
    ),
    case(
        Driver(problem="not found", next_step="install", absent=True, on_bus=8), Level.FAIL, "not"
    ),
    case(Driver(problem="not found", next_step="install", absent=True), Level.FAIL, "not found"),
    case(Driver(problem="not found", absent=True, on_bus=0), Level.SKIP, "no GPU of NVIDIA's"),
    case(DeviceNodes(Path("/dev")), Level.SKIP, "no /dev/nvidia*"),
    case(DeviceNodes(Path("/dev"), ("a", "b")), Level.PASS, "2 can be opened"),
    case(DeviceNodes(Path("/dev"), ("a", "b"), ("b",)), Level.FAIL, "may not open b", "group of b"),
    case(KernelLogAccess(Path("/dev/kmsg")), Level.PASS, "can be read"),
    case(KernelLogAccess(Path("k"), "denied"), Level.WARN, "(denied)", "the service may"),
    case(KernelLogAccess(Path("k"), "denied", "docker"), Level.WARN, "(denied)", "the container k"),
    case(READY, Level.PASS, f"is ready, {__version__}"),
    case(dataclasses.replace(READY, version=""), Level.PASS, "unknown version"),
    case(dataclasses.replace(READY, version="0.0.9"), Level.WARN, "version 0.0.9", "restart it"),
    case(Agent(URL, 503, "not ready: no driver"), Level.WARN, "not ready: no driver", "its log"),
    case(Agent(URL, 401, "a user and a password, please"), Level.PASS, "asks for a password"),
    case(Agent(URL, nobody=True), Level.WARN, "nothing listens", "start one with gpumon agent"),
    case(Agent(URL, problem="timed out"), Level.WARN, "does not reply (timed out)", "ss -ltnp"),
    case(Agent(URL, 404, "not found"), Level.FAIL, "replies 404 and is not a gpumon", "ss -ltnp"),
    case(Agent(URL, 401, "Unauthorized"), Level.FAIL, "is not a gpumon agent", "ss -ltnp"),
    case(Agent(URL, 503, "busy"), Level.FAIL, "replies 503 and is not a gpumon", "ss -ltnp"),
    case(
        Agent(URL, 200, "Prometheus Server is Ready."),
        Level.FAIL,
        "replies 200 and is not a gpumon agent",
        "--web.listen-address",
    ),
    case(Service(UNIT), Level.PASS, "starts at boot"),
    case(
        Service(UNIT | {"UnitFileState": "disabled"}),
        Level.WARN,
        "will not start after a reboot",
        "enable",
    ),
    case(Service(UNIT | {"ActiveState": "inactive"}), Level.WARN, "is inactive", "start"),
    case(Service(UNIT | {"ActiveState": "failed"}), Level.FAIL, "has failed", "journalctl"),
    case(Service(UNIT | {"LoadState": "not-found"}), Level.WARN, "there is no unit", "install"),
    case(Service({}, "no answer"), Level.SKIP, "no answer", "systemctl show"),
    case(Service(None), Level.SKIP, "systemd does not run here"),
    case(State(STATE, exists=True, writable=True, free=5e9), Level.PASS, "gpumon, 5.0 GB free"),
    case(State(STATE, exists=False, writable=True, free=5e9), Level.PASS, "the agent creates it"),
    case(State(STATE, exists=True, writable=True, free=5e6), Level.FAIL, "5 MB are", "make room"),
    case(
        State(STATE, exists=True, writable=False, free=5e9, owner="gpumon"),
        Level.SKIP,
        "only gpumon may write",
        "sudo -u gpumon",
    ),
    case(State(STATE, exists=True, writable=False, free=5e9), Level.FAIL, "be written", "give it"),
    case(
        State(STATE, exists=False, writable=False, free=5e9, owner="root"),
        Level.FAIL,
        "cannot be made",
        "give it",
    ),
    case(ClockFacts(kernel=True, error_seconds=0.0004), Level.PASS, "within 0.4 ms"),
    case(
        ClockFacts(kernel=False, daemon="chronyd", by_daemon=True),
        Level.PASS,
        "synchronized by chronyd",
    ),
    case(ClockFacts(kernel=False), Level.WARN, "nothing synchronizes it", "start chrony"),
    case(
        ClockFacts(kernel=False, daemon="chronyd", by_daemon=False),
        Level.WARN,
        "chronyd runs, but is not synchronized",
        "start",
    ),
    case(
        ClockFacts(kernel=True, daemon="chronyd", by_daemon=True, offset_seconds=-3.5),
        Level.WARN,
        "3.5 s behind",
        "makestep",
    ),
    case(ClockFacts(), Level.SKIP, "neither the kernel nor a daemon", "timedatectl"),
    case(User("ann", 7, ("video",), "docker"), Level.PASS, "ann (7), groups video, in a container"),
]


@pytest.mark.parametrize(("facts", "level", "words", "step"), CASES)
def test_what_is_found_of_the_facts(facts: Any, level: Level, words: str, step: str) -> None:
    """Its level, in words that name the fact; what is not well has one next step."""
    (found,) = JUDGES[type(facts)](facts)
    assert (found.level, words in found.evidence) == (level, True), found
    assert step in found.next_step
    assert bool(found.next_step) or level in {Level.PASS, Level.SKIP}


def test_every_level_of_every_item_that_has_it_is_among_the_cases() -> None:
    """The levels that the help and the docs speak of; a new one comes with its case."""
    levels: dict[str, set[str]] = {}
    for one in CASES:
        facts, level = one.values[:2]
        levels.setdefault(type(facts).__name__, set()).add(level.value)
    assert levels == {
        "LibraryFacts": {"pass", "fail", "skip"},
        "Driver": {"pass", "warn", "fail", "skip"},
        "DeviceNodes": {"pass", "fail", "skip"},
        "KernelLogAccess": {"pass", "warn"},
        "Agent": {"pass", "warn", "fail"},
        "Service": {"pass", "warn", "fail", "skip"},
        "State": {"pass", "fail", "skip"},
        "ClockFacts": {"pass", "warn", "skip"},
        "User": {"pass"},
    }


def test_only_what_was_to_be_told_is_missed() -> None:
    """A clock that nobody vouches for; not a service where there is no systemd."""
    assert [f.missed for f in judge.clock(ClockFacts())] == [True]
    assert [f.missed for f in judge.service(Service({}, "late"))] == [True]
    assert [f.missed for f in judge.service(Service(None))] == [False]


def test_what_a_program_cannot_do_is_said_with_what_to_install() -> None:
    """No failure: a compute node needs none of it."""
    whole = list(judge.program(ProgramFacts("1.0", Path("/opt"), "3.11.7 (/bin/python)")))
    assert [f.level for f in whole] == [Level.PASS, Level.PASS]
    assert whole[0].evidence == "1.0 in /opt, Python 3.11.7 (/bin/python)"
    _, extras = judge.program(ProgramFacts("1.0", Path("/opt"), "3.11.7", ("gpumon top",)))
    assert (extras.level, extras.evidence) == (Level.SKIP, "missing for gpumon top")
    assert extras.next_step == "pip install '.[ops]' in gpumon's checkout"
