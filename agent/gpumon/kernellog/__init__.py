"""The kernel's log: Xids of GPUs and SXids of NVSwitches, most of which NVML does not report."""

from gpumon.kernellog.follow import DEVICE, KernelLog
from gpumon.kernellog.parse import LogParser

__all__ = ["DEVICE", "KernelLog", "LogParser"]
