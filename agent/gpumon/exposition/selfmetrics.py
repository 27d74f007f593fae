"""What the agent itself costs: CPU, memory and files of its two processes."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import Metric as Family

from gpumon.exposition.negotiation import Format
from gpumon.model import Tier


class SelfMetrics:
    """``process_*`` for the server, ``gpumon_reader_process_*`` for the reader."""

    def __init__(self, reader_pid: Callable[[], int | None], tier: Tier = Tier.STANDARD) -> None:
        """``reader_pid`` returns the reader's process id, or None while there is none."""
        self._tier = tier
        nowhere = CollectorRegistry()  # a collector wants one; scrapes ask it directly
        self._collectors = (
            ProcessCollector(registry=nowhere),
            # With no such process the collector finds no folder in /proc and yields nothing.
            ProcessCollector(
                namespace="gpumon_reader", pid=lambda: reader_pid() or 0, registry=nowhere
            ),
        )

    def text(self, format_: Format) -> str:
        """Return the exposition, without an end marker."""
        return "".join(
            _family(family, format_)
            for collector in self._collectors
            for family in collector.collect()
            if self._tier is Tier.FULL or family.name not in _FULL
        )


_FULL = frozenset(
    (
        *("process_virtual_memory_bytes", "process_max_fds"),
        *("gpumon_reader_process_virtual_memory_bytes", "gpumon_reader_process_max_fds"),
        *("gpumon_reader_process_open_fds", "gpumon_reader_process_start_time_seconds"),
    )
)
"""What nobody reads: at the full tier only."""


def _family(family: Family, format_: Format) -> str:
    """Write a family whose samples have no labels."""
    total = "_total" if family.type == "counter" else ""
    name = family.name + (total if format_ is Format.TEXT else "")
    lines = [f"# HELP {name} {family.documentation}", f"# TYPE {name} {family.type}"]
    lines += [f"{sample.name} {sample.value}" for sample in family.samples]
    return "\n".join([*lines, ""])
