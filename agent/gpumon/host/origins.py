"""What the host's readings come from, in words (``gpumon.model.origins``)."""

from __future__ import annotations

from collections.abc import Iterable

from gpumon.model.origins import Origins, value_name

_FIXED = {
    "cpu_energy_joules": "RAPL (powercap)",
    "cpus": "psutil",
    "cpu_utilization_ratio": "psutil",
    "memory_total_bytes": "psutil",
    "memory_available_bytes": "psutil",
}

POSSIBLE = {
    **{field: [words] for field, words in _FIXED.items()},
    "power_watts": ["BMC (ipmitool dcmi)", "power meter (hwmon)", "sum of what is known"],
    "energy_joules": ["integral of gpumon_node_power_watts"],
}
"""Every origin that a field may have, best first."""


def host_origins(known: Iterable[tuple[str, str]], flag: str = "") -> Origins:
    """Return the table of a host whose power is known by these methods and sources.

    ``flag`` is what its BMC calls a reading that it does not call active.
    """
    table = dict(_FIXED)
    for method, source in known:
        words = _power(method, source, flag)
        table[value_name("power_watts", (method, source))] = words
        table[value_name("energy_joules", (method, source))] = f"integral of {words}"
    return table


def _power(method: str, source: str, flag: str) -> str:
    if method == "estimated":
        return f"sum of {source.replace('+', ', ')}"
    if source != "ipmi":
        return f"power meter (hwmon {source})"
    return f"BMC (ipmitool dcmi), which calls it {flag!r}" if flag else "BMC (ipmitool dcmi)"
