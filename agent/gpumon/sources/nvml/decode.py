"""What NVML's codes, masks and structs mean, in the words of ``gpumon.model.terms``."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence
from typing import Any

from gpumon.errors import printable
from gpumon.model import RECOVERY_ACTIONS, FabricInfo, Firmware, Platform
from gpumon.model.terms import FABRIC_STATES, POWER_PROFILES
from gpumon.sources.nvml.origin import Ask

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


def mode_now(modes: Sequence[int]) -> bool:
    """Return whether something is on now, from the modes now and after the next reset."""
    return modes[0] == 1


def mode_pending(modes: Sequence[int]) -> bool:
    """Return whether something is on after the next reset."""
    return modes[1] == 1


_PLATFORM = struct.Struct("=4x16x16s5B")
"""nvmlPlatformInfo_t, whose versions 1 and 2 are alike: version, GUID of the fabric, serial of the
chassis (version 1: of the rack), slot, tray, host, kind of peers, module. The binding takes the
numbers for characters."""

_PEERS = {0: "direct", 1: "switch"}

_NO_NUMBER = 0xFF


def platform(info: Any) -> Platform:
    """Return where in its rack a GPU sits."""
    serial, slot, tray, host, peer, module = _PLATFORM.unpack_from(bytes(info))
    slot, tray, host, module = (
        None if number == _NO_NUMBER else number for number in (slot, tray, host, module)
    )
    text = serial.partition(b"\0")[0].decode("utf-8", "replace")
    return Platform(printable(text).strip(), slot, tray, host, module, _PEERS.get(peer, str(peer)))


def address_of(pci: Any) -> str:
    """Return the address of a device; bytes that are not one (a sick board's) are replaced."""
    try:
        return str(pci.busId)
    except UnicodeDecodeError as error:
        return bytes(error.object).decode("utf-8", "replace")


_NVLINK_VERSIONS = {1: 1.0, 2: 2.0, 3: 2.2, 4: 3.0, 5: 3.1, 6: 4.0, 7: 5.0, 8: 6.0}
"""NVML_NVLINK_VERSION_*, as field 166 gives them."""


def nvlink_version(code: int) -> float | None:
    """Return the version of an NVLink; None for a code that is newer than this version."""
    return _NVLINK_VERSIONS.get(code)


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
    # The binding leaves the one as bytes and decodes the other.
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""
    return printable(text).strip()


def power_profiles(info: Any) -> dict[tuple[str, str], bool] | None:
    """Return which workload power profiles were requested, and are in force, of those there are."""
    supported, requested, enforced = (
        sum(word << 32 * place for place, word in enumerate(mask.mask))
        for mask in (info.perfProfilesMask, info.requestedProfilesMask, info.enforcedProfilesMask)
    )
    return {
        (name, how): bool(mask >> number & 1)
        for number, name in enumerate(POWER_PROFILES)
        if supported >> number & 1
        for how, mask in (("requested", requested), ("enforced", enforced))
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
    """Return the outcome of joining the fabric; it means nothing before that is completed."""
    return int(info.status) if info.state == _FABRIC_COMPLETED else None


def fabric_info(info: Any) -> FabricInfo | None:
    """Return where in which fabric a GPU stands, once it has joined it."""
    if info.state != _FABRIC_COMPLETED:
        return None
    return FabricInfo(str(uuid.UUID(bytes=bytes(info.clusterUuid))), info.cliqueId)


def fabric_health(info: Any) -> dict[str, bool] | None:
    """Return which conditions make the fabric unfit, of those that the GPU can report.

    What is incorrect in a configuration has a condition of its own, which is there while it lasts;
    so have ``unhealthy`` and ``limited_capacity``, the driver's own summary. Joining may have
    failed although it is completed: that is the status. None if nothing is reported.
    """
    mask = info.healthMask
    told = {name: mask >> shift & width for name, (shift, width) in _FABRIC_CONDITIONS.items()}
    held = {name: value == 1 for name, value in told.items() if value}
    configuration, manager = mask >> 8 & 15, mask >> 14 & 3
    if configuration:
        held[_MISCONFIGURED.get(configuration, "incorrect_configuration")] = configuration != 1
    if manager:
        held["manager_disconnected"] = manager != 1
    summary = getattr(info, "healthSummary", 0)  # came with version 3 of the struct
    if summary not in (0, _HEALTHY):
        held["limited_capacity" if summary == _LIMITED else "unhealthy"] = True
    if info.state == _FABRIC_COMPLETED:
        held["join_failed"] = info.status != 0
    return held or None
