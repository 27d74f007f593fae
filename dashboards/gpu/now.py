"""GPU: which one it is, what counts now, and what happened to it."""

from __future__ import annotations

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.gpu.series import gpu
from dashboards.kit import alerts, limits, links, panels, tables, xids
from dashboards.kit.panels import LIMIT, Size, Text
from dashboards.kit.promql import FLEET, coded, node, where
from dashboards.kit.tables import Column, Key
from dashboards.node import health

JOB = Key("job_id", "Job", links.JOB_OF_THIS)


def now() -> tuple[Panel, ...]:
    """Return the numbers to look at first."""
    return (
        _state(),
        _the_driver_asks_for(),
        _power(),
        _margin_to_the_slowdown(),
        _sm_activity_now(),
        _memory_in_use(),
        _age_of_its_reading(),
    )


def _state() -> Panel:
    return panels.value(
        Text(
            "State",
            "Normal: ok. Lost: it has left the bus. Hung: a call to the driver does not "
            "return. Released: somebody made the agent let go of it.",
        ),
        Size(3, 4),
        {"state": coded("gpumon_gpu_state", "state", health.STATES, of=gpu)},
        states=health.named(health.STATES),
        absent="no answer",
    )


def _the_driver_asks_for() -> Panel:
    return panels.value(
        Text(
            "The driver asks for",
            "Normal: none. Anything else: drain the node and do what it says. Absent with "
            "drivers that do not tell.",
        ),
        Size(3, 4),
        {"action": coded("gpumon_gpu_recovery_action", "action", health.ACTIONS, of=gpu)},
        states=health.named(health.ACTIONS),
    )


def _power() -> Panel:
    return panels.value(
        Text(
            "Power",
            "Now, the highest sample of the last 30 s, and the limit in force. Peaks may pass "
            "the limit for an instant; the mean stays below it.",
        ),
        Size(6, 4),
        {
            "now": gpu("gpumon_gpu_power_watts"),
            "peak": gpu("gpumon_gpu_power_peak_watts"),
            LIMIT: gpu("gpumon_gpu_power_limit_watts"),
        },
    )


def _margin_to_the_slowdown() -> Panel:
    return panels.value(
        Text(
            "Margin to the slowdown",
            f"Normal: above {limits.LOW_MARGIN} degrees. Below "
            f"{limits.LOWEST_MARGIN} look at the cooling now.",
        ),
        Size(3, 4),
        {"margin": gpu("gpumon_gpu_temperature_margin_celsius")},
        thresholds=limits.margin(),
    )


def _sm_activity_now() -> Panel:
    return panels.value(
        Text(
            "SM activity now",
            f"Below {limits.IDLE_WORDS} it is idle; training keeps it at 50 to 90 %. "
            "Utilisation where the GPU does not tell it.",
        ),
        Size(3, 4),
        {
            "activity": where(
                "{0} or {1}",
                gpu("gpumon_gpu_sm_active_ratio"),
                gpu("gpumon_gpu_utilization_ratio"),
            )
        },
    )


def _memory_in_use() -> Panel:
    return panels.value(
        Text(
            "Memory in use",
            "Share of the device's memory. Frameworks take nearly all at once, so full is "
            "normal while a job runs; in use with no job is a process left behind.",
        ),
        Size(3, 4),
        {
            "used": where(
                "{0} / {1}",
                gpu("gpumon_gpu_memory_used_bytes"),
                gpu("gpumon_gpu_memory_total_bytes"),
                unit=units.PercentUnit,
            )
        },
    )


def _age_of_its_reading() -> Panel:
    return panels.value(
        Text(
            "Age of its reading",
            "Normal: about a second, the agent's interval, and after "
            f"{limits.STALE} s it is not the present any more.",
        ),
        Size(3, 4),
        {"age": gpu("gpumon_gpu_sample_age_seconds")},
        thresholds=limits.no_more_than(limits.STALE),
    )


def identity() -> tuple[Panel, ...]:
    """Return which GPU this is, and who holds it."""
    return (
        tables.facts(
            Text(
                "Which GPU this is",
                "UUID and serial stay with the board, address and module with the slot; the "
                "number is the driver's, which may change over a reboot.",
            ),
            Size(16, 4),
            gpu("gpumon_gpu_info"),
            {
                "instance": "Node",
                "gpu": "GPU",
                "name": "Model",
                "serial": "Serial",
                "pci_bus_id": "PCI address",
                "module_id": "Module",
                "vbios_version": "VBIOS",
                "uuid": "UUID",
            },
            links={"Node": links.NODE_OF_THIS},
            widths={
                "Node": 130,
                "GPU": 50,
                "Model": 200,
                "Serial": 140,
                "PCI address": 150,
                "Module": 70,
                "VBIOS": 130,
            },
        ),
        tables.listing(
            Text(
                "Jobs that hold it",
                "Share: the part of its energy that the job pays for now. Nobody: it is free, "
                "which is normal too.",
            ),
            Size(8, 4),
            (JOB, Key("user", "User"), Key("account", "Account"), Key("name", "Name")),
            (
                Column(
                    "Share",
                    where(
                        "sum by (job_id, user, account, name) ({0} * on (cluster, instance, job_id)"
                        " group_left (user, account, name) {1})",
                        gpu("gpumon_job_gpu_share"),
                        node("gpumon_job_info"),
                        unit=units.PercentUnit,
                    ),
                ),
            ),
            absent="none that answers",
        ),
    )


def happened() -> tuple[Panel, ...]:
    """Return states over time, alerts, and Xids."""
    return (
        _state_over_time(),
        _asked_for_over_time(),
        _alerts_about_this_gpu(),
        _xids_of_this_gpu(),
    )


def _state_over_time() -> Panel:
    return panels.timeline(
        Text(
            "State over time",
            "Normal: ok all the time. While it is anything else, its readings are left out, "
            "not repeated.",
        ),
        Size(5, 6),
        "state",
        coded("gpumon_gpu_state", "state", health.STATES, of=gpu),
        health.named(health.STATES),
    )


def _asked_for_over_time() -> Panel:
    return panels.timeline(
        Text(
            "Asked for over time",
            "What the driver asks for to make this GPU healthy. Normal: none all the time.",
        ),
        Size(4, 6),
        "action",
        coded("gpumon_gpu_recovery_action", "action", health.ACTIONS, of=gpu),
        health.named(health.ACTIONS),
    )


def _alerts_about_this_gpu() -> Panel:
    return alerts.firing(
        Text(
            "Alerts about this GPU",
            "Empty when all is well. gpumon explain ALERT shows what each means and what to "
            "do, and so does its runbook.",
        ),
        Size(7, 6),
        f'{FLEET},instance="$instance",gpu="$gpu"',
        (alerts.ABOUT,),
        also=alerts.Joined(
            f'{FLEET},instance="$instance",gpu="",uuid!=""',
            "and on (cluster, instance, uuid)",
            gpu("gpumon_gpu_up"),
        ),
    )


def _xids_of_this_gpu() -> Panel:
    return tables.listing(
        Text(
            "Xids of this GPU",
            "All that its agent remembers, and when the last of each code was. Vermilion: the "
            "GPU is to be drained. gpumon explain CODE says more. Empty when all is well.",
        ),
        Size(8, 6),
        (Key("xid", "Xid", words=xids.words(), width=330),),
        (
            Column(
                "Count",
                where("max by (xid) ({0})", gpu("gpumon_gpu_xid_errors_total")),
            ),
            Column(
                "Last",
                where(
                    "1000 * max by (xid) ({0})",
                    gpu("gpumon_gpu_xid_last_timestamp_seconds"),
                    unit=units.DateTimeFromNow,
                ),
            ),
        ),
        sort="Last",
        absent=panels.WELL,
    )
