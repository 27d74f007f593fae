"""What the whole node draws, as its BMC measures it (IPMI DCMI).

Through FreeIPMI's ``ipmi-dcmi`` or through ``ipmitool``, whichever is installed: the BMC answers in
0.1 to 2 s, refreshes once a second at best, and sometimes not at all, so it is asked seldom, by a
process that is ended when it takes too long.

FreeIPMI's programs refuse every user but root, whoever may open the device (its source:
ipmi_is_root); ipmitool needs the device and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from gpumon.host.collector import DeniedError
from gpumon.model import Denied

_DEVICES = ("dev/ipmi0", "dev/ipmi/0", "dev/ipmidev/0")

_FREEIPMI = ("ipmi-dcmi", "--get-system-power-statistics")
_IPMITOOL = ("ipmitool", "dcmi", "power", "reading")

_GRACE_SECONDS = 2.0
"""What a program that is told to end has for letting go of the device, before it is killed."""

_WATTS = re.compile(
    r"^\s*(?:Current Power|Instantaneous power reading)\s*:\s*(\d+)\s*watts?\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_STATE = re.compile(
    r"^\s*(?:Power Measurement\s*:|Power reading state is:)\s*(\S.*?)\s*$",
    re.IGNORECASE | re.MULTILINE,
)

DENIED = Denied(
    "gpumon_node_power_watts",
    "read and write access to /dev/ipmi0, which is root's alone",
    "give /dev/ipmi0 to a group of the agent's by a udev rule (docs/privileges.md has it)",
)

DENIED_PROGRAM = Denied(
    "gpumon_node_power_watts",
    "ipmitool: ipmi-dcmi, which is installed, serves root alone",
    "install ipmitool, which needs no more than the device",
)


class Ipmi:
    """Asks the BMC; see Collector. Returns watts."""

    name = "ipmi"
    period = 15.0
    deadline = 15.0

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        seconds: float = 10.0,
        openable: Callable[[Path], bool] | None = None,
        superuser: bool | None = None,
    ) -> None:
        """Prepare to ask by a process that may take some seconds.

        ``openable`` and ``superuser`` tell what this user may do; else the system does.
        """
        self._root = root
        self._seconds = seconds
        self._openable = openable or _openable
        self._superuser = os.geteuid() == 0 if superuser is None else superuser

    def collect(self) -> float | None:
        """Return the node's watts, or None where there is no BMC, or nothing to ask it with."""
        commands = [c for c in (_FREEIPMI, _IPMITOOL) if shutil.which(c[0])]
        device = next((self._root / d for d in _DEVICES if (self._root / d).exists()), None)
        if not commands or device is None:
            return None
        if not self._openable(device):
            raise DeniedError(DENIED)
        command = commands[0] if self._superuser else commands[-1]
        if command is _FREEIPMI and not self._superuser:
            raise DeniedError(DENIED_PROGRAM)
        return watts_of(_answer(command, self._seconds))


def _answer(command: tuple[str, ...], seconds: float) -> str:
    """Return what a program says; ValueError where it fails or takes too long.

    It is gone when this returns, however long that takes: no second one is started beside it.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # it may be a site's script around the program: both are ended
    ) as process:
        try:
            said, complaint = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            raise ValueError(f"{command[0]} did not answer within {seconds:g} s") from None
    if process.returncode:
        lines = (complaint or said).strip().splitlines()
        raise ValueError(f"{command[0]} failed ({lines[0] if lines else process.returncode})")
    return said


def _end(process: subprocess.Popen[str]) -> None:
    """Ask a program and what it started to end, then make them, and wait for the program."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)  # what the program started may outlive it
    process.wait()


def watts_of(text: str) -> float:
    """Return the present watts from either program's answer; ValueError where they are none.

    A BMC that has never been given a sensor says 0 W and "activated".
    """
    state = _STATE.search(text)
    watts = _WATTS.search(text)
    if state is not None and state[1].lower() not in ("active", "activated"):
        raise ValueError(f"the BMC's power reading is {state[1]!r}")
    if state is None or watts is None:
        raise ValueError("the BMC's answer has no power reading")
    if int(watts[1]) == 0:
        raise ValueError("the BMC says 0 W, so it does not measure")
    return float(watts[1])


def _openable(device: Path) -> bool:
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError:
        return False
    except OSError:  # busy, or of a kind that cannot be opened like this: let the program say
        pass
    return True
