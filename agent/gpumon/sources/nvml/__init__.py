"""The driver's door: the only package that imports pynvml.

``library`` guards every call, ``plan`` finds out what a GPU answers and reads it in one batch,
``gpu`` makes that a reading, ``worker`` gives each GPU its thread, ``source`` puts them together.
"""

from gpumon.sources.nvml.source import NvmlSource

__all__ = ["NvmlSource"]
