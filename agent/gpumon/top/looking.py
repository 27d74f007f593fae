"""Looking at a target again and again, in a thread: a driver that hangs keeps no key waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable

from gpumon.clock import Schedule
from gpumon.errors import GpumonError, UnavailableError
from gpumon.model import Snapshot
from gpumon.targets.target import open_target
from gpumon.thresholds import Thresholds, shipped

Tell = Callable[["Snapshot | GpumonError"], object]


class Looking:
    """Reports every snapshot of a target, or why there is none, until it is stopped.

    ``thresholds`` are those to judge the last one by.
    """

    def __init__(
        self, target: str | None, interval: float, thresholds: Thresholds | None = None
    ) -> None:
        """Look every ``interval`` seconds from ``start`` on.

        ``thresholds`` are the viewer's own, if it was given any.
        """
        self._target = target
        self._interval = interval
        self._given = thresholds
        self.thresholds = thresholds or shipped()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, tell: Tell) -> None:
        """Begin to look."""
        # Whoever quits does not wait for a driver that does not answer.
        self._thread = threading.Thread(target=self._run, args=(tell,), name="looking", daemon=True)
        self._thread.start()

    def stop(self, seconds: float = 0.5) -> None:
        """Let the target go, and wait for that no longer than some seconds."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self, tell: Tell) -> None:
        schedule = Schedule(self._interval)
        while not self._stopping.is_set():
            try:
                with open_target(
                    self._target, interval=self._interval, thresholds=self._given
                ) as source:
                    while not self._stopping.wait(schedule.until_next()):
                        snapshot = source.read()
                        self.thresholds = source.thresholds()
                        tell(snapshot)
            except UnavailableError as error:
                tell(error)  # it may come back
                self._stopping.wait(schedule.until_next())
            except GpumonError as error:
                tell(error)
                return
