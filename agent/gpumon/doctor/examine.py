"""All items at once: none of them waits for another, and nobody waits for one that hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping

from gpumon.doctor.finding import Finding, bad
from gpumon.errors import GpumonError

Item = Callable[[], "Finding | Iterable[Finding]"]
"""Looks at something, and says what it found; may raise a GpumonError, which is then it."""


def examine(items: Mapping[str, Item], seconds: float) -> list[Finding]:
    """Return what is found of all items, in their order, within some seconds."""
    found: dict[str, list[Finding]] = {}

    def look(name: str, item: Item) -> None:
        found[name] = _look(name, item)

    threads = {
        name: threading.Thread(target=look, args=(name, item), daemon=True)
        for name, item in items.items()
    }
    until = time.monotonic() + seconds
    for thread in threads.values():
        thread.start()
    for thread in threads.values():
        thread.join(max(0.0, until - time.monotonic()))
    late = "find out what it waits for, or give it longer with --timeout"
    return [
        finding
        for name in items
        for finding in found.get(name) or [bad(name, f"no answer within {seconds:g} s", late)]
    ]


def _look(name: str, item: Item) -> list[Finding]:
    try:
        found = item()
    except GpumonError as error:
        return [bad(name, error.problem, error.next_step)]
    except Exception as error:  # noqa: BLE001 - the others must be seen
        return [bad(name, f"{type(error).__name__}: {error}", "report it, with --bundle")]
    return [found] if isinstance(found, Finding) else list(found)
