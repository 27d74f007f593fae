"""What this node is called: flag, variable, configuration file, else the name of the host."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gpumon.config import node_name
from tests.support.servers import run_agent


def gpumon(*argv: str, **env: str) -> str:
    """Run a command and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "gpumon", *argv],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **env},
    )
    assert done.returncode in (0, 1, 3), done.stderr
    return done.stdout


def test_the_order_is_given_then_variable_then_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pod the host's name is the pod's."""
    monkeypatch.delenv("GPUMON_NODE", raising=False)
    assert node_name() == socket.gethostname()
    monkeypatch.setenv("GPUMON_NODE", "n17")
    assert node_name() == "n17"
    assert node_name("n18") == "n18"


@pytest.mark.e2e
def test_an_agents_documents_carry_the_name(tmp_path: Path) -> None:
    """Not its series: ``instance`` and ``node`` are Prometheus's own."""
    with run_agent(tmp_path, "sim:1xH100", "--node", "n17") as agent:
        assert agent.get("/api/v1/snapshot").json()["node"] == "n17"
        assert "n17" not in agent.metrics()


@pytest.mark.parametrize("text", ['node = "n19"\n', '[agent]\nnode = "n19"\n'])
def test_the_configuration_names_it_for_every_command(tmp_path: Path, text: str) -> None:
    """What is looked at without an agent is called as the agent would call it."""
    file = tmp_path / "gpumon.toml"
    file.write_text(text)
    status = json.loads(gpumon("--config", str(file), "status", "sim:1xH100", "-o", "json"))
    assert status["node"] == "n19"
    over = gpumon("--config", str(file), "status", "sim:1xH100", "-o", "json", GPUMON_NODE="n20")
    assert json.loads(over)["node"] == "n20"


def test_a_name_that_is_none_is_refused(tmp_path: Path) -> None:
    """In one line, with what to write."""
    file = tmp_path / "gpumon.toml"
    file.write_text("node = 17\n")
    done = subprocess.run(
        [sys.executable, "-m", "gpumon", "--config", str(file), "status", "sim:1xH100"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert 'write node = "NAME"' in done.stderr
