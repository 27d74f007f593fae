"""A node to look at: the agent, and Prometheus beside it where there is one."""
