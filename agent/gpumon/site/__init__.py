"""What a site knows that no GPU reports: where nodes stand, what may be drawn, what it costs.

``config`` reads ``site.toml``, ``factors`` are prices, carbon and PUE by the hour, ``nodes`` who
there is; ``service`` serves it to Prometheus, and asks Slurm for its nodes (``workloads.slurm``).
"""
