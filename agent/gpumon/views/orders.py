"""In which orders rows can come: a file of its own, since ``--help`` loads no view."""

GPU_ORDERS = ("worst", "gpu", "power", "margin", "utilization", "activity", "memory", "energy")
"""Of GPUs: what is wrong first, by NVML's index, or by a reading."""

PROCESS_ORDERS = ("gpu", "memory", "sm", "user", "pid")
"""Of processes."""
