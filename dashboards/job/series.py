"""GPU job: which series are the job's, and which of its GPUs are drawn.

A job may hold thousands of GPUs in a fleet of many more. Readings are selected by its nodes first,
so that a query costs what the job is large, not what the fleet is. The names of a thousand nodes
are many, and Grafana sends a query along with each series of its answer: name them once.
"""

from __future__ import annotations

from dashboards.kit.metrics import known
from dashboards.kit.promql import CLUSTER, FLEET, Expr, aggregate, select, where

NODES = f'{CLUSTER},instance=~"$nodes"'
"""The nodes on which the job held GPUs within the time shown."""

JOB = 'job_id="$job_id"'

BY_GPU = "and on (cluster, instance, uuid)"

HELD = select("gpumon_job_gpu_share", f"{CLUSTER},{JOB}")
"""The GPUs that the job holds."""

HELD_LATELY = where("last_over_time({0}[$__range])", HELD)
"""The GPUs that it held at some time of that shown: one that is lost is no more held."""

RECENT = select("uuid:gpumon_gpu_job:recent", f"{FLEET},{JOB}")
"""The same, and still for some minutes after it let go of them."""

SCORE = select("uuid:gpumon_gpu_straggler_score:z", f"{FLEET},{JOB}")

_FAR = f"abs({SCORE.text} @ end()) or abs(avg_over_time({SCORE.text}[$__range] @ end()))"
"""How far a GPU is from the job's median at the end of the time shown; where it is no more held,
how far it was."""

DRAWN = f"topk(20, {_FAR})"
LISTED = f"topk(50, {_FAR})"


OF_TARGETS = {"gpu"}
"""Labels that may change while a series goes on, as those of a target: it is counted once."""


def recorded(name: str) -> Expr:
    """Return a recorded series of the job."""
    return select(name, f"{FLEET},{JOB}")


def counted(name: str, *by: str, **labels: str) -> Expr:
    """Return a counter of the job's, summed over its nodes, also where they have gone since."""
    counter = select(name, f"{CLUSTER},{JOB}", **labels)
    own = ", ".join(("cluster", "instance", *sorted(known(name).labels - OF_TARGETS)))
    last = where(f"max by ({own}) (last_over_time({{0}}[$__range]))", counter)
    return aggregate("sum", last, *by)


def here(name: str, **labels: str | tuple[str, ...]) -> Expr:
    """Return a reading on the job's nodes, of GPUs of others too."""
    return select(name, NODES, **labels)


def held(reading: Expr) -> Expr:
    """Return a reading of the GPUs that the job holds."""
    return where(f"({{0}} {BY_GPU} {{1}})", reading, HELD)


def drawn(reading: Expr) -> Expr:
    """Return a reading of the job's GPUs that differ most."""
    return where(f"{{0}} {BY_GPU} {DRAWN}", held(reading))


def listed(reading: Expr) -> Expr:
    """Return a reading of the job's GPUs that a table has room for, by GPU."""
    return where(f"max by (cluster, instance, gpu) ({{0}} {BY_GPU} {LISTED})", held(reading))


def with_gpu(of: Expr) -> Expr:
    """Return a recorded series by ``uuid`` with the GPU's number."""
    each = "on (cluster, instance, uuid)"
    return where(
        f"({{0}} * {each} group_left (gpu) topk by (cluster, instance, uuid) (1, {{1}} >= bool 0))",
        of,
        HELD,
    )


def middle(reading: Expr) -> Expr:
    """Return the median over the job's GPUs."""
    return where("quantile(0.5, {0})", held(reading))
