"""GPU health: the numbers that matter, and which nodes they are about."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.kit import alerts, panels, style
from dashboards.kit.fleet_series import GONE, SICK, total
from dashboards.kit.panels import Size, Text
from dashboards.kit.promql import FLEET, Expr, aggregate, fleet, where

REPAIRS = {
    "reset": ("gpu_reset", "drain_and_reset"),
    "reboot": ("node_reboot", "bus_reset", "system_reboot"),
    "other": ("drain_p2p", "recover_imex_domain", "unknown"),
}
"""What a person does for each action that the driver asks for."""

CLASSES = ("hardware", "driver", "application")


def whole(expr: Expr) -> Expr:
    """Return whole numbers, which increases are not: they are extrapolated."""
    return where("round({0})", expr)


def numbers() -> tuple[Panel, ...]:
    """Return the numbers to look at first."""
    return (*_gpus(), *_parts())


def _gpus() -> tuple[Panel, ...]:
    """Return how many GPUs are ill."""
    states = {
        state.replace("_", " "): total("gpumon_gpus_in_state:count", state=state) for state in SICK
    }
    return (
        panels.value(
            Text(
                "GPUs that do not answer",
                "Normal: 0. Lost: it has left the bus. Hung: a call to the driver does not return. "
                "Error: the driver answers nonsense. Gone: the driver does not show it at all. "
                "Nodes whose agent is silent are on GPU monitoring itself.",
            ),
            Size(9, 4),
            {**states, "gone": GONE},
            thresholds=style.ANY_BAD,
        ),
        panels.value(
            Text(
                "GPUs to repair",
                "By what the driver asks for. Normal: 0. Drain the node first. Other: see the "
                "graph of repairs below.",
            ),
            Size(6, 4),
            {todo: _to_repair(actions) for todo, actions in REPAIRS.items()},
            thresholds=style.ANY_WARNING,
        ),
        panels.value(
            Text(
                "Xids in the last hour",
                "Hardware: normal 0, each asks for a look. Driver: normal 0. Application: "
                "programs' own doing, some are normal on every cluster.",
            ),
            Size(6, 4),
            {
                name: whole(total("gpumon_gpu_xid_errors:increase1h", **{"class": name}))
                for name in CLASSES
            },
            each={
                "hardware": style.ANY_BAD,
                "driver": style.ANY_WARNING,
                "application": style.thresholds(style.NEUTRAL),
            },
        ),
        panels.value(
            Text(
                "GPUs released",
                "The agent let go of them on purpose (gpumon release), for a repair. Neither good "
                "nor bad; an alert tells of those that were forgotten.",
            ),
            Size(3, 4),
            {"released": total("gpumon_gpus_in_state:count", state="released")},
        ),
    )


def _to_repair(actions: tuple[str, ...]) -> Expr:
    """Return how many wait for some actions: 0 if the drivers ask for none of them."""
    every = "gpumon_gpus_to_repair:count"
    return where("{0} or 0 * {1}", total(every, action=actions), total(every))


def _parts() -> tuple[Panel, ...]:
    """Return what is wrong with memory and links, and how often GPUs fail."""
    uncorrected = fleet("cluster:gpumon_gpu_ecc_errors:increase10m", error="uncorrected")
    return (
        _hardware_alerts(),
        _rows_to_replace(),
        _uncorrected_errors(uncorrected),
        _nvlinks_down(),
        _pcie_narrow(),
        _failures_in_1_000_gpu_hours(),
    )


def _hardware_alerts() -> Panel:
    return panels.value(
        Text(
            "Hardware alerts",
            "Alerts of the team hardware that fire: come now (critical), see to it today "
            "(warning). Normal: 0 and few. The table below says which. While rules are not "
            "evaluated (no Watchdog) it says so, for nobody knows.",
        ),
        Size(4, 4),
        {
            severity: alerts.number(f'{FLEET},team="hardware"', severity)
            for severity in ("critical", "warning")
        },
        each={"critical": style.ANY_BAD, "warning": style.ANY_WARNING},
        absent=alerts.NOT_EVALUATED,
    )


def _rows_to_replace() -> Panel:
    return panels.value(
        Text(
            "Rows to replace",
            "GPUs with a row of memory that waits for a reset (pending), or that could not be "
            "replaced (failed): have the board replaced. Normal: 0.",
        ),
        Size(4, 4),
        {
            "pending": total("gpumon_gpus_row_remap_pending:count"),
            "failed": total("gpumon_gpus_row_remap_failed:count"),
        },
        each={"pending": style.ANY_WARNING, "failed": style.ANY_BAD},
    )


def _uncorrected_errors(uncorrected: Expr) -> Panel:
    return panels.value(
        Text(
            "Uncorrected errors",
            "Of memory, within ten minutes: now, and the most in the time shown. Normal: 0. "
            "Each has cost a program its data.",
        ),
        Size(3, 4),
        {"now": whole(aggregate("sum", uncorrected)), "most": whole(_most(uncorrected))},
        thresholds=style.ANY_BAD,
    )


def _nvlinks_down() -> Panel:
    return panels.value(
        Text(
            "NVLinks down",
            "Normal: 0. A link that is down slows every job over several GPUs of its node.",
        ),
        Size(3, 4),
        {"down": total("gpumon_gpu_nvlinks_down:sum")},
        thresholds=style.ANY_BAD,
    )


def _pcie_narrow() -> Panel:
    return panels.value(
        Text(
            "PCIe narrow",
            "GPUs with fewer lanes than they and their slot have. Normal: 0. Reseat the board "
            "or the riser.",
        ),
        Size(3, 4),
        {"narrow": total("gpumon_gpus_pcie_narrow:count")},
        thresholds=style.ANY_WARNING,
    )


def _failures_in_1_000_gpu_hours() -> Panel:
    return panels.value(
        Text(
            "Failures in 1,000 GPU hours",
            "Xids of the last day. One hardware Xid a day among 1,000 GPUs is 0.04; young or "
            "hot boards fail more often. Compare with last month's, and with the vendor's.",
        ),
        Size(7, 4),
        {name: _failures(name) for name in CLASSES},
    )


def _most(of: Expr) -> Expr:
    """Return the most in the time shown, of a series of each cluster and place."""
    return where("sum(max_over_time({0}[$__range]))", of)


def _failures(name: str) -> Expr:
    """Return a class's failures per 1,000 GPU hours, over the GPUs of all chosen clusters."""
    return failures(**{"class": name})


def failures(*by: str, **labels: str) -> Expr:
    """Return failures per 1,000 GPU hours, each cluster weighing as many as it has GPUs."""
    summed = f"sum by ({', '.join(by)})" if by else "sum"
    return where(
        f"{summed} ({{0}} * on (cluster) group_left () sum by (cluster) ({{1}}))"
        " / on () group_left () sum({1})",
        fleet("cluster:gpumon_gpu_xid_errors:per_1000_gpu_hours", **labels),
        fleet("cluster:gpumon_gpus:count"),
    )
