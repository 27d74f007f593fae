"""Xids as the driver reports them: one event set, one thread that waits on it.

NVML delivers only what happens after a GPU is registered, and not every Xid (many are written to
the kernel log alone), which is why the agent reads the log as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import queue
import threading
from typing import Any

import pynvml

from gpumon.clock import Clock
from gpumon.model import XidEvent
from gpumon.model.events import NVML, kernel_address
from gpumon.sources.calls import LateAnswerError
from gpumon.sources.nvml.library import DRIVER_GONE, Door, FaultError

log = logging.getLogger(__name__)

WAIT_MILLISECONDS = 1000
"""How long one wait lasts: within a call's deadline, and a new GPU is registered after it."""

RETRY_SECONDS = 10.0
"""How long the thread rests after the set was refused."""

_TIMEOUT = pynvml.NVML_ERROR_TIMEOUT
_NO_INSTANCE = 0xFFFFFFFF


class EventThread:
    """Collects the Xids of the GPUs that are registered.

    A GPU is registered by this thread, between two waits: nothing says that a set may be changed
    while another thread waits on it.
    """

    def __init__(self, clock: Clock) -> None:
        """Start the thread; it waits for the first GPU."""
        self._clock = clock
        self._door = Door(clock)
        self._events: queue.SimpleQueue[XidEvent] = queue.SimpleQueue()
        self._news = threading.Event()
        self._wanted: dict[str, Any] = {}
        self._stopping = False
        self.working: bool | None = None
        self._thread = threading.Thread(target=self._run, name="events", daemon=False)
        self._thread.start()

    def watch(self, handles: dict[str, Any]) -> None:
        """Say which GPUs there are: their handles by PCI bus id."""
        if handles.keys() != self._wanted.keys():
            self._wanted = handles
            self._news.set()

    def take(self) -> tuple[XidEvent, ...]:
        """Return the events since the last time."""
        events = []
        with contextlib.suppress(queue.Empty):
            while True:
                events.append(self._events.get_nowait())
        return tuple(events)

    def healthy(self) -> bool | None:
        """Return whether events would be heard; None if this driver has none to give."""
        return False if self._door.overdue() else self.working

    def stop(self) -> None:
        """Let the thread end after its present wait."""
        self._stopping = True
        self._news.set()

    def join(self, seconds: float | None) -> bool:
        """Wait for the thread to end, forever if ``seconds`` is None; return whether it did."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping:
            if not self._wanted:
                self._news.wait()
                self._news.clear()
                continue
            try:
                self._listen()
            except FaultError as fault:
                if fault.code in DRIVER_GONE:  # the GPUs' workers say so; a new thread follows
                    return
                self._complain(fault)
            except LateAnswerError:  # the driver stood still, and moves again
                continue
            except Exception:  # an answer we cannot even decode must not end the thread
                log.exception("the driver's events cannot be read")
                self.working = False
            if not self._stopping and self._wanted:
                self._news.wait(RETRY_SECONDS)
                self._news.clear()

    def _complain(self, fault: FaultError) -> None:
        if self.working is not False:
            log.warning("the driver's events are not heard (%s)", fault)
        self.working = False

    def _listen(self) -> None:
        """Hear one set of GPUs until another is wanted; raises FaultError."""
        wanted = self._wanted
        event_set = self._door.call("nvmlEventSetCreate")
        try:
            by_handle = {
                _address(handle): kernel_address(pci)
                for pci, handle in wanted.items()
                if self._register(handle, event_set)
            }
            self.working = bool(by_handle) or None
            while by_handle and not self._stopping and wanted is self._wanted:
                self._wait(event_set, by_handle)
        finally:
            with contextlib.suppress(FaultError):
                self._door.call("nvmlEventSetFree", event_set)

    def _register(self, handle: Any, event_set: Any) -> bool:
        """Register a GPU for Xids; return whether it can report any."""
        try:
            # If one type of a mask is not supported, none is registered (nvml.h).
            supported = self._door.get("nvmlDeviceGetSupportedEventTypes", handle)
            if not supported & pynvml.nvmlEventTypeXidCriticalError:
                return False
            self._door.call(
                "nvmlDeviceRegisterEvents", handle, pynvml.nvmlEventTypeXidCriticalError, event_set
            )
        except FaultError as fault:
            if fault.code in DRIVER_GONE:
                raise
            return False
        return True

    def _wait(self, event_set: Any, by_handle: dict[int | None, str]) -> None:
        try:
            data = self._door.call("nvmlEventSetWait_v2", event_set, WAIT_MILLISECONDS)
        except FaultError as fault:
            if fault.code == _TIMEOUT:
                return
            raise
        pci = by_handle.get(_address(data.device))
        if pci is None:
            return
        self._events.put(
            XidEvent(
                time=self._clock.time(),
                xid=int(data.eventData),
                pci=pci,
                source=NVML,
                gpu_instance=_instance(data.gpuInstanceId),
                compute_instance=_instance(data.computeInstanceId),
            )
        )


def _address(handle: Any) -> int | None:
    """Return a handle as the number it is, by which handles can be compared."""
    return ctypes.cast(handle, ctypes.c_void_p).value


def _instance(number: int) -> int | None:
    return None if number == _NO_INSTANCE else int(number)
