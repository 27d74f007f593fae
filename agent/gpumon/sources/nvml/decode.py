"""What NVML's codes, masks and structs mean, in the words of ``gpumon.model.terms``."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence
from typing import Any

from gpumon.errors import printable
from gpumon.model import RECOVERY_ACTIONS, FabricInfo, Firmware, Platform
from gpumon.model.bounds import is_number
from gpumon.model.terms import FABRIC_STATES, POWER_PROFILES, VIRTUALIZATION
from gpumon.sources.nvml.origin import Ask, flag

_FABRIC_COMPLETED = 3
"""NVML_GPU_FABRIC_STATE_COMPLETED; the states count from 1, in the order of FABRIC_STATES."""

_MISCONFIGURED = {
    2: "incorrect_system_guid",
    3: "incorrect_chassis_serial",
    4: "no_partition",
    5: "insufficient_nvlinks",
    6: "incompatible_gpu_firmware",
    7: "invalid_location",
    8: "invalid_gpu_state",
}
"""What is incorrect in a configuration, by the health mask's code; 1 is that nothing is
(nvml.h: NVML_GPU_FABRIC_HEALTH_MASK_INCORRECT_CONFIGURATION_*)."""

_PARTITION, _MANAGER = 12, 14
"""Shifts of two bits: yes (1), no (2) or nothing (nvml.h: _PARTITION_ASSIGNED, _GFM_STATE)."""

_CONFIGURATION = 0xF
"""The width of that code in the mask."""

_HEALTHY, _LIMITED = 1, 3
"""NVML_GPU_FABRIC_HEALTH_SUMMARY_*: 0 is not supported, 2 is unhealthy."""

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


def architecture(code: int | None) -> str:
    """Name an architecture, a newer one by its number; empty if the driver does not know it."""
    if code is None or not _is_code(code):
        return ""
    return ARCHITECTURES.get(code, f"architecture {code}")


_ALL_SET = 2**32 - 1
"""All bits of a mask: the driver does not know it."""


def virtualization(mode: int | None) -> str:
    """Name how a GPU is virtualized; empty if the driver does not report it."""
    return dict(enumerate(VIRTUALIZATION)).get(-1 if mode is None else mode, "")


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


def mode_now(modes: Sequence[int]) -> bool | int:
    """Return whether something is on now, from the modes now and after the next reset.

    What is not a mode is refused later: that the driver does not know it does not mean "off".
    """
    return flag(modes[0])


def mode_pending(modes: Sequence[int]) -> bool | int:
    """Return whether something is on after the next reset; what is not a mode is refused later."""
    return flag(modes[1])


_PLATFORM = struct.Struct("=4x16x16s5B")
"""nvmlPlatformInfo_t, whose versions 1 and 2 are alike: version, GUID of the fabric, serial of the
chassis (version 1: of the rack), slot, tray, host, kind of peers, module. The binding takes the
numbers for characters."""

_PEERS = {0: "direct", 1: "switch"}

_NO_NUMBER = 0xFF


def platform(info: Any) -> Platform | None:
    """Return where in its rack a GPU sits; None if nothing of it is known."""
    serial, slot, tray, host, peer, module = _PLATFORM.unpack_from(bytes(info))
    slot, tray, host, module = (
        None if number == _NO_NUMBER else number for number in (slot, tray, host, module)
    )
    peers = "" if peer == _NO_NUMBER else _PEERS.get(peer, str(peer))
    found = Platform(_as_text(serial.partition(b"\0")[0]), slot, tray, host, module, peers)
    return None if found == Platform() else found


def address_of(pci: Any) -> str:
    """Return the address of a device; bytes that are not one (a sick board's) are replaced."""
    try:
        return str(pci.busId)
    except UnicodeDecodeError as error:
        return bytes(error.object).decode("utf-8", "replace")


_NVLINK_VERSIONS = {1: 1.0, 2: 2.0, 3: 2.2, 4: 3.0, 5: 3.1, 6: 4.0, 7: 5.0, 8: 6.0}
"""NVML_NVLINK_VERSION_*, as field 166 gives them."""


def nvlink_version(codes: Sequence[int]) -> float | None:
    """Return the newest version of some NVLinks; None if all codes are newer than this table.

    A link that is down may have none.
    """
    return max(filter(None, map(_NVLINK_VERSIONS.get, codes)), default=None)


_REMOTE = {0: "gpu", 1: "npu", 2: "switch"}
"""NVML_NVLINK_DEVICE_TYPE_*."""


def remote_ends(ask: Ask, links: int) -> dict[tuple[str, str], bool] | None:
    """Return what is at the other end of each NVLink, and at which PCI address."""
    found = {}
    for link in range(links):
        kind = ask("nvmlDeviceGetNvLinkRemoteDeviceType", link)
        if kind not in _REMOTE:
            continue
        pci = ask("nvmlDeviceGetNvLinkRemotePciInfo", link)
        address = printable(address_of(pci)) if pci is not None else ""
        found[str(link), f"{_REMOTE[kind]} {address}".strip()] = True
    return found or None


def firmware(ask: Ask, _links: int) -> Firmware | None:
    """Return the versions of a GPU's firmware."""
    names = ("nvmlDeviceGetGspFirmwareVersion", "nvmlDeviceGetInforomImageVersion")
    gsp, inforom = (_as_text(ask(name)) for name in names)
    return Firmware(gsp, inforom) if gsp or inforom else None


def _as_text(value: Any) -> str:
    """Return text that the binding has left as bytes, or decoded; empty if nobody wrote it."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""
    return "" if set(text) == {"\ufffd"} else printable(text).strip()


def _one_mask(mask: Any) -> int | None:
    """Return a mask of several words; None if all bits are set, which no GPU means."""
    words: list[int] = list(mask.mask)
    if all(word == _ALL_SET for word in words):
        return None
    return sum(word << 32 * place for place, word in enumerate(words))


def power_profiles(info: Any) -> dict[tuple[str, str], bool] | None:
    """Return which workload power profiles were requested, and are in force, of those there are."""
    supported = _one_mask(info.perfProfilesMask) or 0
    masks = {
        "requested": _one_mask(info.requestedProfilesMask),
        "enforced": _one_mask(info.enforcedProfilesMask),
    }
    return {
        (name, how): bool(mask >> number & 1)
        for number, name in enumerate(POWER_PROFILES)
        if supported >> number & 1
        for how, mask in masks.items()
        if mask is not None
    } or None


def performance_state(code: int) -> int | None:
    """Return the performance state; None if the driver does not know it (32)."""
    return code if code in range(16) else None


def busy(share: Sequence[int]) -> float:
    """Return the share of time that an encoder or decoder was busy, of per cent and a period."""
    return share[0] / 100


def fabric_state(info: Any) -> str | None:
    """Name how far a GPU has come in joining its fabric; None if there is none to join."""
    return FABRIC_STATES[info.state - 1] if 1 <= info.state <= len(FABRIC_STATES) else None


def fabric_status(info: Any) -> int | None:
    """Return the outcome of joining the fabric; it means nothing before that is completed.

    What is not a code is refused later.
    """
    return int(info.status) if info.state == _FABRIC_COMPLETED else None


def fabric_info(info: Any) -> FabricInfo | None:
    """Return where in which fabric a GPU stands, once it has joined it; None if it is not known."""
    cluster = bytes(info.clusterUuid)
    known = info.cliqueId != _ALL_SET and set(cluster) != {0xFF}
    if info.state != _FABRIC_COMPLETED or not known:
        return None
    mask = getattr(info, "healthMask", _ALL_SET)  # came with version 2 of the struct
    assigned = None if mask == _ALL_SET else {1: True, 2: False}.get(mask >> _PARTITION & 3)
    return FabricInfo(str(uuid.UUID(bytes=cluster)), info.cliqueId, assigned)


def fabric_health(info: Any) -> dict[str, bool] | None:
    """Return which conditions make the fabric unfit, of those that the GPU can report.

    What is incorrect in a configuration has a condition of its own, which is there while it lasts;
    so have ``unhealthy`` and ``limited_capacity``, the driver's own summary. Joining may have
    failed although it is completed: that is the status. A number with all bits set says nothing.
    None if nothing is reported.
    """
    mask = 0 if info.healthMask == _ALL_SET else info.healthMask
    held = {
        name: value == 1
        for name, (shift, width) in _FABRIC_CONDITIONS.items()
        if (value := mask >> shift & width) not in (0, width)
    }
    manager, configuration = mask >> _MANAGER & 3, mask >> 8 & _CONFIGURATION
    if manager in (1, 2):
        held["manager_disconnected"] = manager == 2
    if configuration not in (0, _CONFIGURATION):
        held[_MISCONFIGURED.get(configuration, "incorrect_configuration")] = configuration != 1
    summary = getattr(info, "healthSummary", 0)  # came with version 3 of the struct
    if summary not in (0, _HEALTHY) and _is_code(summary):
        held["limited_capacity" if summary == _LIMITED else "unhealthy"] = True
    if info.state == _FABRIC_COMPLETED and is_number(info.status):
        held["join_failed"] = info.status != 0
    return held or None
