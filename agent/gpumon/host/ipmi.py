"""What the whole node draws, as its BMC measures it (IPMI DCMI).

Through FreeIPMI's ``ipmi-dcmi`` or through ``ipmitool``, whichever is installed: the BMC answers in
0.1 to 2 s, refreshes once a second at best, and sometimes not at all, so it is asked seldom, by a
process that is ended when it takes too long.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from gpumon.host.collector import DeniedError
from gpumon.model import Denied

_DEVICES = ("dev/ipmi0", "dev/ipmi/0", "dev/ipmidev/0")

_COMMANDS = (
    ("ipmi-dcmi", "--get-system-power-statistics"),
    ("ipmitool", "dcmi", "power", "reading"),
)

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
        readable: Callable[[Path], bool] | None = None,
    ) -> None:
        """Prepare to ask by a process that may take some seconds."""
        self._root = root
        self._seconds = seconds
        self._readable = readable or _readable

    def collect(self) -> float | None:
        """Return the node's watts, or None where there is no BMC, or nothing to ask it with."""
        command = next((c for c in _COMMANDS if shutil.which(c[0])), None)
        device = next((self._root / d for d in _DEVICES if (self._root / d).exists()), None)
        if command is None or device is None:
            return None
        if not self._readable(device):
            raise DeniedError(DENIED)
        try:
            # On expiry the process is killed and waited for: it only talks to the BMC's driver.
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self._seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ValueError(f"{command[0]} did not answer within {self._seconds:g} s") from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise ValueError(f"{command[0]} failed ({said[0] if said else done.returncode})")
        return watts_of(done.stdout)


def watts_of(text: str) -> float:
    """Return the present watts from either program's answer; ValueError where they are none.

    A BMC that has never been given a sensor says 0 W and "activated".
    """
    state = _STATE.search(text)
    if state is not None and state[1].lower() not in ("active", "activated"):
        raise ValueError(f"the BMC's power reading is {state[1]!r}")
    watts = _WATTS.search(text)
    if watts is None:
        raise ValueError("the BMC's answer has no power reading")
    if int(watts[1]) == 0:
        raise ValueError("the BMC says 0 W, so it does not measure")
    return float(watts[1])


def _readable(device: Path) -> bool:
    try:
        with device.open("rb"):
            return True
    except PermissionError:
        return False
    except OSError:  # busy, or of a kind that cannot be opened like this: let the program say
        return True
