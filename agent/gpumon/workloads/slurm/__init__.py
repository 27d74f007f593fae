"""Slurm: its hooks, its controller, its nodes."""
