"""A simulated fleet in one process: many nodes with jobs, and faults on demand.

Each node is the agent's own code over a simulated source, so that what Prometheus scrapes is what a
fleet of agents would serve. The same seed gives the same hour.
"""
