"""``gpumon doctor`` as it is run: a hung driver, a real agent, a real Prometheus."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from gpumon import __version__
from tests.fakenvml import FakeDriver
from tests.support.certificates import Authority
from tests.support.grafana import EDITOR, run_grafana
from tests.support.servers import free_port, run, run_agent, run_prometheus, wait_for

pytestmark = pytest.mark.e2e


def doctor(*argv: str, config: Path | None = None, env: dict[str, str] | None = None) -> Any:
    """Run it, and return the process and its document."""
    before = ["--config", str(config)] if config else []
    done = subprocess.run(
        [sys.executable, "-m", "gpumon", *before, "doctor", "-o", "json", *argv],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **(env or {})},
    )
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"], done.stderr
    return {each["item"]: each for each in document["findings"]}


def test_a_driver_that_hangs_keeps_nobody_waiting(driver: FakeDriver) -> None:
    """It is one finding, within the time; the library is found all the same."""
    driver.hang("all")
    try:
        found = doctor("--timeout", "2", env=driver.env())
    finally:
        driver.release()
    assert found["driver"]["level"] == "fail"
    assert "no answer within" not in found["driver"]["evidence"]  # it knows why
    assert found["library"]["level"] == "pass"
    assert "libnvidia-ml.so" in found["library"]["evidence"]


def test_a_healthy_driver_is_told_with_its_gpus(driver: FakeDriver) -> None:
    """With its version and how long it took; a lost GPU is a reason to look."""
    found = doctor(env=driver.env())
    assert found["driver"]["level"] == "pass"
    assert found["driver"]["evidence"].startswith("580.105.08: 8 of 8 GPUs respond")
    driver.lose(2)
    found = doctor(env=driver.env())
    assert found["driver"]["level"] == "warn"
    assert "7 of 8 GPUs respond" in found["driver"]["evidence"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[agent]\nintervall = 2\n", "unknown key 'intervall' in [agent]"),
        ("[agnet]\n", "unknown table [agnet]"),
        ("[agent\n", "line 1"),
        ('[agent]\nweb.listen-address = "x"\n', "is not a listen address"),
    ],
)
def test_a_wrong_configuration_is_a_finding(tmp_path: Path, text: str, words: str) -> None:
    """And no reason not to look at the rest."""
    config = tmp_path / "gpumon.toml"
    config.write_text(text)
    found = doctor(config=config)
    assert found["configuration"]["level"] == "fail"
    assert words in found["configuration"]["evidence"]
    assert found["configuration"]["next_step"]
    assert "gpumon" in found


def test_a_value_that_the_agent_refuses_is_one_too(tmp_path: Path) -> None:
    """As the agent itself would say it, from the file and from the environment."""
    config = tmp_path / "gpumon.toml"
    config.write_text("[agent]\ninterval = 99\n")
    found = doctor(config=config)
    assert "99.0 is not in the range" in found["configuration"]["evidence"]
    found = doctor(env={"GPUMON_INTERVALL": "1"})
    assert "unknown variable GPUMON_INTERVALL" in found["configuration"]["evidence"]
    assert "did you mean GPUMON_INTERVAL" in found["configuration"]["next_step"]


def test_the_agent_is_looked_for_where_the_environment_puts_it(tmp_path: Path) -> None:
    """It goes before the file, for doctor as for the agent; and so does the state folder."""
    config = tmp_path / "gpumon.toml"
    config.write_text('[agent]\nweb.listen-address = ":1"\n')
    with run_agent(tmp_path, "sim:1xH100") as agent:
        env = {
            "GPUMON_WEB_LISTEN_ADDRESS": f":{agent.port}",
            "GPUMON_STATE_DIR": str(tmp_path / "state"),
        }
        found = doctor(config=config, env=env)
    assert found["agent"]["level"] == "pass"
    assert found["agent"]["evidence"].startswith(f"http://127.0.0.1:{agent.port} is ready")
    assert found["state"]["evidence"].startswith(f"{tmp_path}/state, ")


def test_an_agent_with_tls_and_passwords_is_found_without_either(tmp_path: Path) -> None:
    """Whoever looks after the machine need not be one of its users."""
    pair = Authority(tmp_path).sign("n17.example.org")
    hashed = bcrypt.hashpw(b"open sesame", bcrypt.gensalt(4)).decode()
    web = tmp_path / "web.yml"
    web.write_text(
        f"tls_server_config: {{cert_file: {pair.cert}, key_file: {pair.key}}}\n"
        f"basic_auth_users: {{ops: {hashed}}}\n"
    )
    port = free_port()
    log = tmp_path / "agent.log"
    argv = [
        *(sys.executable, "-m", "gpumon", "agent", "--source", "sim:1xH100"),
        *("--web.listen-address", f"127.0.0.1:{port}", "--web.config.file", str(web)),
        *("--state-dir", str(tmp_path / "state")),
    ]
    with run(argv, log):
        wait_for(lambda: f":{port}" in log.read_text(), 30, "the agent's socket")
        found = doctor("--agent", f"http://127.0.0.1:{port}")
    assert found["agent"]["level"] == "pass", found["agent"]
    assert (
        found["agent"]["evidence"] == f"https://127.0.0.1:{port} responds, and asks for a password"
    )


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--grafana", "http://127.0.0.1:1"], "no token for Grafana"),
        (["--grafana", "http://u:p@127.0.0.1:1"], "--grafana holds a user or password"),
        (["--prometheus", "http://u:p@127.0.0.1:1"], "--prometheus holds a user or password"),
        (["--prometheus", "p:9090"], "--prometheus is not a URL"),
        (["--agent", "https://"], "--agent is not a URL"),
    ],
)
def test_wrong_usage_is_no_finding(argv: list[str], words: str) -> None:
    """Exit code 2, in one line, before anything is looked at; a password is not repeated."""
    done = subprocess.run(
        [sys.executable, "-m", "gpumon", "doctor", *argv],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "GPUMON_GRAFANA_TOKEN": ""},
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert words in done.stderr
    assert "u:p" not in done.stderr


def test_a_prometheus_that_scrapes_this_agent_and_one_that_does_not(tmp_path: Path) -> None:
    """By the agent's own address, as the configuration has it; with and without our rules."""
    with run_agent(tmp_path, "sim:2xH100") as agent:
        config = tmp_path / "gpumon.toml"
        config.write_text(f'[agent]\nweb.listen-address = "{agent.target}"\n')
        rules = tmp_path / "rules"
        subprocess.run(
            [
                *(sys.executable, "-m", "gpumon", "rules", "export"),
                "--time-scale=60",
                "--to",
                rules,
            ],
            check=True,
            capture_output=True,
        )
        scraping = (
            f"global: {{scrape_interval: 1s}}\nrule_files: ['{rules}/*.yml']\nscrape_configs:\n"
            f"- job_name: gpumon\n  static_configs: [{{targets: ['{agent.target}']}}]\n"
        )
        with run_prometheus(tmp_path, scraping) as prometheus:
            wait_for(lambda: prometheus.value("sum(up)") == 1, 30, "the first scrape")
            wait_for(lambda: prometheus.value("rules:gpumon_build:info") == 1, 30, "the rules")
            found = doctor("--prometheus", prometheus.url, config=config)
        assert found["agent"]["level"] == "pass"
        assert found["agent"]["evidence"].endswith(f"is ready, {__version__}")
        assert found["grafana"]["level"] == "skip"
        assert found["prometheus-scrape"]["level"] == "pass", found
        assert found["prometheus-rules"]["level"] == "pass", found
        assert found["prometheus-series"]["level"] == "pass", found
        assert found["prometheus-clock"]["level"] == "pass"
        assert found["prometheus-alerts"]["level"] == "warn"
        other = tmp_path / "other"
        other.mkdir()
        with run_prometheus(other, "global: {}\n") as prometheus:
            found = doctor("--prometheus", prometheus.url, config=config)
        assert found["prometheus-scrape"]["level"] == "fail"
        assert found["prometheus-rules"]["level"] == "fail"
    gone = doctor("--prometheus", "http://127.0.0.1:1")
    assert "prometheus-scrape" not in gone
    assert gone["prometheus"]["level"] == "fail"


def test_a_grafana_without_our_dashboards_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that has them, after a push, is well."""
    with run_grafana() as grafana:
        env = {"GPUMON_GRAFANA_TOKEN": EDITOR}
        found = doctor("--grafana", grafana.url, env=env)
        assert found["grafana"]["level"] == "warn"
        assert "8 of 8 dashboards differ" in found["grafana"]["evidence"]
        subprocess.run(
            [sys.executable, "-m", "gpumon", "dashboards", "push", "--url", grafana.url],
            check=True,
            capture_output=True,
            env={**os.environ, **env},
        )
        assert doctor("--grafana", grafana.url, env=env)["grafana"]["level"] == "pass"


def test_a_bundle_has_what_a_report_needs_and_no_secret(tmp_path: Path) -> None:
    """The agent's snapshot and metrics, the configuration, what doctor said."""
    config = tmp_path / "gpumon.toml"
    token = tmp_path / "token"
    token.write_text("planted-token-7\n")
    path = tmp_path / "report.tar.gz"
    with run_agent(tmp_path, "sim:2xH100", "--web.expose-users") as agent:
        config.write_text(
            f'[agent]\nweb.listen-address = "{agent.target}"\n'
            "# password = hunter2\n# planted-token-7\n"
        )
        argv = ("--token-file", str(token), "--bundle", str(path), "--anonymous")
        doctor(*argv, config=config)
    with tarfile.open(path) as archive:
        files = {
            name.rpartition("/")[2]: (archive.extractfile(name) or sys.stdin.buffer).read().decode()
            for name in archive.getnames()
        }
    assert json.loads(files["doctor.json"])["findings"]
    assert len(json.loads(files["snapshot.json"])["gpus"]) == 2
    assert "gpumon_gpu_power_watts{" in files["metrics.txt"]
    assert f"gpumon {__version__}" in files["versions.txt"]
    assert "web.listen-address" in files["gpumon.toml"]
    whole = "".join(files.values())
    for secret in ("hunter2", "planted-token-7", re.escape(socket.gethostname())):
        assert not re.search(rf"(?<![\w-]){secret}(?![\w-])", whole)
    assert json.loads(files["doctor.json"])["node"].startswith("host")


@pytest.mark.parametrize(
    ("argv", "words"),
    [(["--bundle", "{there}"], "is there already"), (["--anonymous"], "name one with --bundle")],
)
def test_a_bundle_that_cannot_be_is_said_at_once(
    tmp_path: Path, argv: list[str], words: str
) -> None:
    """Before the minutes of somebody's life that a sick driver takes."""
    there = tmp_path / "report.tar.gz"
    there.write_text("mine")
    done = subprocess.run(
        [sys.executable, "-m", "gpumon", "doctor", *(word.format(there=there) for word in argv)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert words in done.stderr
    assert there.read_text() == "mine"
