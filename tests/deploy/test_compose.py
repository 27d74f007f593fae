"""The compose stack: Prometheus, Alertmanager and Grafana."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.servers import ROOT, require

FOLDER = ROOT / "deploy" / "compose"
FILE = FOLDER / "compose.yml"


@pytest.fixture
def stack() -> dict[str, Any]:
    """The file, with merges done."""
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return loaded


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Return what is mounted read-only from here, by the path inside."""
    found = {}
    for volume in service["volumes"]:
        source, target, *mode = volume.split(":")
        if source.startswith("."):
            assert mode == ["ro"], volume
            found[target] = source
    return found


def test_everything_mounted_is_in_the_repository(stack: dict[str, Any]) -> None:
    """Docker makes an empty folder of a path that is missing, and says nothing."""
    for service in stack["services"].values():
        for source in mounts(service).values():
            assert (FOLDER / source).exists(), source


def test_what_is_mounted_is_what_ships(stack: dict[str, Any]) -> None:
    """The stack shows the configurations and dashboards of this repository, not copies."""
    shipped = {
        "prometheus": {
            "/etc/prometheus/prometheus.yml": "deploy/compose/prometheus.yml",
            "/etc/gpumon": "deploy/prometheus",
        },
        "alertmanager": {
            "/etc/alertmanager/alertmanager.yml": "deploy/alertmanager/alertmanager.yml"
        },
        "grafana": {
            "/etc/grafana/provisioning": "deploy/grafana/provisioning",
            "/var/lib/gpumon/dashboards": "dashboards/json",
        },
    }
    for name, service in stack["services"].items():
        found = {t: (FOLDER / s).resolve() for t, s in mounts(service).items()}
        assert found == {target: ROOT / path for target, path in shipped[name].items()}


def test_every_volume_is_declared(stack: dict[str, Any]) -> None:
    """What must last is in named volumes."""
    for name, service in stack["services"].items():
        named = [v.split(":")[0] for v in service["volumes"] if not v.startswith(".")]
        assert named == [name]
        assert name in stack["volumes"]


def test_only_this_machine_can_connect(stack: dict[str, Any]) -> None:
    """Prometheus and Alertmanager have no passwords, so nothing listens to the network."""
    for service in stack["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_versions_are_fixed(stack: dict[str, Any]) -> None:
    """A stack that is started again next year is the same stack."""
    for service in stack["services"].values():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), service["image"]


def test_grafana_has_no_password_until_somebody_gives_it_one(stack: dict[str, Any]) -> None:
    """No secret is committed, and without one the stack does not start."""
    password = stack["services"]["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"]
    assert re.fullmatch(r"\$\{GF_SECURITY_ADMIN_PASSWORD:\?.+\}", password)


def test_prometheus_reaches_the_agent_on_the_host(stack: dict[str, Any]) -> None:
    """The target's name is given a meaning inside the container."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    (target,) = config["scrape_configs"][0]["static_configs"][0]["targets"]
    name = target.partition(":")[0]
    assert f"{name}:host-gateway" in stack["services"]["prometheus"]["extra_hosts"]
    (alertmanager,) = config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert alertmanager.partition(":")[0] in stack["services"]


def test_compose_accepts_it(tmp_path: Path) -> None:
    """``docker-compose config`` accepts it with a password and refuses it, saying why, without."""
    # Debian's docker-compose is of the first generation, which knows all of the file but its name.
    lines = FILE.read_text("utf-8").splitlines(keepends=True)
    file = tmp_path / "compose.yml"
    file.write_text("".join(line for line in lines if not line.startswith("name:")), "utf-8")
    argv = [
        *(require("docker-compose"), "--file", str(file)),
        *("--project-directory", str(FILE.parent), "config", "--quiet"),
    ]

    def config(**extra: str) -> subprocess.CompletedProcess[str]:
        bare = {k: v for k, v in os.environ.items() if k != "GF_SECURITY_ADMIN_PASSWORD"}
        return subprocess.run(
            argv, capture_output=True, text=True, check=False, env={**bare, **extra}
        )

    accepted = config(GF_SECURITY_ADMIN_PASSWORD="for this test")
    assert accepted.returncode == 0, accepted.stderr
    refused = config()
    assert refused.returncode != 0
    assert "GF_SECURITY_ADMIN_PASSWORD" in refused.stderr
