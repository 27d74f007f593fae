"""The log's line of each event; a flood of one kind is counted in full and logged in short."""

from __future__ import annotations

import dataclasses
import logging

from gpumon.clock import Clock
from gpumon.model import GpuIdentity, SxidEvent, XidEvent
from gpumon.times import format_time
from gpumon.xids import advice, xid

log = logging.getLogger(__name__)

FLOOD_LINES = 10
"""Lines of one GPU and code that are logged in FLOOD_SECONDS; more are counted, and summed up."""

FLOOD_SECONDS = 60.0

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}


@dataclasses.dataclass(slots=True)
class _Flood:
    """The lines of one device and code since ``since`` (monotonic seconds)."""

    since: float
    lines: int = 0


class EventLog:
    """Writes a line for each event, unless there were many of its kind in the last minute."""

    def __init__(self, clock: Clock) -> None:
        """Start with nothing written."""
        self._clock = clock
        self._floods: dict[tuple[str, str, int], _Flood] = {}

    def xid(self, event: XidEvent, gpu: GpuIdentity | None, uuid: str) -> None:
        """Write an Xid's line; ``uuid`` is known also of a GPU that is not to be seen now."""
        if self._is_flood("Xid", event.pci, event.xid):
            return
        known = xid(event.xid)
        place = f"GPU {gpu.index}" if gpu else f"the GPU at {event.pci}"
        fields = {
            "xid": event.xid,
            "gpu": gpu.index if gpu else "",
            "uuid": uuid,
            "pci": event.pci,
            "place": gpu.place if gpu else "",
            "class": known.xid_class,
            "severity": known.severity,
            "source": event.source,
            "pid": "" if event.pid is None else event.pid,
            "process": event.process,
            "gpu_instance": "" if event.gpu_instance is None else event.gpu_instance,
            "event_time": format_time(event.time),
            "text": event.text,
            "next_step": advice(event.xid),
        }
        log.log(
            _LEVELS[known.severity],
            "Xid %d on %s: %s",
            event.xid,
            place,
            known.meaning,
            extra={"fields": {name: value for name, value in fields.items() if value != ""}},
        )

    def sxid(self, event: SxidEvent) -> None:
        """Likewise for an NVSwitch: a broken link can report itself hundreds of times a second."""
        if self._is_flood("SXid", event.pci, event.sxid):
            return
        fields = {
            "sxid": event.sxid,
            "nvswitch": event.nvswitch,
            "pci": event.pci,
            "fatal": event.fatal,
            "event_time": format_time(event.time),
        }
        log.log(
            logging.ERROR if event.fatal else logging.WARNING,
            "SXid %d on NVSwitch %d: %s",
            event.sxid,
            event.nvswitch,
            event.text,
            extra={"fields": fields},
        )

    def _is_flood(self, kind: str, pci: str, code: int) -> bool:
        """Count a line before it is written, and return whether it is one too many."""
        flood = self._floods.setdefault((kind, pci, code), _Flood(self._clock.monotonic()))
        flood.lines += 1
        return flood.lines > FLOOD_LINES

    def sum_up(self) -> None:
        """Say how many lines were left out, once their minute is over."""
        now = self._clock.monotonic()
        over = [key for key, flood in self._floods.items() if now - flood.since > FLOOD_SECONDS]
        for key in over:
            more = self._floods.pop(key).lines - FLOOD_LINES
            if more > 0:
                kind, pci, code = key
                fields = {kind.lower(): code, "pci": pci, "more": more}
                log.warning(
                    "%s %d at %s: %d more in a minute",
                    kind,
                    code,
                    pci,
                    more,
                    extra={"fields": fields},
                )
