"""The node beyond its GPUs: what it draws, its CPUs and its memory; each part only where it is."""

from gpumon.host.host import Host
from gpumon.host.view import HostView

__all__ = ["Host", "HostView"]
