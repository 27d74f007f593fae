"""Where the agent is looked for: as its service is told to be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gpumon.checks import Level
from gpumon.cli import doctor as module
from gpumon.cli.configured import AgentPlace
from gpumon.doctor import Finding
from gpumon.install import unit as the_service


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file from which the service takes variables; nobody else sets any."""
    for name in [name for name in os.environ if name.startswith("GPUMON_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(the_service, "ENVIRONMENT", tmp_path / "agent.env")
    return tmp_path / "agent.env"


JOBS = Path("/run/gpumon/jobs")


def configured(config: Path | None = None) -> tuple[AgentPlace, Finding]:
    """Return the place, and what is found of the configuration."""
    place, _, found = module._configured(config)
    return place, found


def test_the_services_variables_go_before_the_file(service: Path, tmp_path: Path) -> None:
    """As systemd gives them to the agent; this process keeps none of them."""
    config = tmp_path / "gpumon.toml"
    config.write_text('[agent]\nweb.listen-address = ":1111"\nweb.telemetry-path = "/m"\n')
    service.write_text('# a word\nGPUMON_WEB_LISTEN_ADDRESS="[::1]:2222"\nOTHER=1\n')
    place, found = configured(config)
    assert place == AgentPlace("http://[::1]:2222", "/m", jobs_dir=JOBS)
    assert found.level is Level.PASS
    assert found.evidence == f"{config}: [agent]; {service}: GPUMON_WEB_LISTEN_ADDRESS"
    assert "GPUMON_WEB_LISTEN_ADDRESS" not in os.environ


def test_what_this_process_is_told_goes_before_both(
    service: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For whoever asks for another agent than the service."""
    service.write_text("GPUMON_WEB_LISTEN_ADDRESS=:2222\nGPUMON_STATE_DIR=/there\n")
    monkeypatch.setenv("GPUMON_WEB_LISTEN_ADDRESS", "10.0.0.17:3333")
    place, _ = configured()
    assert place == AgentPlace("http://10.0.0.17:3333", "/metrics", Path("/there"), JOBS)


def test_a_variable_that_the_service_would_refuse_is_found(service: Path) -> None:
    """It ends the agent with 2; the rest is looked at where it is by default."""
    service.write_text("GPUMON_TEIR=full\n")
    place, found = configured()
    assert place == AgentPlace("http://127.0.0.1:9842", "/metrics")
    assert found.level is Level.FAIL
    assert "did you mean GPUMON_TIER" in found.next_step
    assert "GPUMON_TEIR" not in os.environ
