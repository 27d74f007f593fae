"""What NVML's codes, masks and structs mean, in the words of ``gpumon.model.terms``."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from gpumon.model import RECOVERY_ACTIONS, FabricInfo
from gpumon.model.terms import FABRIC_STATES

_FABRIC_COMPLETED = 3
"""NVML_GPU_FABRIC_STATE_COMPLETED; the states count from 1, in the order of FABRIC_STATES."""

_FABRIC_CONDITIONS = {
    "degraded_bandwidth": (0, 3),
    "route_recovery": (2, 3),
    "route_unhealthy": (4, 3),
    "access_timeout_recovery": (6, 3),
}
"""Shift and width of what may be wrong in the health mask: 1 is true, 2 false, 0 not supported
(nvml.h: NVML_GPU_FABRIC_HEALTH_MASK_*)."""

ARCHITECTURES = {
    2: "Kepler",
    3: "Maxwell",
    4: "Pascal",
    5: "Volta",
    6: "Turing",
    7: "Ampere",
    8: "Ada",
    9: "Hopper",
    10: "Blackwell",
    13: "Rubin",
}
"""Names of nvmlDeviceArchitecture_t."""


_LAST_CODE = 0xFF
"""From here on a number is not a code; what lies between is of a newer driver."""


def recovery_action(code: int) -> str | int:
    """Name the driver's recovery action (field 230); what is not a code is refused later."""
    if not _is_code(code):
        return code
    return RECOVERY_ACTIONS[min(code, len(RECOVERY_ACTIONS) - 1)]


def active_links(states: Sequence[int]) -> int:
    """Count the NVLinks that are up (field 165: 1 active, 2 asleep for lack of traffic).

    A state that is not a code makes the count one that is refused.
    """
    wrong = [state for state in states if not _is_code(state)]
    return wrong[0] if wrong else sum(state in (1, 2) for state in states)


def link_is_up(state: int) -> bool | int:
    """Return whether an NVLink's state (field 165) is up; what is not a code is refused later."""
    return state in (1, 2) if _is_code(state) else state


def _is_code(number: int) -> bool:
    """Return whether a number can be one of an enumeration: it does not have all bits set."""
    return 0 <= number < _LAST_CODE


def mig_mode(modes: Sequence[int]) -> bool:
    """Return whether a GPU is divided now, from the modes now and after the next reset."""
    return modes[0] == 1


def fabric_state(info: Any) -> str | None:
    """Name how far a GPU has come in joining its fabric; None if there is none to join."""
    return FABRIC_STATES[info.state - 1] if 1 <= info.state <= len(FABRIC_STATES) else None


def fabric_status(info: Any) -> int | None:
    """Return the outcome of joining the fabric; it means nothing before that is completed."""
    return int(info.status) if info.state == _FABRIC_COMPLETED else None


def fabric_info(info: Any) -> FabricInfo | None:
    """Return where in which fabric a GPU stands, once it has joined it."""
    if info.state != _FABRIC_COMPLETED:
        return None
    return FabricInfo(str(uuid.UUID(bytes=bytes(info.clusterUuid))), info.cliqueId)


def fabric_health(info: Any) -> dict[str, bool] | None:
    """Return which conditions make the fabric unfit, of those that the GPU can report.

    Of an incorrect configuration the mask gives the reason; here it is one condition. Joining may
    have failed although it is completed: that is the status. None if nothing is reported.
    """
    mask = info.healthMask
    told = {name: mask >> shift & width for name, (shift, width) in _FABRIC_CONDITIONS.items()}
    held = {name: value == 1 for name, value in told.items() if value}
    configuration, manager = mask >> 8 & 15, mask >> 14 & 3
    if configuration:
        held["incorrect_configuration"] = configuration != 1
    if manager:
        held["manager_disconnected"] = manager != 1
    if info.state == _FABRIC_COMPLETED:
        held["join_failed"] = info.status != 0
    return held or None
