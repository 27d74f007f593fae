"""Which columns of an nvidia-smi log carry which value of a reading, best column first.

The names are those of ``nvidia-smi --help-query-gpu``; older versions had other names for some.
"""

from __future__ import annotations

from typing import NamedTuple


class Choice(NamedTuple):
    """The columns that one value may be read from: its field, its label values, their names."""

    field: str
    key: tuple[str, ...]
    names: tuple[str, ...]


COLUMNS = (
    Choice("power_watts", (), ("power.draw.average", "power.draw", "power.draw.instant")),
    Choice("power_limit_watts", (), ("enforced.power.limit", "power.limit")),
    Choice("power_limit_default_watts", (), ("power.default_limit",)),
    Choice("temperature_celsius", (), ("temperature.gpu",)),
    Choice("memory_temperature_celsius", (), ("temperature.memory",)),
    Choice("temperature_margin_celsius", (), ("temperature.gpu.tlimit",)),
    Choice("fan_speed_ratio", (), ("fan.speed",)),
    Choice("utilization_ratio", (), ("utilization.gpu",)),
    Choice("memory_access_ratio", (), ("utilization.memory",)),
    Choice("memory_total_bytes", (), ("memory.total",)),
    Choice("memory_used_bytes", (), ("memory.used",)),
    Choice("memory_reserved_bytes", (), ("memory.reserved",)),
    Choice("clock_hertz", ("sm",), ("clocks.current.sm", "clocks.sm")),
    Choice("clock_hertz", ("memory",), ("clocks.current.memory", "clocks.mem")),
    Choice("clock_max_hertz", ("sm",), ("clocks.max.sm",)),
    Choice("clock_max_hertz", ("memory",), ("clocks.max.memory", "clocks.max.mem")),
    Choice(
        "throttle_reasons", (), ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
    ),
    Choice("pcie_link_generation", (), ("pcie.link.gen.gpucurrent", "pcie.link.gen.current")),
    Choice("pcie_link_generation_max", (), ("pcie.link.gen.max",)),
    Choice("pcie_link_width", (), ("pcie.link.width.current",)),
    Choice("pcie_link_width_max", (), ("pcie.link.width.max",)),
    Choice("ecc_errors", ("corrected", "dram"), ("ecc.errors.corrected.volatile.dram",)),
    Choice("ecc_errors", ("corrected", "sram"), ("ecc.errors.corrected.volatile.sram",)),
    Choice("ecc_errors", ("uncorrected", "dram"), ("ecc.errors.uncorrected.volatile.dram",)),
    Choice("ecc_errors", ("uncorrected", "sram"), ("ecc.errors.uncorrected.volatile.sram",)),
    Choice("remapped_rows", ("corrected",), ("remapped_rows.correctable",)),
    Choice("remapped_rows", ("uncorrected",), ("remapped_rows.uncorrectable",)),
)


def possible_columns(field: str) -> list[str]:
    """Return the names of every column that a field's value may be read from, best first."""
    return [name for choice in COLUMNS if choice.field == field for name in choice.names]
