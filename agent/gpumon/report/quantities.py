"""The counters that a report asks a Prometheus for, and their recorded series.

``deploy/prometheus/rules/report.yml`` has the rules.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from gpumon.rules.levels import TARGET as LABELS

TARGET = ("cluster", "instance")
GPU = ("gpu", "uuid")
PLACE = ("node", "rack", "row", "hall", "node_partition")
FACTS = ("job_id", "user", "account", "partition", "name", "manager")


def window_of(hours: int) -> str:
    """Return a window of some hours that a value at its beginning is not in.

    Windows are closed at both ends up to Prometheus 2, and open at the left since 3.
    """
    return f"{hours * 3_600_000 - 1}ms"


@dataclasses.dataclass(frozen=True, slots=True)
class Quantity:
    """A counter, the labels beyond the target's by which it is wanted, and its recorded series."""

    metric: str
    labels: tuple[str, ...]
    recorded: str

    @property
    def rule(self) -> str:
        """The expression of the recording rule: each GPU once, however many scrape it."""
        kept = ", ".join((*LABELS, *self.labels))
        each = ", ".join((*LABELS, *GPU, *self.labels))
        return f"sum by ({kept}) (\n  max by ({each}) ({self.metric})\n)"

    def query(self, metric: str, window: str, labels: Iterable[str] = ()) -> str:
        """Return a query for the highest value in a window, by target and labels.

        Replicas, and a target that got other labels within the window, are counted once.
        """
        by = (*TARGET, *self.labels, *labels)
        each = by if ":" in metric else (*by, *GPU)
        highest = f"max by ({', '.join(each)}) (max_over_time({metric}[{window}]))"
        return highest if each == by else f"sum by ({', '.join(by)}) ({highest})"


UNALLOCATED = Quantity(
    "gpumon_unallocated_energy_joules_total", (), "instance:gpumon_unallocated_energy_joules:sum"
)
JOBS = Quantity(
    "gpumon_job_gpu_energy_joules_total",
    ("job_id",),
    "instance_job_id:gpumon_job_gpu_energy_joules:sum",
)
IDLE = Quantity(
    "gpumon_job_idle_energy_joules_total",
    ("job_id",),
    "instance_job_id:gpumon_job_idle_energy_joules:sum",
)
SECONDS = Quantity(
    "gpumon_job_gpu_seconds_total",
    ("job_id", "state"),
    "instance_job_id:gpumon_job_gpu_seconds:sum",
)
HOST = Quantity(
    "gpumon_job_host_energy_joules_total",
    ("job_id", "method"),
    "instance_job_id:gpumon_job_host_energy_joules:sum",
)
NODE = Quantity(
    "gpumon_node_energy_joules_total",
    ("method", "source"),
    "instance:gpumon_node_energy_joules:sum",
)
QUANTITIES = (UNALLOCATED, JOBS, IDLE, SECONDS, HOST, NODE)

INFO = "gpumon_job_info"
INFO_RECORDED = "job_id:gpumon_job_info:group"
INFO_RULE = f"group by (cluster, job_id, user, account, partition, name, manager) ({INFO})"
