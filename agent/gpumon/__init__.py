"""gpumon: power, energy and health of NVIDIA GPUs, from one node to a site."""

__version__ = "0.1.0"
