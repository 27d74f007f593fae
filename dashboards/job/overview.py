"""GPU job: whose it is, how it does, and what it has cost so far."""

from __future__ import annotations

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.job.series import BY_GPU, HELD, HELD_LATELY, JOB, counted, held, here, recorded
from dashboards.kit import limits, panels, style, tables
from dashboards.kit.panels import Size, Text
from dashboards.kit.promql import (
    CLUSTER,
    Expr,
    aggregate,
    fleet,
    kilowatt_hours,
    rate,
    select,
    where,
)

GPU_JOULES = "gpumon_job_gpu_energy_joules_total"
HOST_JOULES = "gpumon_job_host_energy_joules_total"

LEAST_GPUS = limits.limit("straggler.least_gpus")

POWER = aggregate("sum", recorded("job_id:gpumon_job_power_watts:sum"))
GPUS = recorded("job_id:gpumon_job_gpus:count")
IDLE_GPUS = aggregate("sum", recorded("job_id:gpumon_job_idle_gpus:count"))
ACTIVITY = aggregate("avg", recorded("job_id:gpumon_job_activity_ratio:avg"))


def now() -> tuple[Panel, ...]:
    """Return whose the job is, and the numbers to look at first."""
    return (
        _whose_job(),
        _held_now(),
        _power_of_its_gpus(),
        _activity(),
        _idle(),
        _worst_straggler(),
        _not_answering(),
    )


def _whose_job() -> Panel:
    return tables.facts(
        Text(
            "Whose job",
            "As the workload manager tells it. User and name are there only where the agents "
            "may show them (see docs/jobs.md).",
        ),
        Size(6, 4),
        where("last_over_time({0}[$__range])", recorded("job_id:gpumon_job_info:group")),
        {
            "user": "User",
            "account": "Account",
            "name": "Name",
            "partition": "Partition",
            "cluster": "Cluster",
        },
    )


def _held_now() -> Panel:
    return panels.value(
        Text(
            "Held now",
            "GPUs that the job has, of the most that it had in 7 days, and the nodes they are "
            "on. Fewer than the most: some are lost, or it let go of them. For a job that has "
            "ended, choose a time at which it ran.",
        ),
        Size(4, 4),
        {
            "GPUs": aggregate("sum", GPUS),
            "of most": where("sum(max_over_time({0}[7d]))", GPUS),
            "nodes": where("count(count by (cluster, instance) ({0}))", HELD),
        },
        absent="holds none now",
    )


def _power_of_its_gpus() -> Panel:
    return panels.value(
        Text(
            "Power of its GPUs",
            "Now, and what the limits of its GPUs add up to. Of a GPU that several jobs share, "
            "its part.",
        ),
        Size(4, 4),
        {
            "now": POWER,
            "limits": aggregate("sum", held(here("gpumon_gpu_power_limit_watts"))),
        },
        absent="holds none now",
    )


def _activity() -> Panel:
    return panels.value(
        Text(
            "Activity",
            "Mean over its GPUs' SMs. Training keeps it at 50 to 90 %; below "
            f"{limits.IDLE_WORDS} the job does nothing and pays all the same.",
        ),
        Size(2, 4),
        {"activity": ACTIVITY},
        thresholds=limits.activity(style.WELL),
        absent="holds none now",
    )


def _idle() -> Panel:
    return panels.value(
        Text(
            "Idle",
            f"GPUs that it holds and has not used {limits.IDLE_FOR}. Normal: 0. Else it "
            "asked for more than its program uses.",
        ),
        Size(2, 4),
        {"idle": IDLE_GPUS},
        thresholds=style.ANY_WARNING,
        absent="holds none now",
    )


def _worst_straggler() -> Panel:
    return panels.value(
        Text(
            "Worst straggler",
            "How far the GPU that differs most is from the job's median, in robust standard "
            f"deviations. Above {limits.STRAGGLES} it is a straggler, in jobs of "
            f"{LEAST_GPUS} GPUs and more. Below, the graphs say which.",
        ),
        Size(3, 4),
        {"score": aggregate("max", recorded("job_id:gpumon_gpu_straggler_score:max"))},
        thresholds=limits.no_more_than(limits.STRAGGLES),
        absent="holds none now",
    )


def _not_answering() -> Panel:
    return panels.value(
        Text(
            "Not answering",
            "Of the GPUs that it held within the time shown, and of their nodes; what was lost "
            "earlier shows only as fewer held now than the most. Normal: 0. A synchronous job "
            "ends, or hangs, with the first that is gone.",
        ),
        Size(3, 4),
        {
            "GPUs": where(
                f"sum(({{0}} == bool 0) {BY_GPU} {{1}})", here("gpumon_gpu_up"), HELD_LATELY
            ),
            "nodes": where("sum({0} == bool 0)", here("up")),
        },
        thresholds=style.ANY_BAD,
    )


def cost() -> tuple[Panel, ...]:
    """Return what the job has used, and what of it was waste."""
    seconds = counted("gpumon_job_gpu_seconds_total", "state")
    every = counted("gpumon_job_gpu_seconds_total")
    return (
        _energy_so_far(),
        _cost_so_far(),
        _gpu_hours_so_far(seconds),
        _hours_left_idle(every),
        _energy_left_idle(),
        _held_for(every),
    )


def _energy_so_far() -> Panel:
    return panels.value(
        Text(
            "Energy so far",
            "Since the job began, whatever time is shown. GPUs: the devices. Host: its part "
            "of what its nodes draw beyond their GPUs, and how that is known.",
        ),
        Size(7, 4),
        {
            "GPUs": kilowatt_hours(counted(GPU_JOULES)),
            "host, {{method}}": kilowatt_hours(counted(HOST_JOULES, "method")),
        },
    )


def _cost_so_far() -> Panel:
    return panels.value(
        Text(
            "Cost so far",
            "Of GPUs and host, times the PUE, at this hour's price: indicative. gpumon report "
            "makes the bill, hour by hour.",
        ),
        Size(3, 4),
        {"{{currency}}": _cost()},
        named=True,
        absent="price or host power unknown",
    )


def _gpu_hours_so_far(seconds: Expr) -> Panel:
    return panels.value(
        Text(
            "GPU hours so far",
            f"Hours times GPUs. Active: SM activity of {limits.IDLE_WORDS} or more. "
            "Idle: held all the same.",
        ),
        Size(5, 4),
        {"{{state}}": where("{0} / 3600", seconds, unit=units.Short)},
        named=True,
    )


def _hours_left_idle(every: Expr) -> Panel:
    return panels.value(
        Text(
            "Hours left idle",
            "Share of the GPU hours so far in which the job left a GPU idle. Some is normal: "
            "loading data, compiling, writing checkpoints.",
        ),
        Size(3, 4),
        {
            "idle": where(
                "{0} / ({1} > 0)",
                counted("gpumon_job_gpu_seconds_total", state="idle"),
                every,
                unit=units.PercentUnit,
            )
        },
        thresholds=style.worsening(0.1, 0.5),
    )


def _energy_left_idle() -> Panel:
    return panels.value(
        Text(
            "Energy left idle",
            "What GPUs drew that the job held and left idle: its waste, part of the energy so "
            "far. Normal: little of it.",
        ),
        Size(3, 4),
        {"idle": kilowatt_hours(counted("gpumon_job_idle_energy_joules_total"))},
    )


def _held_for(every: Expr) -> Panel:
    return panels.value(
        Text(
            "Held for",
            "How long it has had its GPUs: GPU hours so far by the GPUs that it holds now. "
            "Without times at which an agent was down.",
        ),
        Size(3, 4),
        {"held": where("{0} / count({1})", every, HELD)},
        absent="holds none now",
    )


def _cost() -> Expr:
    """Return the money by currency: PUE belongs on whole nodes, so the host must be known.

    What a kilowatt hour of nodes costs, PUE included, is what its cluster pays for all of them.
    """
    return where(
        "sum by (currency) (({0} + {1}) * on (cluster) group_right ()"
        " sum by (cluster, currency) ({2})"
        " / on (cluster) group_left () (sum by (cluster) ({3}) / 1000))",
        kilowatt_hours(counted(GPU_JOULES, "cluster")),
        kilowatt_hours(counted(HOST_JOULES, "cluster")),
        fleet("cluster:gpumon_cost:rate_per_hour"),
        fleet("cluster:gpumon_node_power_watts:sum"),
        unit=units.Short,
    )


def over_time() -> tuple[Panel, ...]:
    """Return the job as a whole over time."""
    own = f"{CLUSTER},{JOB}"
    return (
        panels.lines(
            Text(
                "Power of the job",
                "Its GPUs, and on top its part of the rest of its nodes, from their joules. Deep "
                "dips in step are checkpoints or waiting; a flat low line is a job that hangs.",
            ),
            Size(10),
            {
                "GPUs": aggregate("sum", rate(select(GPU_JOULES, own))),
                "host, {{method}}": aggregate("sum", rate(select(HOST_JOULES, own)), "method"),
            },
            stacked=True,
        ),
        panels.lines(
            Text(
                "What its GPUs do",
                "Means. Utilisation near 100 % with SM activity near 0: they wait for each other. "
                "Tensor near 0 in training: the tensor cores are not used.",
            ),
            Size(7),
            {
                "SM activity": ACTIVITY,
                "tensor activity": aggregate("avg", held(here("gpumon_gpu_tensor_active_ratio"))),
                "utilisation": aggregate("avg", held(here("gpumon_gpu_utilization_ratio"))),
            },
            axis=(0, 1),
        ),
        panels.lines(
            Text(
                "GPUs of the job",
                "Held, and of these idle for ten minutes on end. Normal: none idle, and as many "
                "held as it asked for until it ends.",
            ),
            Size(7),
            {
                "held": aggregate("sum", GPUS),
                "idle": IDLE_GPUS,
            },
            colors={"held": style.WELL, "idle": style.WARNING},
        ),
    )
