"""GPU job: its GPUs side by side, and what is wrong with them."""

from __future__ import annotations

import dataclasses

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.job.series import (
    HELD_LATELY,
    JOB,
    RECENT,
    SCORE,
    drawn,
    held,
    here,
    listed,
    middle,
    with_gpu,
)
from dashboards.kit import alerts, keys, limits, links, panels, style, tables, xids
from dashboards.kit.panels import MEDIAN, Size, Text
from dashboards.kit.promql import FLEET, Expr, aggregate, increase, rate, where
from dashboards.kit.tables import Column, Key
from dashboards.power.heat import BY_HEAT, BY_HEAT_OR_BRAKE

NODE = (dataclasses.replace(keys.NODE, width=110), keys.HIDDEN_CLUSTER)
"""A job is in one cluster, which only its links need."""

GPU = (*NODE, keys.GPU)

SM_CLOCK = here("gpumon_gpu_clock_hertz", clock="sm")
ACTIVITY = where(
    "({0} or {1})", here("gpumon_gpu_sm_active_ratio"), here("gpumon_gpu_utilization_ratio")
)


def troubles() -> tuple[Panel, ...]:
    """Return what is known to be wrong."""
    return (
        alerts.firing(
            Text(
                "Alerts about the job",
                "That it is idle or stalled, or has a straggler. Empty when all is well.",
            ),
            Size(7, 7),
            f"{FLEET},{JOB}",
            NODE,
        ),
        alerts.firing(
            Text(
                "Alerts on its nodes",
                "Also on GPUs there that are another job's, and on nodes that it has left within "
                "the time shown. Empty when all is well.",
            ),
            Size(8, 7),
            alerts.Joined(f'{FLEET},job_id=""', "and on (cluster, instance)", HELD_LATELY),
            (*GPU, alerts.ABOUT),
            also=alerts.Joined(
                f'{FLEET},instance="",node!=""', "and on (cluster, node)", HELD_LATELY
            ),
        ),
        tables.listing(
            Text(
                "Xids on its GPUs",
                "While it held them, within the time shown; some minutes after its end too, for an "
                "Xid ends many a job. The last of each code. Empty when all is well.",
            ),
            Size(9, 7),
            (*GPU, Key("xid", "Xid", words=xids.words(), width=290)),
            (Column("Last", _xids()),),
            sort="Last",
            absent=panels.WELL,
        ),
    )


def _xids() -> Expr:
    """Return when Xids were, from a minute before the job was first seen on their GPU."""
    each = "on (cluster, instance, uuid)"
    return where(
        f"1000 * max by (cluster, instance, gpu, xid) ("
        f"max_over_time(({{0}} and {each} {{1}})[$__range:1m])"
        f" >= {each} group_left ()"
        f" (min by (cluster, instance, uuid) (min_over_time(timestamp({{1}})[$__range:1m])) - 60))",
        here("gpumon_gpu_xid_last_timestamp_seconds"),
        RECENT,
        unit=units.DateTimeFromNow,
    )


def side_by_side() -> tuple[Panel, ...]:
    """Return readings of the GPUs that differ most, beside the median of all."""
    return (
        panels.lines(
            Text(
                "Straggler score",
                "Distance of a GPU's power from the job's median, in robust standard deviations. "
                f"Beyond {limits.STRAGGLES} (dashed), either way, it works otherwise than its "
                "peers: drawing more, it works while they wait for it.",
            ),
            Size(12, 9),
            {LEGEND: drawn_score()},
            axis=(None, None),
            thresholds=limits.score_lines(),
            many=True,
            link=links.GPU_OF_A_NODE,
        ),
        _compared(
            "Power, GPU by GPU",
            "GPUs of a synchronous job draw alike. One far from the median waits for others, or "
            "others for it.",
            Size(12, 9),
            here("gpumon_gpu_power_watts"),
        ),
        _compared(
            "Activity, GPU by GPU",
            "SM activity, else utilisation. Alike in a synchronous job; ranks of a pipeline may "
            "differ on purpose.",
            Size(8, 9),
            ACTIVITY,
        ),
        _compared(
            "SM clock, GPU by GPU",
            "One that stays below its peers under load is held down: see below by what.",
            Size(8, 9),
            SM_CLOCK,
        ),
        _compared(
            "Temperature margin, GPU by GPU",
            f"Degrees to the slowdown. Normal: above {limits.LOW_MARGIN}; at 0 the GPU slows "
            "itself down, and the job with it.",
            Size(8, 9),
            here("gpumon_gpu_temperature_margin_celsius"),
            margin=True,
        ),
    )


LEGEND = "{{instance}} GPU {{gpu}}"


def drawn_score() -> Expr:
    """Return the score of the GPUs that are drawn."""
    return drawn(with_gpu(SCORE))


def _compared(title: str, reading: str, size: Size, of: Expr, *, margin: bool = False) -> Panel:
    """Return lines of the GPUs that differ most, and of the median."""
    return panels.lines(
        Text(title, f"The twenty whose power differs most, and the median of all. {reading}"),
        size,
        {LEGEND: drawn(of), MEDIAN: middle(of)},
        axis=(None, None) if margin else (0, None),
        thresholds=limits.margin() if margin else None,
        many=True,
        link=links.GPU_OF_A_NODE,
    )


def held_back() -> tuple[Panel, ...]:
    """Return what holds the GPUs back, and what goes between them."""
    lost = here("gpumon_gpu_throttle_seconds_total")
    bad = here("gpumon_gpu_throttle_seconds_total", reason=BY_HEAT_OR_BRAKE)
    return (
        panels.lines(
            Text(
                "GPU time held down, by reason",
                "Mean share of time over the job's GPUs, counted by the driver. Normal: "
                "sw_power_cap under full load, everything else 0.",
            ),
            Size(8, 9),
            {"{{reason}}": aggregate("avg", held(rate(lost)), "reason")},
            axis=(0, None),
        ),
        tables.listing(
            Text(
                "Held down by heat or a power brake",
                "The twenty GPUs that lost most time so, over the time shown. Heat: look at the "
                "cooling. Power brake: at the supply. Empty when all is well.",
            ),
            Size(8, 9),
            (*GPU, Key("reason", "Reason")),
            (
                Column(
                    "Time lost",
                    where(
                        "topk(20, sum by (cluster, instance, gpu, reason) ({0}) > 0)",
                        held(increase(bad)),
                    ),
                ),
            ),
            sort="Time lost",
            absent=panels.WELL,
        ),
        _compared(
            "NVLink sent, GPU by GPU",
            "Data without protocol. Alike among the GPUs of a node; none where GPUs are not "
            "linked.",
            Size(8, 9),
            rate(here("gpumon_gpu_nvlink_transmit_bytes_total")),
        ),
    )


def every_gpu() -> tuple[Panel, ...]:
    """Return the table of the job's GPUs."""
    down = where(
        "({0} - {1})", here("gpumon_gpu_nvlink_links"), here("gpumon_gpu_nvlink_links_active")
    )
    missing = where(
        "({0} - {1})", here("gpumon_gpu_pcie_link_width_max"), here("gpumon_gpu_pcie_link_width")
    )
    power = here("gpumon_gpu_power_watts")
    of_median = where("{0} / scalar({1})", listed(power), middle(power), unit=units.PercentUnit)
    lost = aggregate(
        "sum",
        rate(here("gpumon_gpu_throttle_seconds_total", reason=BY_HEAT)),
        "cluster",
        "instance",
        "gpu",
        "uuid",
    )
    worse = style.some(style.BAD)
    return (
        tables.listing(
            Text(
                "The GPUs of the job",
                "As at the end of the time shown; of more than 50, those whose power differs "
                "most. A straggler shows by its score, and mostly in a column beside it.",
            ),
            Size(24, 14),
            GPU,
            (
                Column("Score", listed(where("abs({0})", with_gpu(SCORE))), limits.score()),
                Column("Power", listed(power)),
                Column("Of the median", of_median),
                Column("Activity", listed(ACTIVITY)),
                Column("SM clock", listed(SM_CLOCK)),
                Column(
                    "Margin",
                    listed(here("gpumon_gpu_temperature_margin_celsius")),
                    limits.margin(),
                ),
                Column(
                    "Lost to heat",
                    listed(lost),
                    style.thresholds(style.NEUTRAL, (0.01, style.BAD)),
                ),
                Column("NVLinks down", listed(down), worse),
                Column("PCIe lanes missing", listed(missing), worse),
            ),
            sort="Score",
            absent="holds none now",
        ),
    )
