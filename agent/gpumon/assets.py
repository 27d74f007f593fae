"""What ships beside the code: deployment files and dashboards, in a wheel or in a checkout."""

from __future__ import annotations

from pathlib import Path

from gpumon.errors import UnavailableError


def asset(name: str) -> Path:
    """Return the path of a shipped file, such as ``deploy/prometheus/prometheus.yml``."""
    package = Path(__file__).parent
    for root in (package / "_assets", package.parent.parent):
        if (root / name).exists():
            return root / name
    raise UnavailableError(f"{name} is missing from this installation", "install gpumon again")
