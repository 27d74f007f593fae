"""The variables of the environment that gpumon knows: one rule for all commands.

A variable of any command is known to each, and one that none knows is an error, whichever command
meets it: a misspelt one must not be passed over in silence.
"""

from __future__ import annotations

import os

from gpumon.errors import UsageError, hint

OF_OPTIONS = (
    *("GPUMON_EXPECTED_GPUS", "GPUMON_GPUS", "GPUMON_GRAFANA_TOKEN_FILE", "GPUMON_GRAFANA_URL"),
    *("GPUMON_INTERVAL", "GPUMON_JOBS_DIR", "GPUMON_KERNEL_LOG", "GPUMON_KUBELET_SOCKET"),
    *("GPUMON_MODEL", "GPUMON_NODE", "GPUMON_NODES", "GPUMON_NODE_OVERHEAD_WATTS"),
    *("GPUMON_RUNBOOK_URL", "GPUMON_SEED", "GPUMON_SITE", "GPUMON_SOURCE", "GPUMON_SPEED"),
    *("GPUMON_START", "GPUMON_STATE_DIR", "GPUMON_THRESHOLDS", "GPUMON_TIER"),
    *("GPUMON_WEB_CONFIG_FILE", "GPUMON_WEB_EXPOSE_USERS", "GPUMON_WEB_LISTEN_ADDRESS"),
    *("GPUMON_WEB_TELEMETRY_PATH", "GPUMON_WORKLOAD_MANAGER"),
)
"""Those of the commands' options. They stand here so that no command has to be imported for them; a
test holds them against the options."""

OTHERS = (
    *("GPUMON_CONFIG", "GPUMON_GRAFANA_TOKEN"),
    *("GPUMON_TARGET_USER", "GPUMON_TARGET_PASSWORD_FILE", "GPUMON_TARGET_TENANT"),
    # Of the hooks and the examples that ship, which share an environment with gpumon.
    *("GPUMON_JOB_WRITER", "GPUMON_PBS_FOLDER", "GPUMON_DASHBOARDS", "GPUMON_PROMETHEUS_URL"),
)

KNOWN = (*OF_OPTIONS, *OTHERS)

_OF_TESTS = "GPUMON_TEST_"


def check_environment() -> None:
    """Raise UsageError for a GPUMON_ variable that no command knows, with the nearest name."""
    for name in sorted(os.environ):
        if name.startswith("GPUMON_") and name not in KNOWN and not name.startswith(_OF_TESTS):
            near = hint(name, list(KNOWN))
            raise UsageError(
                f"environment: unknown variable {name}",
                f"unset it{near}" if near else f"unset it; known are {', '.join(sorted(KNOWN))}",
            )
