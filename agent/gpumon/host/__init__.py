"""The node beyond its GPUs: what it draws, its CPUs and its memory; each part only where it is."""

from gpumon.host.collector import Denied
from gpumon.host.host import Host

__all__ = ["Denied", "Host"]
