"""Several nodes, asked at once."""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections.abc import Sequence

from gpumon.errors import GpumonError, UsageError
from gpumon.model import Snapshot
from gpumon.targets.target import open_target
from gpumon.thresholds import Thresholds, shipped

SEVERAL_SECONDS = 5.0
"""How long a node may take; the others wait no longer for it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """A node that was asked: its snapshot, or why there is none; the thresholds to judge it by."""

    target: str
    snapshot: Snapshot | None
    problem: str = ""
    thresholds: Thresholds = dataclasses.field(default_factory=shipped)


def ask_all(
    targets: Sequence[str], seconds: float, thresholds: Thresholds | None = None
) -> list[Look]:
    """Ask all targets at once, and return within ``seconds`` what has come, in their order.

    ``thresholds`` are the viewer's own, if it was given any. Raises UsageError for text that is not
    a target.
    """
    answers: queue.SimpleQueue[tuple[int, Look | UsageError]] = queue.SimpleQueue()

    def one(number: int, target: str) -> None:
        answers.put((number, _ask(target, seconds, thresholds)))

    for number, target in enumerate(targets):
        # A name server or a driver may keep a thread for longer than anybody waits.
        threading.Thread(target=one, args=(number, target), daemon=True).start()
    looks = [Look(target, None, f"no answer within {seconds:g} s") for target in targets]
    until = time.monotonic() + seconds
    for _ in targets:
        try:
            number, look = answers.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        if isinstance(look, UsageError):
            raise look
        looks[number] = look
    return looks


def _ask(target: str, seconds: float, thresholds: Thresholds | None) -> Look | UsageError:
    try:
        with open_target(target, at_once=True, seconds=seconds, thresholds=thresholds) as source:
            return Look(target, source.read(), thresholds=source.thresholds())
    except UsageError as error:
        return error
    except GpumonError as error:
        return Look(target, None, str(error))
