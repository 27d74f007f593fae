"""The node beyond its GPUs: what it draws, its CPUs and memory; each part only if it is there."""

from gpumon.host.host import Host
from gpumon.host.view import HostView

__all__ = ["Host", "HostView"]
