"""What leaves the machine in a bug report, and what does not."""

from __future__ import annotations

import json
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from gpumon.doctor import bundle
from gpumon.doctor.bundle import Sources, check, gather, write
from gpumon.doctor.redact import redact, redact_json, users_in, words_for
from gpumon.errors import UnavailableError, UsageError
from tests.support.servers import free_port

PLANTED = [
    ('password = "hunter2"', "hunter2"),
    ('password = "hun\\"ter2" # note', "ter2"),
    ("# password = hunter2", "hunter2"),
    ("  passphrase: correct horse battery", "battery"),
    ("db_password: 'hunter2'", "hunter2"),
    ('token = """\nabc\ndef\n"""', "def"),
    ("token: abc-DEF_123", "abc-DEF_123"),
    ("Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.x.y", "eyJhbGci"),
    ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    ("sent header Basic dXNlcjpwYXNz= to it", "dXNlcjpwYXNz"),
    ('url = "https://ops:s3cr3t@grafana.example.org/x"', "s3cr3t"),
    ("asking http://ops:s3/cr@3t@prometheus:9090 now", "cr@3t"),
    ("asking http://t0ken@prometheus:9090 now", "t0ken"),
    ("GPUMON_GRAFANA_TOKEN=glsa_0123456789", "glsa_0123456789"),
    ('export SMTP_PASSWORD="a b"', "a b"),
    ("got glsa_0123456789 from it", "glsa_0123456789"),
    ('"api_key": "k-12345"', "k-12345"),
    ("connect failed: password=hunter2, retrying", "hunter2"),
    ("connect failed: password=hun,ter2} retrying", "ter2"),
    ("GET /render?auth_token=hunter2&from=1", "hunter2"),
    ("gpumon dashboards push --token hunter2 --url x", "hunter2"),
    ("ops: $2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", "N9qo8uLO"),
    ("ops:$6$saltsalt$ZkYx0123456789abcdef", "ZkYx"),
    ("basic_auth_users:\n  ops: plainsecret", "plainsecret"),
    ("-----BEGIN PRIVATE KEY-----\nMIIEvQ\nIBADAN\n-----END PRIVATE KEY-----", "IBADAN"),
    ("-----BEGIN EC PRIVATE KEY-----\nMIIEvQ\nIBADAN", "IBADAN"),
]


@pytest.mark.parametrize(("text", "secret"), PLANTED)
def test_no_secret_is_left(text: str, secret: str) -> None:
    """In settings, logs and command lines; what stands around it is as it was."""
    assert secret in text
    redacted = redact(f"before it\n{text}\nafter.it = 1\n", {})
    assert secret not in redacted
    assert redacted.startswith("before it\n")
    assert redacted.endswith("\nafter.it = 1\n") or text.startswith("-----BEGIN EC")


@pytest.mark.parametrize(
    "text",
    [
        'web.listen-address = ":9842"',
        'gpumon_gpu_power_watts{gpu="0"} 690',
        "http://grafana.example.org/d/x?from=1",
        "Product Name                          : NVIDIA H100 80GB HBM3",
        "see http://prometheus:9090, and mail@example.org",
    ],
)
def test_what_is_no_secret_is_as_it_was(text: str) -> None:
    """A report in which all is gone helps nobody."""
    assert redact(text, words_for({"alice"})) == text


def test_a_secret_that_is_known_is_found_anywhere() -> None:
    """Whatever stands around it."""
    assert redact("it said: opensesame!", {}, {"opensesame"}) == "it said: ***!"


def test_a_user_is_the_same_other_word_everywhere() -> None:
    """So that it can still be told who is who; no part of another word is touched."""
    files = [
        '{"user": "alice", "account": "lab7"}',
        'gpumon_job_info{user="bob",account="lab7"} 1',
        "process 10 alice python3 /home/carol/x; alicewonder and malice stay; so does root",
        'gpumon_job_info{user="user1",account="root"} 1',
    ]
    users = users_in(files)
    assert users == {"alice", "bob", "lab7", "carol", "user1"}
    words = words_for(users, {"n17"})
    redacted = [redact(text, words) for text in files]
    assert redacted[0] == '{"user": "user1", "account": "user4"}'
    assert redacted[2] == (
        "process 10 user1 python3 /home/user3/x; alicewonder and malice stay; so does root"
    )
    # Who is called like another one's other word is not mistaken for that one.
    assert 'user="user5"' in redacted[3]
    assert redact("n17 is up", words) == "host1 is up"


def test_what_somebody_runs_is_not_told() -> None:
    """In nvidia-smi's list, an Xid, and a job's name; a GPU's name is."""
    text = (
        "            Name                          : /opt/secret-project/train.py\n"
        "NVRM: Xid (PCI:0000:29:00): 31, pid=1234, name=secret-project, Ch 00000008\n"
        'gpumon_job_info{job_id="7",name="secret-project",manager="slurm"} 1\n'
        'gpumon_gpu_info{gpu="0",name="NVIDIA H100"} 1\n'
    )
    redacted = redact(text, {})
    assert "secret-project" not in redacted
    assert "pid=1234, name=***, Ch 00000008" in redacted
    assert 'job_id="7",name="***",manager="slurm"' in redacted
    assert 'name="NVIDIA H100"' in redacted


def test_a_document_is_one_afterwards() -> None:
    """Its numbers, its GPUs' names and all; of processes and jobs only how many."""
    document: dict[str, Any] = {
        "gpus": [{"name": "NVIDIA H100", "power_watts": 690.5}],
        "held_by": [{"pid": 7, "user": "alice", "uid": 1001, "name": "train.py"}],
        "jobs": [{"job_id": "42", "user": "alice", "name": "secret-project"}],
        "detail": 'it said: password="hunter2"',
        "api_token": ["a", "b"],
        "none": None,
    }
    words = words_for({"alice"})
    assert json.loads(redact_json(json.dumps(document), words)) == {
        "gpus": [{"name": "NVIDIA H100", "power_watts": 690.5}],
        "held_by": [{"pid": 7, "user": "user1", "uid": "***", "name": "***"}],
        "jobs": [{"job_id": "42", "user": "user1", "name": "***"}],
        "detail": "it said: password=***",
        "api_token": "***",
        "none": None,
    }
    assert redact_json("no JSON: token=abcd", {}) == "no JSON: token=***"


def test_the_end_of_a_long_file_begins_with_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes last is what matters."""
    monkeypatch.setattr(bundle, "MOST_BYTES", 12)
    assert bundle._end("one\ntwo\nthree\nfour\n") == "three\nfour\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose commands say more than they should."""
    folder = tmp_path / "bin"
    folder.mkdir()
    scripts = {
        "nvidia-smi": "echo '            Name              : /home/alice/planted-project.py'",
        "dmesg": "echo 'dmesg: read kernel buffer failed: Operation not permitted'; exit 1",
        "systemctl": "echo 'Active: active (running)'",
        "journalctl": 'case "$*" in *-k*) echo "NVRM: Xid (PCI:0000:29:00): 79, pid=1, '
        'name=planted-project"; echo "usb 1-1: planted-device";; '
        "*) echo 'level=info asking https://ops:planted-password@prometheus; user=\"bob\"';; esac",
    }
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("USER", "dave")
    return tmp_path


def test_nothing_that_was_planted_is_in_a_bundle(machine: Path) -> None:
    """In settings, in commands' output, in doctor's own words; what matters is."""
    toml, env = machine / "gpumon.toml", machine / "agent.env"
    toml.write_text('[agent]\ninterval = 2\n# password = "planted-password"\n')
    env.write_text("GPUMON_TARGET_PASSWORD=planted-password\nGPUMON_TIER=full\n")
    sources = Sources(
        doctor=json.dumps({"evidence": "in /home/dave/x, on n17: planted-token"}),
        agent_url=f"http://127.0.0.1:{free_port()}",
        metrics="/metrics",
        files={"gpumon.toml": toml, "agent.env": env, "none.toml": machine / "none"},
    )
    files = gather(sources, {"planted-token", "abc"}, {"n17"})
    whole = "\n".join(files.values())
    for word in ("planted-", "alice", "bob", "dave", "n17"):
        assert word not in whole
    assert json.loads(files["doctor.json"])["evidence"].endswith("on host1: ***")
    assert "interval = 2" in files["gpumon.toml"]
    assert "GPUMON_TIER=full" in files["agent.env"]
    assert "No such file" in files["none.toml"]
    assert "Name              : ***" in files["nvidia-smi.txt"]
    assert files["kernel.txt"] == "NVRM: Xid (PCI:0000:29:00): 79, pid=1, name=***\n"
    assert files["service.txt"] == "Active: active (running)\n"
    assert "level=info asking https://***@prometheus" in files["log.txt"]
    assert "refused" in files["snapshot.json"]
    assert "click 8" in files["versions.txt"]
    assert "pytest" not in files["versions.txt"]


def test_a_file_that_cannot_be_made_says_why(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the others are there."""
    monkeypatch.setattr(bundle, "_packages", lambda: 1 // 0)
    files = gather(Sources("{}", "http://127.0.0.1:1", "/metrics", {}))
    assert files["versions.txt"].startswith("ZeroDivisionError: ")
    assert files["service.txt"] == "Active: active (running)\n"


def test_a_kernel_log_that_is_closed_says_so(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty file would look like a kernel without complaints."""
    (machine / "bin" / "journalctl").unlink()
    monkeypatch.setenv("PATH", f"{machine / 'bin'}:/bin-of-nobody")
    monkeypatch.setattr(bundle, "KERNEL_LOGS", (("dmesg",), ("journalctl", "-k")))
    (machine / "bin" / "sh").symlink_to("/bin/sh")
    assert bundle._kernel_log() == (
        "dmesg: read kernel buffer failed: Operation not permitted\njournalctl is not installed\n"
    )


def test_an_archive_is_its_owners_and_replaces_nothing(tmp_path: Path) -> None:
    """Mode 0600 from the beginning; what is there is found before anything is gathered."""
    path = tmp_path / "report.tar.gz"
    check(path)
    write(path, {"doctor.json": "{}", "log.txt": "ä"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["gpumon-doctor/doctor.json", "gpumon-doctor/log.txt"]
        assert {member.mode for member in archive.getmembers()} == {0o600}
    for again in (lambda: write(path, {}), lambda: check(path)):
        with pytest.raises(UsageError, match="is there already"):
            again()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is there already"):
        write(tmp_path / "link", {})
    with pytest.raises(UnavailableError, match="cannot write"):
        write(tmp_path / "no" / "folder", {})


def test_half_an_archive_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the disk is full."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(UnavailableError, match="No space left"):
        write(tmp_path / "report.tar.gz", {"doctor.json": "{}"})
    assert not list(tmp_path.iterdir())
