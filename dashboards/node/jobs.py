"""GPU node: whose jobs it has, and what is known to be wrong."""

from __future__ import annotations

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.kit import alerts, links, panels, tables, xids
from dashboards.kit.panels import Size, Text
from dashboards.kit.promql import ANYWHERE, FLEET, Expr, kilowatt_hours, node, where
from dashboards.kit.tables import Column, Key

SHARE = node("gpumon_job_gpu_share")
HOLDS = where("({0} >= bool 0)", SHARE)
GPU = Key("gpu", "GPU", links.GPU, width=50)


def jobs() -> tuple[Panel, ...]:
    """Return the node's jobs, its alerts, and its Xids."""
    activity = where(
        "({0} or {1})", node("gpumon_gpu_sm_active_ratio"), node("gpumon_gpu_utilization_ratio")
    )
    return (
        _jobs_on_this_node(activity),
        _alerts_about_this_node(),
        _xids_of_its_gpus(),
    )


def _jobs_on_this_node(activity: Expr) -> Panel:
    return tables.listing(
        Text(
            "Jobs on this node",
            "What each holds here, and its joules here so far. A job that has ended stays for "
            "a quarter of an hour. Normal: none, while the node is free.",
        ),
        Size(10, 7),
        (
            Key("job_id", "Job", links.JOB_OF_THIS, width=100),
            Key("user", "User"),
            Key("account", "Account"),
            Key("name", "Name"),
        ),
        (
            Column("GPUs", _by_job("sum", HOLDS)),
            Column("Activity", _by_job("avg", _read(HOLDS, activity))),
            Column("Power", _by_job("sum", _read(SHARE, node("gpumon_gpu_power_watts")))),
            Column(
                "Energy",
                kilowatt_hours(_by_job("sum", node("gpumon_job_gpu_energy_joules_total"))),
            ),
        ),
        sort="GPUs",
        absent="none that answers",
    )


def _alerts_about_this_node() -> Panel:
    return alerts.firing(
        Text(
            "Alerts about this node",
            "And about its GPUs. Empty when all is well. gpumon explain ALERT shows what each "
            "means and what to do, and so does its runbook.",
        ),
        Size(7, 7),
        f'{FLEET},instance="$instance"',
        (GPU, alerts.ABOUT),
        also=alerts.Joined(
            f'{ANYWHERE},instance="",node!=""', "and on (cluster, node)", node("up")
        ),
    )


def _xids_of_its_gpus() -> Panel:
    return tables.listing(
        Text(
            "Xids of its GPUs",
            "All that the agent remembers, and when the last of each code was. Vermilion: the "
            "GPU is to be drained. gpumon explain CODE says more. Empty when all is well.",
        ),
        Size(7, 7),
        (GPU, Key("xid", "Xid", words=xids.words(), width=250)),
        (
            Column(
                "Last",
                where(
                    "1000 * max by (gpu, xid) ({0})",
                    node("gpumon_gpu_xid_last_timestamp_seconds"),
                    unit=units.DateTimeFromNow,
                ),
            ),
        ),
        sort="Last",
        absent=panels.WELL,
    )


def _read(held: Expr, reading: Expr) -> Expr:
    """Return a reading of each GPU that a job holds, times what stands for holding it."""
    each = "(cluster, instance, uuid)"
    one = f"max by {each} ({{1}})"  # two boards may report one uuid
    return where(f"({one} * on {each} group_right () {{0}})", held, reading, unit=reading.unit)


def _by_job(function: str, of: Expr) -> Expr:
    """Aggregate over a job's GPUs here, with whose job it is."""
    whose = "user, account, name"
    return where(
        f"{function} by (job_id, {whose})"
        f" ({{0}} * on (cluster, instance, job_id) group_left ({whose}) {{1}})",
        of,
        node("gpumon_job_info"),
    )
