"""The agent's systemd unit."""

from __future__ import annotations

import collections
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import ROOT, require

FOLDER = ROOT / "deploy" / "systemd"
UNIT = FOLDER / "gpumon-agent.service"

WORST_EXPOSURE = 26
"""Tenths of systemd's own score, from 0 (nothing open) to 100. Four of them are for being able to
ask adjtimex(2) whether something keeps the clock: systemd counts the call's name, and not that
setting the clock takes a capability that the unit does not have."""


def settings() -> dict[str, list[str]]:
    """Return the unit's settings; one that is given again has several values."""
    found: dict[str, list[str]] = collections.defaultdict(list)
    for line in UNIT.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found[key].append(value)
    return found


def runnable(folder: Path) -> Path:
    """Return a copy of the unit whose program exists here, as systemd-analyze wants it to."""
    text = UNIT.read_text()
    assert "/usr/local/bin/gpumon " in text
    copy = folder / UNIT.name
    copy.write_text(text.replace("/usr/local/bin/gpumon ", f"{sys.executable} "))
    return copy


def test_nothing_kills_a_reader() -> None:
    """A process that is killed in a driver call can freeze its GPU: nothing here may do that."""
    unit = settings()
    assert unit["KillMode"] == ["process"]
    assert unit["SendSIGKILL"] == ["no"]
    assert int(unit["TimeoutStopSec"][0]) >= 60
    assert unit["OOMPolicy"] == ["continue"]
    assert unit["SystemCallErrorNumber"] == ["EPERM"]
    killers = {"MemoryMax", "MemoryLimit", "RuntimeMaxSec", "LimitAS", "LimitCPU"}
    assert not killers & unit.keys()


def test_the_watchdog_is_for_the_server_alone() -> None:
    """Its signal goes to the main process (KillMode), which is what says that it is alive."""
    unit = settings()
    assert (unit["Type"], unit["NotifyAccess"]) == (["notify"], ["main"])
    assert int(unit["WatchdogSec"][0]) >= 30
    assert unit["KillMode"] == ["process"]


def test_it_runs_as_a_user_of_its_own_with_one_privilege() -> None:
    """Reading GPUs needs none, the kernel's log needs one; the user is the one sysusers makes."""
    unit = settings()
    assert unit["User"] == unit["Group"] == ["gpumon"]
    assert unit["CapabilityBoundingSet"] == unit["AmbientCapabilities"] == ["CAP_SYSLOG"]
    assert unit["ProtectKernelLogs"] == ["no"]
    assert "/dev/kmsg r" in unit["DeviceAllow"]
    assert unit["NoNewPrivileges"] == ["yes"]
    lines = (FOLDER / "gpumon.sysusers.conf").read_text().splitlines()
    (user,) = [shlex.split(line) for line in lines if not line.startswith("#")]
    assert user[:2] == ["u", "gpumon"]
    assert user[4] == "/var/lib/gpumon"


def test_state_is_where_systemd_makes_a_folder_for_it() -> None:
    """The agent is told the folder that systemd creates, owned by its user."""
    unit = settings()
    assert unit["StateDirectory"] == ["gpumon"]
    assert unit["Environment"] == ["GPUMON_STATE_DIR=/var/lib/gpumon"]


def test_gpus_can_be_reached_whenever_the_driver_is_loaded() -> None:
    """The control device and 16 GPUs are named by number, which needs no driver at the start."""
    unit = settings()
    assert unit["PrivateDevices"] == ["no"]
    assert unit["DevicePolicy"] == ["closed"]
    for minor in (255, *range(16)):
        assert f"/dev/char/195:{minor} rw" in unit["DeviceAllow"]
    assert not [rule for rule in unit["DeviceAllow"] if re.search(r"^/.*[*?]", rule)], (
        "systemd knows no wildcards in paths"
    )


def test_it_may_ask_about_the_clock_and_not_set_it() -> None:
    """The call is allowed after the groups that leave it out; the capability is not there."""
    found = settings()
    assert found["ProtectClock"] == ["no"]
    assert found["SystemCallFilter"][-1] == "adjtimex"
    assert "CAP_SYS_TIME" not in found["CapabilityBoundingSet"][0]
    assert found["DevicePolicy"] == ["closed"]


def test_the_command_is_one_that_gpumon_knows() -> None:
    """What the unit starts parses."""
    (command,) = settings()["ExecStart"]
    argv = [sys.executable, "-m", "gpumon", *shlex.split(command)[1:], "--help"]
    environment = {**os.environ, "GPUMON_STATE_DIR": "/var/lib/gpumon"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert "GPUMON_STATE_DIR" in done.stdout


def test_systemd_accepts_it(tmp_path: Path) -> None:
    """``systemd-analyze verify`` finds nothing to say."""
    program = require("systemd-analyze")
    done = subprocess.run(
        [program, "verify", runnable(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert UNIT.name not in done.stderr


def test_systemd_finds_little_open(tmp_path: Path) -> None:
    """Its exposure, as systemd itself judges it, stays low."""
    program = require("systemd-analyze")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    (number,) = re.findall(r"^systemd (\d+)", version.stdout)
    if int(number) < 250:
        pytest.skip(f"systemd {number} cannot judge a unit that is not installed")
    argv = [program, "security", "--offline=true", f"--threshold={WORST_EXPOSURE}"]
    done = subprocess.run([*argv, runnable(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
