"""How a reader is started, by the agent and by the viewers alike."""

from __future__ import annotations

import sys

from gpumon.model import Tier
from gpumon.sources.spec import SourceSpec

# ``python -m`` would put the current folder first on the path, and whoever may write there could
# have root run a pynvml.py of theirs (-P, which prevents it, came with Python 3.11).
_START = "import sys; sys.path[:1] = []; from gpumon.reader.child import main; main(sys.argv[1:])"


def reader_command(
    descriptor: int, interval: float, spec: SourceSpec, tier: Tier = Tier.FULL
) -> list[str]:
    """Return the command of a reader that speaks on a descriptor it inherits."""
    return [sys.executable, "-c", _START, str(descriptor), str(interval), tier.word, str(spec)]
