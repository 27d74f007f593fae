"""How a reader is started, by the agent and by the viewers alike."""

from __future__ import annotations

import os
import sys

from gpumon.model import Tier
from gpumon.sources.spec import Patience, SourceSpec

MOST_READERS = 3
"""How many may be alive at once; those that stand still count."""

# ``python -m`` would put the current folder first on the path, and whoever may write there could
# have root run a pynvml.py of theirs (-P, which prevents it, came with Python 3.11).
_START = "import sys; sys.path[:1] = []; from gpumon.reader.child import main; main(sys.argv[1:])"


def reader_environment() -> dict[str, str]:
    """Return the environment of a reader: this process's, with one heap for all its threads.

    glibc gives each thread a heap of its own, which a reader of eight GPUs fills with little; its
    threads take turns anyhow (mallopt(3): M_ARENA_MAX).
    """
    return {"MALLOC_ARENA_MAX": "1", **os.environ}


def reader_command(
    descriptor: int,
    interval: float,
    spec: SourceSpec,
    tier: Tier = Tier.FULL,
    patience: Patience | None = None,
) -> list[str]:
    """Return the command of a reader that speaks on a descriptor it inherits."""
    words = [str(descriptor), str(interval), tier.word, str(spec)]
    if patience is not None:
        words += ["" if patience.until is None else str(patience.until), str(patience.call)]
    return [sys.executable, "-c", _START, *words]
