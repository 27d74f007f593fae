"""The dashboard "GPU": everything known of one GPU."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import frame, gpu_activity, gpu_health, gpu_now, gpu_power
from dashboards.frame import Row
from dashboards.gpu_series import gpu
from dashboards.promql import NODE


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
            Row("Now", (*gpu_now.now(), *gpu_now.identity())),
            Row("What happened to it", gpu_now.happened()),
            Row("Power and energy", (*gpu_power.power(), *gpu_power.energy())),
            Row("Clocks and what holds them down", gpu_power.clocks()),
            Row("Heat", gpu_power.heat()),
            Row("What it does, and for whom", gpu_activity.activity()),
            Row("Links", (*gpu_activity.nvlink(), *gpu_activity.pcie())),
            Row("Memory and fabric", gpu_health.memory()),
            Row("Measuring, and how it is divided", gpu_health.measuring()),
        ),
        frame.NODE_SOURCE,
        frame.xids(gpu("gpumon_gpu_xid_last_timestamp_seconds")),
    )
