"""Whether the rows of an nvidia-smi log are in the order of their times.

A clock that is set back makes a step, and so does the end of summer time in a log of local times;
files that were joined in the wrong order make one, too. A file that was turned round has nothing
but steps back, and no joules.
"""

from __future__ import annotations

STEP_SECONDS = 0.5
"""What keeps a clock moves it by less."""

ALL_BACKWARDS = 10
"""A file with this many steps back, and none forward, was turned round."""


class RowOrder:
    """Counts the rows that are earlier than the row before them of the same GPU."""

    def __init__(self) -> None:
        """Have seen no row."""
        self._back = 0
        self._steps = 0
        self._forward = False
        self._last = 0

    def saw(self, line: int, before: float | None, time: float) -> str:
        """Take note of a row and of the time of its GPU's row before it (unix seconds).

        Returns what is wrong if no log is like this.
        """
        if before is None:
            return ""
        if before - time > STEP_SECONDS:
            self._steps += 1
            self._last = line
        if time < before:
            self._back += 1
        elif time > before:
            self._forward = True
        turned = self._back >= ALL_BACKWARDS and not self._forward
        return "its times run backwards from the first row on" if turned else ""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of the values must know."""
        if not self._steps:
            return ()
        rows = "a row is" if self._steps == 1 else f"{self._steps} rows are"
        told = f"{rows} earlier than the one before of the same GPU, the last at line {self._last}"
        return (f"the log's times run backwards: {told}; what was drawn in between is not known",)
