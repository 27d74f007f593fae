"""Columns that name what the rows of a table are of, each with its link."""

from __future__ import annotations

import dataclasses

from dashboards.kit import links
from dashboards.kit.tables import Key

CLUSTER = Key("cluster", "Cluster", width=75)
"""Beside every node and job: two clusters may give theirs equal names."""

SITE = Key("site", "Site", width=75)
"""Beside every rack and budget: two sites may give theirs equal names."""

HIDDEN_CLUSTER = Key("cluster", "Cluster", hidden=True)
"""For links alone, where all rows are of one cluster."""

NODE = Key("instance", "Node", links.NODE)
GPU = Key("gpu", "GPU", links.GPU_OF_A_NODE, width=60)
JOB = Key("job_id", "Job", links.JOB)

NARROW_NODE = dataclasses.replace(NODE, width=112)
NARROW_CLUSTER = dataclasses.replace(CLUSTER, width=66)
NARROW_GPU = dataclasses.replace(GPU, width=45)
NARROW_JOB = dataclasses.replace(JOB, width=58)
"""For tables of many columns: a node's name and port must be readable on a laptop."""
