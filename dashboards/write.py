"""The dashboards there are, and the files they are written to."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import fleet, gpu, health, job, monitor, node, power, usage
from gpumon.grafana.shipped import text_of

FOLDER = Path(__file__).parent / "json"

DASHBOARDS = (
    fleet.dashboard,
    power.dashboard,
    usage.dashboard,
    job.dashboard,
    node.dashboard,
    gpu.dashboard,
    health.dashboard,
    monitor.dashboard,
)
"""In the order in which people open them: each from the last."""


def files() -> dict[str, str]:
    """Return every file's text by name; the name is the dashboard's uid."""
    texts = {}
    for build in DASHBOARDS:
        dashboard = build()
        plain = json.loads(JSONEncoder().encode(dashboard))
        texts[f"{dashboard.uid}.json"] = text_of(plain)
    return texts
