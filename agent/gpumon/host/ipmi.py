"""What the whole node draws, as its BMC measures it (IPMI DCMI).

Through FreeIPMI's ``ipmi-dcmi`` or through ``ipmitool``, whichever is installed: the BMC responds
in 0.1 to 2 s, refreshes once a second at best, and sometimes not at all, so it is asked seldom, by
a process that is ended when it takes too long.

FreeIPMI's programs refuse every user but root, who may open the device or not (its source:
ipmi_is_root); ipmitool needs the device and nothing else.

Many BMCs cannot measure: they do not know the command, or report 0 W. Those are absent and not
failing. Others measure and do not say that they do (OpenBMC never sets the flag that ipmitool shows
as "activated"): what they measure is used.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from gpumon.host.collector import AbsentError, DeniedError
from gpumon.model import Denied
from gpumon.model.bounds import is_node_power
from gpumon.refusals import Refusals

log = logging.getLogger(__name__)

_DEVICES = ("dev/ipmi0", "dev/ipmi/0", "dev/ipmidev/0")

_FREEIPMI = ("ipmi-dcmi", "--get-system-power-statistics")
_IPMITOOL = ("ipmitool", "dcmi", "power", "reading")

_GRACE_SECONDS = 2.0
"""What a program that is asked to end has for letting go of the device, before it is killed."""

_WATTS = re.compile(
    r"^\s*(?:Current Power|Instantaneous power reading)\s*:\s*(\d{1,9})\s*watts?\s*$",
    re.IGNORECASE | re.MULTILINE | re.ASCII,
)
_STATE = re.compile(
    r"^\s*(?:Power Measurement\s*:|Power reading state is:)\s*(\S[^\n]{0,40}?)\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_ACTIVE = ("active", "activated")

_CODE = re.compile(r"DCMI request failed because: .*\((?P<code>[0-9a-f]{2})\)", re.IGNORECASE)
"""ipmitool's words for a completion code (ipmi_dcmi.c)."""

_PASSING_CODES = frozenset({"c0", "c3", "c4", "ce", "d0", "d1", "d2", "d3", "d4"})
"""Busy, timeout, out of space, no response just now, being updated or started, no right to it. With
any other code the BMC says that it cannot (IPMI 2.0, table 5-2)."""

_CANNOT = re.compile(
    r"invalid or (?:un|not )supported|bad completion code|valid DCMI command was not returned"
    r"|not (?:available|compatible) (?:on|with) this",
    re.IGNORECASE,
)
"""FreeIPMI's words for it, and ipmitool's for a BMC that does not speak DCMI."""

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


class NotMeasuredError(ValueError):
    """The BMC replies, and what it says is not a measurement."""


class Ipmi:
    """Asks the BMC; see Collector. Returns watts.

    ``flag`` is what the BMC calls its last reading, if not active; else empty.
    """

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
        refusals: Refusals | None = None,
    ) -> None:
        """Prepare to ask by a process that may take some seconds.

        ``openable`` and ``superuser`` say what this user may do; else the system does.
        """
        self._root = root
        self._seconds = seconds
        self._openable = openable or _openable
        self._superuser = os.geteuid() == 0 if superuser is None else superuser
        self._refusals = refusals or Refusals()
        self.flag = ""

    def collect(self) -> float | None:
        """Return the node's watts, or None if there is no BMC, or no program to ask it with.

        Raises AbsentError if the BMC cannot measure.
        """
        commands = [c for c in (_FREEIPMI, _IPMITOOL) if shutil.which(c[0])]
        device = next((self._root / d for d in _DEVICES if (self._root / d).exists()), None)
        if not commands or device is None:
            return None
        if not self._openable(device):
            raise DeniedError(DENIED)
        command = commands[0] if self._superuser else commands[-1]
        if command is _FREEIPMI and not self._superuser:
            raise DeniedError(DENIED_PROGRAM)
        try:
            reply = _reply(command, self._seconds)
            watts = watts_of(reply)
        except NotMeasuredError as error:
            raise AbsentError(str(error)) from None
        if not is_node_power(watts):
            self._refusals.refuse("node_power", "the BMC", f"{watts:.0f} W")
            raise AbsentError(f"the BMC reports {watts:.0f} W, which no node draws")
        flag = flag_of(reply)
        if flag and flag != self.flag:
            log.info("the BMC calls its power reading %r; its %.0f W are used", flag, watts)
        self.flag = flag
        return watts


def _reply(command: tuple[str, ...], seconds: float) -> str:
    """Return what a program says; ValueError if it fails or takes too long.

    It is gone when this returns, however long that takes: no second one is started beside it.
    Raises NotMeasuredError if it fails because the BMC cannot do it.
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
        words = complaint if complaint.strip() else said
        lines = words.strip().splitlines()
        if cannot(f"{complaint}\n{said}"):
            raise NotMeasuredError(f"the BMC does not measure power ({lines[0].strip()})")
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


def cannot(words: str) -> bool:
    """Return whether a program failed because the BMC cannot do what was asked of it."""
    code = _CODE.search(words)
    if code is not None:
        return code["code"].lower() not in _PASSING_CODES
    return _CANNOT.search(words) is not None


def watts_of(text: str) -> float:
    """Return the present watts from either program's output; ValueError if it has none.

    A BMC that was never given a sensor reports 0 W and calls it active: NotMeasuredError.
    """
    watts = _WATTS.search(text)
    if watts is None or _STATE.search(text) is None:
        raise ValueError("the BMC's reply has no power reading")
    if int(watts[1]) == 0:
        raise NotMeasuredError("the BMC reports 0 W, so it does not measure")
    return float(watts[1])


def flag_of(text: str) -> str:
    """Return what the BMC calls its reading, if that is not active; else nothing."""
    state = _STATE.search(text)
    flag = "" if state is None else "".join(c for c in state[1] if c.isprintable())
    return "" if flag.lower() in _ACTIVE else flag


def _openable(device: Path) -> bool:
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError:
        return False
    except OSError:  # busy, or of a kind that cannot be opened like this: let the program say
        pass
    return True
