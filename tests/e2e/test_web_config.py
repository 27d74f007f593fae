"""TLS, client certificates and passwords on the running agent, changed while it runs."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import pytest

from tests.support.certificates import Authority, Pair
from tests.support.servers import (
    Agent,
    free_port,
    require,
    run,
    run_prometheus,
    shipped_prometheus_config,
    wait_for,
)

pytestmark = pytest.mark.e2e

PASSWORD = "a right password"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(8)).decode()
TLS = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"
USERS = f"basic_auth_users:\n  ops: {HASH}\n"


class Client:
    """Asks an agent over TLS or not, with a certificate and a password or without."""

    def __init__(self, port: int, authority: Authority) -> None:
        """Trust an authority."""
        self._port = port
        self._authority = authority

    def status(
        self,
        path: str = "/metrics",
        *,
        tls: bool = True,
        pair: Pair | None = None,
        password: str | None = None,
    ) -> int:
        """Return the status of an answer; 0 where there is none."""
        context = ssl.create_default_context(cafile=str(self._authority.cert))
        if pair is not None:
            context.load_cert_chain(pair.cert, pair.key)
        scheme = "https" if tls else "http"
        request = urllib.request.Request(f"{scheme}://127.0.0.1:{self._port}{path}")
        if password is not None:
            token = base64.b64encode(f"ops:{password}".encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(request, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0


@contextmanager
def secured(folder: Path, text: str) -> Iterator[tuple[Agent, Client, Path, Authority]]:
    """Run an agent with a web configuration beside its certificates."""
    authority = Authority(folder)
    authority.sign("server")
    file = folder / "web.yml"
    file.write_text(text)
    port, log = free_port(), folder / "agent.log"
    argv = [
        *(sys.executable, "-m", "gpumon", "agent", "--source", "sim:2xH100"),
        *("--web.listen-address", f"127.0.0.1:{port}", "--web.config.file", str(file)),
        *("--state-dir", str(folder / "state")),
    ]
    with run(argv, log) as process:
        agent = Agent(process, port, log)

        def listens() -> bool:
            assert process.poll() is None, agent.log
            with socket.socket() as sock:
                return sock.connect_ex(("127.0.0.1", port)) == 0

        wait_for(listens, 15, "the agent")
        yield agent, Client(port, authority), file, authority


def test_tls_and_passwords_are_asked_for_everywhere(tmp_path: Path) -> None:
    """Plain HTTP gets no answer and makes no noise; each path wants the password."""
    with secured(tmp_path, TLS + USERS) as (agent, client, _, _):
        assert client.status(password=PASSWORD) == 200
        for path in ("/", "/metrics", "/-/healthy", "/-/ready", "/api/v1/snapshot", "/none"):
            assert client.status(path) == 401
            assert client.status(path, password="wrong") == 401
        assert client.status("/none", password=PASSWORD) == 404
        assert client.status(tls=False, password=PASSWORD) == 0
        with socket.create_connection(("127.0.0.1", agent.port)) as sock:
            sock.sendall(b"\x00\xff" * 1000)
        assert client.status(password=PASSWORD) == 200
        assert PASSWORD not in agent.log
        assert HASH not in agent.log
        assert "Traceback" not in agent.log
        assert "SSL" not in agent.log


def test_client_certificates_are_verified_and_their_names_checked(tmp_path: Path) -> None:
    """None, one of another authority, one with another name: no answer."""
    text = TLS + (
        "  client_auth_type: RequireAndVerifyClientCert\n"
        "  client_ca_file: ca.crt\n"
        "  client_allowed_sans: [prometheus]\n"
    )
    other = tmp_path / "other"
    other.mkdir()
    with secured(tmp_path, text) as (_, client, _, authority):
        assert client.status(pair=authority.sign("prometheus")) == 200
        assert client.status() == 0
        assert client.status(pair=authority.sign("somebody")) == 0
        assert client.status(pair=Authority(other).sign("prometheus")) == 0


def test_the_file_is_read_again_while_the_agent_runs(tmp_path: Path) -> None:
    """Users, TLS on and off, certificates; a wrong file leaves the one before in force."""
    with secured(tmp_path, "") as (agent, client, file, _):
        assert client.status(tls=False) == 200
        file.write_text(USERS)
        wait_for(lambda: client.status(tls=False) == 401, 5, "the password to be asked for")
        assert client.status(tls=False, password=PASSWORD) == 200
        file.write_text(TLS + USERS)
        wait_for(lambda: client.status(password=PASSWORD) == 200, 5, "TLS")
        assert client.status(tls=False, password=PASSWORD) == 0
        file.write_text(TLS + "basic_auth_users:\n  ops: in-the-clear\n")
        wait_for(
            lambda: client.status(password=PASSWORD) == 200 and f"{file}:5: " in agent.log,
            5,
            "the refusal",
        )
        assert "in-the-clear" not in agent.log
        assert client.status() == 401
        newer = Authority(tmp_path, "newer authority")
        newer.sign("server")
        file.write_text(TLS)
        renewed = Client(agent.port, newer)
        wait_for(lambda: renewed.status() == 200, 5, "the new certificate")
        assert renewed.status(password="whatever") == 200


def test_a_wrong_file_at_the_start_ends_the_agent_with_a_line(tmp_path: Path) -> None:
    """Wrong usage: 2, and the line of the file."""
    file = tmp_path / "web.yml"
    file.write_text("basic_auth_users:\n  ops: plain\n")
    argv = [sys.executable, "-m", "gpumon", "agent", "--source", "sim:1xH100"]
    argv += ["--web.listen-address", f"127.0.0.1:{free_port()}", "--web.config.file", str(file)]
    done = subprocess.run(
        [*argv, "--state-dir", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"{file}:2: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_prometheus_scrapes_over_tls_with_a_password(tmp_path: Path) -> None:
    """The real one, with the configuration that ships and its own words for both."""
    require("prometheus")
    with secured(tmp_path, TLS + USERS) as (agent, _, _, authority):
        (tmp_path / "password").write_text(PASSWORD)
        config = shipped_prometheus_config(agent.target).replace(
            "job_name: gpumon\n",
            "job_name: gpumon\n"
            "    scheme: https\n"
            f"    tls_config: {{ca_file: {authority.cert}}}\n"
            f"    basic_auth: {{username: ops, password_file: {tmp_path / 'password'}}}\n",
        )
        assert "scheme: https" in config
        with run_prometheus(tmp_path, config) as prometheus:
            wait_for(lambda: prometheus.value("sum(gpumon_gpu_up)") == 2, 15, "the GPUs")
            (target,) = [t for t in prometheus.targets() if t["labels"]["job"] == "gpumon"]
            assert target["health"] == "up"


def test_gpumon_looks_at_an_agent_with_a_password(tmp_path: Path) -> None:
    """From variables, never from the command line; without them it says which."""
    with secured(tmp_path, TLS + USERS) as (agent, _, _, authority):
        (tmp_path / "password").write_text(f"{PASSWORD}\n")
        argv = [sys.executable, "-m", "gpumon", "status", f"https://{agent.target}", "-o", "json"]
        trust = {"SSL_CERT_FILE": str(authority.cert)}
        variables = {
            "GPUMON_TARGET_USER": "ops",
            "GPUMON_TARGET_PASSWORD_FILE": str(tmp_path / "password"),
        }
        refused = subprocess.run(
            argv, capture_output=True, text=True, check=False, env={**os.environ, **trust}
        )
        assert refused.returncode == 3
        assert "GPUMON_TARGET_USER" in refused.stderr
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **trust, **variables},
        )
        assert done.returncode == 0, done.stderr
        assert '"name": "python3"' in done.stdout
