"""Simulated GPUs: their power, heat, clocks and counters, from a physical model."""

from gpumon.sources.sim.source import SimSource

__all__ = ["SimSource"]
