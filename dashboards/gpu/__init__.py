"""The dashboard "GPU": everything known of one GPU."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.gpu import activity, health, now, power
from dashboards.gpu.series import gpu
from dashboards.kit import frame
from dashboards.kit.frame import Row
from dashboards.kit.promql import NODE


def dashboard() -> Dashboard:
    """Return the dashboard."""
    built = (
        builders.Dashboard("GPU")
        .uid("gpumon-gpu")
        .description("Everything that is known of one GPU, its energy and its jobs.")
        .time("now-3h", "now")
        .variables(
            [*frame.node_variables(), frame.choose("gpu", f"gpumon_gpu_up{{{NODE}}}", "GPU")]
        )
    )
    return frame.assemble(
        built,
        (
            Row("Now", (*now.now(), *now.identity())),
            Row("What happened to it", now.happened()),
            Row("Power and energy", (*power.power(), *power.energy())),
            Row("Clocks and what holds them down", power.clocks()),
            Row("Heat", power.heat()),
            Row("What it does, and for whom", activity.activity()),
            Row("Links", (*activity.nvlink(), *activity.pcie())),
            Row("Memory and fabric", health.memory()),
            Row("Measuring, and how it is divided", health.measuring()),
        ),
        frame.NODE_SOURCE,
        frame.xids(gpu("gpumon_gpu_xid_last_timestamp_seconds")),
    )
