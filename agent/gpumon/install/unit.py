"""The names and places of the service that ``deploy/systemd/gpumon-agent.service`` describes."""

from __future__ import annotations

from pathlib import Path

UNIT = "gpumon-agent"

USER = "gpumon"
"""The user, and the group, that it runs as."""

STATE_DIR = Path("/var/lib/gpumon")
"""Where the agent's memory is: systemd makes it (StateDirectory)."""

ENVIRONMENT = Path("/etc/gpumon/agent.env")
"""The file from which it takes variables, besides its configuration file."""
