"""``python -m tests.bench.ticks``: reads NVML for a minute of ticks and reports repeated calls.

Runs in a process of its own that has a fake driver in its environment. Every call is seen where
the binding hands it to the library, with its arguments; time is the ticks' own, so the minute takes
a second. Prints the calls that were made twice with the same arguments within one tick, as JSON.
"""

from __future__ import annotations

import collections
import ctypes
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pynvml  # to see the calls at the driver's door

from gpumon.model import Tier
from gpumon.sources.nvml.source import NvmlSource

TICKS = 61
"""After the first, which probes: every cadence, the slowest of a minute included, is due once."""


class _TickClock:
    """A clock that moves when a tick begins."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def time(self) -> float:
        return time.time() + self._ahead

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += seconds


class CallLog:
    """The calls since it was cleared, with how often each was made."""

    def __init__(self) -> None:
        """Start with none."""
        self._calls: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    def watch(self) -> None:
        """See every call that the binding makes from now on."""
        find = pynvml._nvmlGetFunctionPointer

        def watched(name: str) -> Callable[..., Any]:
            function = find(name)

            def call(*args: Any) -> Any:
                self.note(name, args)
                return function(*args)

            return call

        pynvml._nvmlGetFunctionPointer = watched

    def note(self, name: str, args: tuple[Any, ...]) -> None:
        """Take note of a call, and of each value in a batch of field values."""
        keys = [f"{name}({', '.join(map(_shown, args))})"]
        if name == "nvmlDeviceGetFieldValues":
            gpu, batch = _shown(args[0]), args[2]._obj
            keys = [f"field {v.fieldId} scope {v.scopeId} of {gpu}" for v in batch]
        with self._lock:
            self._calls.update(keys)

    def repeated(self) -> dict[str, int]:
        """Return the calls that were made more than once, and forget all."""
        with self._lock:
            twice = {call: n for call, n in self._calls.items() if n > 1}
            self._calls.clear()
        return twice


def _shown(argument: Any) -> str:
    """Return an argument by value: what a pointer points to, an address only for a handle."""
    if argument is None:
        return "NULL"
    if isinstance(argument, ctypes.Array):
        return f"{len(argument)} {type(argument)._type_.__name__}"
    if isinstance(argument, ctypes._SimpleCData):
        return str(argument.value)
    if hasattr(argument, "contents"):  # a handle
        return hex(ctypes.addressof(argument.contents))
    target = getattr(argument, "_obj", argument)
    return bytes(target).hex() if isinstance(target, ctypes.Structure) else str(target)


def main() -> None:
    """Do it."""
    log, clock = CallLog(), _TickClock()
    log.watch()
    source = NvmlSource(clock, Tier.STANDARD)
    worst: dict[str, int] = {}
    source.read()
    log.repeated()
    for _ in range(TICKS):
        clock.advance(1.0)
        source.read()
        worst |= log.repeated()
    source.close()
    json.dump(worst, sys.stdout)


if __name__ == "__main__":
    main()
