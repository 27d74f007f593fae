"""What each Xid means, whose fault it is first, and what to do: ``xids.toml`` as types."""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import sys

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

XID_CLASSES = ("application", "driver", "hardware")
"""What to suspect first."""

SEVERITIES = ("info", "warning", "critical")
"""``critical`` means that the GPU should be drained: its work is lost or wrong."""


FOLLOWING = frozenset({45, 154})
"""Xids that follow others and say nothing by themselves: a killed job, a change of the recovery
action (which is an alert, and a check, by its own reading)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Xid:
    """One code: ``action`` is what to do now, ``repeat_action`` if it comes back on this GPU.

    ``needs`` is ``reboot`` if a reset no longer reaches the GPU, ``reset`` for the other
    critical ones, else empty.
    """

    code: int
    meaning: str
    xid_class: str
    severity: str
    action: str
    repeat_action: str
    needs: str = ""


@functools.cache
def xids() -> dict[int, Xid]:
    """Return the catalogue by code."""
    text = importlib.resources.files("gpumon").joinpath("xids.toml").read_text("utf-8")
    return {
        code: Xid(
            code=code,
            meaning=row["meaning"],
            xid_class=row["class"],
            severity=row["severity"],
            action=row["action"],
            repeat_action=row["repeat"],
            needs=row.get("needs", "reset" if row["severity"] == "critical" else ""),
        )
        for row in tomllib.loads(text)["xid"]
        for code in row["codes"]
    }


def xid(code: int) -> Xid:
    """Return what is known of a code; one that is newer than the catalogue is said to be so."""
    return xids().get(code) or Xid(
        code,
        "Not in this version's catalogue",
        "driver",
        "warning",
        "See NVIDIA's Xid catalog, and do what gpumon_gpu_recovery_action says.",
        "Collect nvidia-bug-report.sh and open a case with NVIDIA or the vendor.",
    )


RECOVERY = {
    "none": "The driver asks for nothing.",
    "gpu_reset": "Drain the GPU, then reset it (gpumon release; nvidia-smi -r).",
    "node_reboot": "Drain the node and reboot it.",
    "drain_p2p": "Drain the jobs that talk to this GPU over NVLink; it needs no reset yet.",
    "drain_and_reset": "Let the running jobs end, start no others, then reset the GPU.",
    "recover_imex_domain": "Recover the NVLink (IMEX) domain from its manager.",
    "bus_reset": "Drain the node and reboot it: the GPU's bus has to be reset.",
    "system_reboot": "Drain the node and reboot it.",
    "unknown": "The driver asks for something newer than this version: see nvidia-smi -q.",
}
"""What to do for each of the driver's recovery actions."""


def advice(code: int, recovery_action: str | None = None, *, repeated: bool = False) -> str:
    """Return what to do about an Xid, given what the driver asks for at the moment.

    ``recovery_action`` is one of model.RECOVERY_ACTIONS, or None if the driver reports none: what
    it asks for comes before the catalogue, since it knows what it has contained.
    """
    known = xid(code)
    ours = known.repeat_action if repeated else known.action
    if recovery_action in (None, "none"):
        return ours
    return f"{RECOVERY[recovery_action or 'none']} (The driver asks for it: {recovery_action}.)"
