"""All items at once: none of them waits for another, and nobody waits for one that hangs."""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from gpumon.doctor.finding import Finding, bad, missed
from gpumon.errors import GpumonError

Facts = TypeVar("Facts")


@dataclasses.dataclass(frozen=True, slots=True)
class Question(Generic[Facts]):
    """An item: how its facts are gathered, which may take time, and how they are judged.

    ``gather`` may raise a GpumonError, which is then what was found.
    """

    name: str
    gather: Callable[[], Facts]
    judge: Callable[[Facts], Iterable[Finding]]


def examine(questions: Sequence[Question[Any]], seconds: float) -> list[Finding]:
    """Return what is found of all items, in their order, within some seconds."""
    found = at_once({each.name: functools.partial(_look, each) for each in questions}, seconds)
    late = "find out what it waits for, or give it longer with --timeout"
    return [
        finding
        for name in [question.name for question in questions]
        for finding in found.get(name) or [missed(name, f"no answer within {seconds:g} s", late)]
    ]


def at_once(ways: Mapping[str, Callable[[], Facts]], seconds: float) -> dict[str, Facts]:
    """Return what each way has led to within some seconds; of those that take longer, nothing."""
    found: dict[str, Facts] = {}

    def go(name: str, way: Callable[[], Facts]) -> None:
        found[name] = way()

    # They are no executor's: Python waits for those threads at its end, and these may hang.
    threads = [threading.Thread(target=go, args=each, daemon=True) for each in ways.items()]
    until = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return dict(found)


def _look(question: Question[Any]) -> list[Finding]:
    try:
        return list(question.judge(question.gather()))
    except GpumonError as error:
        return [bad(question.name, error.problem, error.next_step)]
    except Exception as error:  # noqa: BLE001 - the others must be seen
        told = f"{type(error).__name__}: {error}"
        return [missed(question.name, told, "report it, with --bundle")]
