"""What the agent itself costs: CPU, memory and files of its two processes."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import (
    generate_latest as generate_openmetrics,
)

from gpumon.exposition.negotiation import Format


class SelfMetrics:
    """``process_*`` for the server, ``gpumon_reader_process_*`` for the reader."""

    def __init__(self, reader_pid: Callable[[], int | None]) -> None:
        """``reader_pid`` returns the reader's process id, or None while there is none."""
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        # With no such process the collector finds no folder in /proc and yields nothing.
        ProcessCollector(
            namespace="gpumon_reader", pid=lambda: reader_pid() or 0, registry=self._registry
        )

    def text(self, format_: Format) -> str:
        """Return the exposition, without an end marker."""
        if format_ is Format.TEXT:
            return generate_latest(self._registry).decode()
        body: bytes = generate_openmetrics(self._registry)  # type: ignore[no-untyped-call]
        return body.decode().removesuffix("# EOF\n")
