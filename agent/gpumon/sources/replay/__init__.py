"""Recordings played as if they happened now: nvidia-smi's CSV logs, and gpumon's own.

``smilog`` and ``recording`` read files into frames; ``source`` plays frames at a speed.
"""

from gpumon.sources.replay.source import ReplaySource

__all__ = ["ReplaySource"]
