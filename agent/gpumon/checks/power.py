"""Heat, power, clocks: what is left until the GPU slows down, and what throttles it already."""

from __future__ import annotations

from collections.abc import Iterator

from gpumon.checks.model import Finding, Level, Observation, gpu_check, passed, skipped
from gpumon.model import GpuReading


@gpu_check(
    name="margin",
    title="degrees are left until it slows down, and its memory is not hot",
    fails="no degree left: it is slowing down because of heat",
    warns="few degrees left until it slows down; hot memory",
    alerts=("GpuMarginLow", "GpuMemoryHot"),
    thresholds=("heat.margin_low_celsius", "heat.hbm_celsius"),
)
def margin(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    """Judge the degrees left to this GPU's own slowdown, and the heat of its memory."""
    left, hbm = gpu.temperature_margin_celsius, gpu.memory_temperature_celsius
    if hbm is not None and hbm >= seen.number("heat.hbm_celsius"):
        yield Finding(
            Level.WARN,
            f"its memory is at {hbm:.0f} °C",
            "Check fans or coolant; a single GPU points at its cold plate or thermal interface.",
            "GpuMemoryHot",
        )
    low = seen.number("heat.margin_low_celsius")
    if left is None:
        yield skipped("it does not report how far it is from slowing down")
    elif left <= 0:
        yield Finding(
            Level.FAIL,
            f"it is slowing down because of heat{_to_shutdown(gpu)}",
            "Stop its jobs; check the node's fans or coolant flow and inlet before it runs again.",
            "GpuMarginLow",
        )
    elif left < low:
        yield Finding(
            Level.WARN,
            f"{left:.0f} °C from slowing down",
            "Check the node's fans or coolant flow and inlet; compare it with its neighbors.",
            "GpuMarginLow",
        )
    else:
        yield passed(f"{left:.0f} °C from slowing down")


def _to_shutdown(gpu: GpuReading) -> str:
    """Return `` and 4 °C from switching itself off``; empty if it does not report that."""
    margin, last = gpu.temperature_margin_celsius, gpu.temperature_margin_threshold_celsius or {}
    now, end = gpu.temperature_celsius, gpu.temperature_shutdown_celsius
    if margin is not None and "shutdown" in last:
        left = margin - last["shutdown"]
    elif now is not None and end is not None:
        left = end - now
    else:
        return ""
    return f", and {left:.0f} °C from switching itself off"


@gpu_check(
    name="throttle",
    title="neither heat nor the power brake throttles its clocks",
    fails="the hardware throttles the clocks to half or less: heat, or the power brake",
    warns="throttled by heat; by its peak current (`--window`)",
    alerts=("GpuHardwareSlowdown", "GpuPowerBrake", "GpuThermalThrottling", "GpuCurrentLimited"),
    thresholds=("heat.throttled_ratio", "power.edp_time_ratio", "power.edp_power_ratio"),
)
def throttle(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    """Judge what throttles the clocks, other than the power limit at full load."""
    reasons = gpu.throttle_reasons
    if reasons is None:
        yield skipped("it does not report what throttles its clocks")
        return
    if "hw_power_brake" in reasons:
        yield Finding(
            Level.FAIL,
            f"the power brake is on{seen.lasting(gpu, 'hw_power_brake')}: clocks at half or less",
            "Check the node's power supplies and the rack's power controller.",
            "GpuPowerBrake",
        )
    # hw_slowdown is the fact that one of the hw_ reasons holds; alone it is no brake.
    if "hw_thermal" in reasons or ("hw_slowdown" in reasons and "hw_power_brake" not in reasons):
        yield Finding(
            Level.FAIL,
            "the hardware throttles its clocks to half or less"
            + seen.lasting(gpu, "hw_thermal", "hw_slowdown"),
            "Drain it; check fans, coolant and the thermal interface before it runs again.",
            "GpuHardwareSlowdown",
        )
    yield from _slowed_by_heat(gpu, seen)
    yield from _slowed_by_current(gpu, seen)
    words = ", ".join(sorted(reasons)) or "none"
    yield passed(f"its clocks are throttled by {words}")


def _lost_share(gpu: GpuReading, seen: Observation, reason: str) -> float | None:
    """Return the share of the window in which the clocks were throttled for a reason."""
    before = seen.before(gpu)
    earlier = (before.throttle_seconds or {}).get(reason) if before is not None else None
    return seen.rate((gpu.throttle_seconds or {}).get(reason), earlier)


def _slowed_by_heat(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    share = _lost_share(gpu, seen, "sw_thermal")
    if share is None:  # a driver before 575 knows of heat only as a whole
        share = _lost_share(gpu, seen, "thermal")
    now = "sw_thermal" in (gpu.throttle_reasons or ())
    if share is None and now:
        evidence = f"throttled{_at(gpu)} by heat{seen.lasting(gpu, 'sw_thermal')}"
    elif share is not None and share > seen.number("heat.throttled_ratio"):
        evidence = f"throttled by heat {share:.0%} of the time"
    else:
        return
    step = "Check the node's fans or coolant, and its inlet temperature."
    yield Finding(Level.WARN, evidence, step, "GpuThermalThrottling")


def _at(gpu: GpuReading) -> str:
    """Return at how much of its power limit a GPU runs, if it reports both."""
    if gpu.power_watts is None or gpu.power_limit_watts is None:
        return ""
    return f" at {gpu.power_watts:.0f} of {gpu.power_limit_watts:.0f} W"


def _slowed_by_current(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    """Find the limiter of peak current, which shows as the power cap far below the limit."""
    share = _lost_share(gpu, seen, "sw_power_cap")
    peak, limit = gpu.power_peak_watts, gpu.power_limit_watts
    if share is None or peak is None or not limit:
        return
    if (
        share > seen.number("power.edp_time_ratio")
        and peak < seen.number("power.edp_power_ratio") * limit
    ):
        yield Finding(
            Level.WARN,
            f"throttled {share:.0%} of the time at no more than {peak:.0f} of {limit:.0f} W",
            "Compare with the job's other GPUs; alone, check the board's power stages.",
            "GpuCurrentLimited",
        )


@gpu_check(
    name="limit",
    title="the power limit is the default",
    warns="a power limit below the default",
    alerts=("PowerLimitBelowDefault",),
    thresholds=("power.cap_ratio",),
)
def limit(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    """Judge the power limit in force against the default."""
    now, default = gpu.power_limit_watts, gpu.power_limit_default_watts
    if now is None or not default:
        yield skipped("it does not report its power limit")
    elif now / default < seen.number("power.cap_ratio"):
        yield Finding(
            Level.WARN,
            f"power limit {now:.0f} of {default:.0f} W",
            "If nobody wants that, reset it with nvidia-smi -pl; if it returns, the BMC sets it.",
            "PowerLimitBelowDefault",
        )
    else:
        yield passed(f"power limit {now:.0f} of {default:.0f} W")


@gpu_check(
    name="persistence",
    title="the driver keeps the GPU initialized",
    warns="persistence mode is off",
    alerts=("GpuPersistenceOff",),
)
def persistence(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    """Judge whether the driver keeps the GPU initialized; limits are forgotten otherwise."""
    if gpu.persistence_mode is None:
        yield skipped(
            "its persistence mode is not known: the agent is older, or this source has none"
        )
    elif gpu.persistence_mode:
        yield passed("persistence mode is on")
    else:
        step = "Run nvidia-persistenced as a service (or nvidia-smi -pm 1)."
        yield Finding(Level.WARN, "persistence mode is off", step, "GpuPersistenceOff")


@gpu_check(
    name="energy",
    title="its energy counter can be trusted",
    warns="the energy counter is stuck, jumps, or differs from the power",
    alerts=("EnergyCounterSuspect",),
)
def energy(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    """Judge the device's energy counter, as it was compared with the power over minutes."""
    del seen
    if gpu.energy_info is None:
        yield skipped("it reports neither energy nor power")
    elif gpu.energy_info.method != "counter":
        yield skipped("it has no energy counter: its joules are the integral of its power")
    elif gpu.energy_suspect is None:
        yield skipped("its energy counter has not been compared with its power for long enough")
    elif gpu.energy_suspect:
        yield Finding(
            Level.WARN,
            f"its energy counter is not to be believed: {', '.join(sorted(gpu.energy_suspect))}",
            "Compare with a meter (docs/energy.md); reload the driver when the node is free.",
            "EnergyCounterSuspect",
        )
    else:
        yield passed("its energy counter agrees with its power")


@gpu_check(
    name="smoothing",
    title="the circuit that smooths its power is not worn out",
    warns="little of its power smoothing's life is left",
    alerts=("PowerSmoothingWornOut",),
    thresholds=("power.smoothing_life_ratio",),
)
def smoothing(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    """Judge what is left of the power-smoothing circuit's life."""
    left = gpu.power_smoothing_lifetime_ratio
    if left is None:
        yield skipped("it has no power smoothing, or reports nothing about it")
    elif left < seen.number("power.smoothing_life_ratio"):
        yield Finding(
            Level.WARN,
            f"{left:.0%} of its power smoothing's life is left",
            "Plan the board's replacement, and inform those who watch the site's power ramps.",
            "PowerSmoothingWornOut",
        )
    else:
        yield passed(f"{left:.0%} of its power smoothing's life is left")


@gpu_check(
    name="clocks",
    title="the SM clock is not low under load without a reason",
    warns="a low SM clock under load, without a throttle reason",
    alerts=("JobStraggler",),
    thresholds=("clocks.busy_ratio", "clocks.low_ratio"),
)
def clocks(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    """Judge the SM clock under load, if the GPU reports no throttle reason."""
    now, most = (gpu.clock_hertz or {}).get("sm"), (gpu.clock_max_hertz or {}).get("sm")
    reasons = gpu.throttle_reasons or frozenset()
    use = gpu.utilization_ratio
    if now is None or not most or use is None:
        yield skipped("it does not report its clock or its utilization")
        return
    words = f"SM clock {now / 1e6:.0f} of {most / 1e6:.0f} MHz"
    if use <= seen.number("clocks.busy_ratio"):
        yield skipped(f"{words}; judged under load")
    elif now >= seen.number("clocks.low_ratio") * most:
        yield passed(words)
    elif reasons - {"applications_clocks"}:
        yield passed(f"{words}, throttled by {', '.join(sorted(reasons))}: see throttle")
    else:
        yield Finding(
            Level.WARN,
            f"{words} at {use:.0%} utilization, without a throttle reason",
            "See whether somebody locked it (nvidia-smi -q -d CLOCK); nvidia-smi -rgc undoes that.",
            "JobStraggler",
        )
