"""Which GPUs a job has left idle for so long that it does not use them.

GPUs of a pipeline, or of a service, take turns: one without activity for a moment is not idle in
this sense. That takes a memory of each GPU's activity, which a sum over the GPUs does not have.
"""

from __future__ import annotations

from typing import NamedTuple


class _Span(NamedTuple):
    """Since when (seconds) there was no activity; ``certain`` if there was some until then."""

    since: float
    certain: bool


class Idleness:
    """Remembers since when each job has left each of its GPUs idle."""

    def __init__(self, window: float | None) -> None:
        """Know nothing; a GPU is idle after ``window`` seconds without activity.

        Without a window it is never known.
        """
        self._window = window
        self._spans: dict[tuple[str, str], _Span] = {}

    def enter(self, key: tuple[str, str], time: float, *, active: bool, watched: bool) -> None:
        """Take in a reading of a job's GPU; ``key`` is the job and the GPU.

        ``watched`` if the GPU was read before: a job that is new on it has begun just now, while
        one that an agent finds at its start may have been idle there for hours.
        """
        span = self._spans.get(key)
        if active or (span is None and watched):
            self._spans[key] = _Span(time, certain=True)
        elif span is None or time < span.since:
            self._spans[key] = _Span(time, certain=False)

    def of(self, key: tuple[str, str], time: float) -> bool | None:
        """Return whether a job's GPU is idle at a time; None if it was not seen for long enough."""
        span = self._spans.get(key)
        if span is None or self._window is None:
            return None
        if time - span.since >= self._window:
            return True
        return False if span.certain else None

    def forget_others(self, keys: set[tuple[str, str]]) -> None:
        """Forget all but these."""
        self._spans = {key: span for key, span in self._spans.items() if key in keys}
