"""Who holds which GPU: Slurm, Kubernetes, processes."""
