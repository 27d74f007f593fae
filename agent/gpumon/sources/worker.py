"""A thread for each GPU, so that one that never responds costs the others nothing.

A thread that waits in the driver cannot be stopped, so none is: past its deadline the GPU is
reported hung, and the thread goes on on its own when its call returns. The binding lets go of the
interpreter's lock during a call, so the other threads run meanwhile.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

from gpumon.clock import Clock
from gpumon.model import NOT_ANSWERED_YET, GpuIdentity, GpuReading, GpuState
from gpumon.model.terms import unknown_uuid
from gpumon.sources.calls import Calls, DriverFault, LateAnswerError, SourceFaultError
from gpumon.times import format_time

log = logging.getLogger(__name__)

RETRY_SECONDS = 10.0
"""How often a GPU that does not answer is asked again (design: what may fail)."""

_STATES = {DriverFault.LOST: GpuState.LOST, DriverFault.RESET_REQUIRED: GpuState.RESET_REQUIRED}


class Readable(Protocol):
    """What a worker reads: a GPU that has been found and probed."""

    identity: GpuIdentity
    handle: Any

    def read(self) -> GpuReading:
        """Read the GPU; raises SourceFaultError, or LateAnswerError."""
        ...

    def close(self) -> None:
        """Give back what was allocated for it."""
        ...


class GpuWorker:
    """Reads one GPU each time it is asked to, in a thread of its own."""

    def __init__(
        self,
        index: int,
        find: Callable[[], Readable],
        calls: Calls,
        clock: Clock,
        starting: str = "",
    ) -> None:
        """Start the thread of the GPU of the driver's index; nothing is read before ``request``.

        ``find`` finds and probes the GPU, or raises SourceFaultError; ``calls`` are those that it
        and the GPU make. ``starting`` is said of a GPU whose very first call hangs.
        """
        self.index = index
        self._find = find
        self._clock = clock
        self._left_alone = ""
        self._calls = calls
        self._starting = starting
        self._gpu: Readable | None = None
        self._reading: GpuReading | None = None
        self._retry_at = 0.0
        self._identity = GpuIdentity(index=index, uuid=unknown_uuid(f"gpu{index}"))
        self._asked = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._stopping = False
        self.driver_gone = False
        self._thread = threading.Thread(target=self._run, name=f"gpu {index}", daemon=False)
        self._thread.start()

    def request(self) -> bool:
        """Ask for a reading, and return whether to expect one.

        There is none to expect while the reading before is not done, while it is not time to retry,
        or while the GPU must be left alone.
        """
        if self._left_alone or not self._idle.is_set() or self._clock.monotonic() < self._retry_at:
            return False
        self._idle.clear()
        self._asked.set()
        return True

    def wait(self, seconds: float) -> None:
        """Wait until the reading asked for is done, or the seconds are over."""
        self._idle.wait(seconds)

    def settle(self, seconds: float) -> None:
        """Wait until the reading asked for is done or a call of it hangs, at most so long."""
        while seconds > 0 and self._calls.overdue() is None:
            # A call that is due this very moment is overdue the next.
            step = min(seconds, self._calls.left() + 0.01)
            if self._idle.wait(step):
                return
            seconds -= step

    @property
    def identity(self) -> GpuIdentity:
        """Who the GPU is, as far as it has said so."""
        return self._identity

    @property
    def handle(self) -> Any:
        """The driver's handle of the GPU, or None while it cannot be read."""
        gpu = self._gpu
        return None if gpu is None or self._left_alone else gpu.handle

    def leave_alone(self, reason: str) -> None:
        """Stop asking this GPU: each call would hang, and others behind it."""
        if not self._left_alone:
            log.error("gpu %d (%s) is left alone: %s", self.index, self._identity.uuid, reason)
        self._left_alone = reason

    def stop(self) -> None:
        """Let the thread end after the call that is under way."""
        self._stopping = True
        self._asked.set()

    def join(self, seconds: float | None) -> bool:
        """Wait for the thread to end, forever if ``seconds`` is None; return whether it did."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def current(self) -> GpuReading:
        """Return the last reading, or why there is none."""
        if self._left_alone:
            return self._failed(GpuState.RESET_REQUIRED, self._left_alone)
        overdue = self._calls.overdue()
        if overdue is not None:
            function, since = overdue
            reason = f"{function} has not returned since {format_time(since)}"
            if self._gpu is None:
                reason += self._starting
            return self._failed(GpuState.HUNG, reason)
        return self._reading or self._failed(GpuState.ERROR, NOT_ANSWERED_YET)

    def _run(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            if self._stopping:
                self._close()
                return
            try:
                self._reading = self._read()
            finally:
                self._idle.set()

    def _read(self) -> GpuReading:
        try:
            if self._gpu is None:
                self._gpu = self._find()
            reading = self._gpu.read()
        except LateAnswerError as late:
            # What it answered is of a time long gone: read again at the next tick.
            return self._failed(GpuState.HUNG, f"{late} answered too late")
        except SourceFaultError as fault:
            return self._faulty(fault)
        except Exception as error:  # an answer we cannot even decode must not end the thread
            log.exception("gpu %d (%s) cannot be read", self.index, self._identity.uuid)
            return self._give_up(GpuState.ERROR, f"{type(error).__name__}: {error}")
        if self._reading is not None and self._reading.state is not GpuState.OK:
            log.warning("gpu %d (%s) responds again", self.index, reading.identity.uuid)
        self._identity = reading.identity
        return reading

    def _faulty(self, refusal: SourceFaultError) -> GpuReading:
        found_before = self._gpu is not None
        self.driver_gone = refusal.fault is DriverFault.DRIVER_GONE or (
            found_before and refusal.fault is DriverFault.HANDLE_REFUSED
        )
        state = _STATES.get(refusal.fault, GpuState.ERROR)
        if self._reading is None or self._reading.state is not state:
            log.error(
                "gpu %d (%s) is %s: %s", self.index, self._identity.uuid, state.value, refusal
            )
        return self._give_up(state, str(refusal))

    def _give_up(self, state: GpuState, reason: str) -> GpuReading:
        # What it supports and how its counters stand may differ after a reset: probe it anew.
        self._close()
        self._retry_at = self._clock.monotonic() + RETRY_SECONDS
        return self._failed(state, reason)

    def _close(self) -> None:
        if self._gpu is not None:
            self._gpu.close()
            self._gpu = None

    def _failed(self, state: GpuState, reason: str) -> GpuReading:
        last = self._reading
        empty = GpuReading(identity=self._identity, state=state, reason=reason)
        if last is None:
            return empty
        return dataclasses.replace(empty, time=last.time, read_at=last.read_at)
