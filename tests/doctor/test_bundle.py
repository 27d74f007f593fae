"""What leaves the machine in a bug report, and what does not."""

from __future__ import annotations

import stat
import tarfile
from pathlib import Path

import pytest

from gpumon.doctor.bundle import redact, users_in, write
from gpumon.errors import UsageError

SECRETS = """
password = "hunter2"
token: abc-DEF_123
Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.x.y
url = "https://ops:s3cr3t@grafana.example.org/x"
GPUMON_GRAFANA_TOKEN=glsa_0123456789
"api_key": "k-1"
ops: $2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy
listen = ":9842"
"""


def test_no_secret_is_left() -> None:
    """And what is none is as it was."""
    text = redact(SECRETS)
    for secret in ("hunter2", "abc-DEF", "eyJhbGci", "s3cr3t", "glsa_", "k-1", "N9qo8uLO"):
        assert secret not in text
    assert 'listen = ":9842"' in text
    assert "grafana.example.org/x" in text


def test_a_user_is_the_same_other_word_everywhere() -> None:
    """So that it can still be told who is who; no part of another word is touched."""
    files = [
        '{"user": "alice", "account": "lab7"}',
        'gpumon_job_info{user="bob",account="lab7"} 1',
        "process 10 alice python3; alicewonder and malice stay",
    ]
    names = users_in(files)
    assert names == {"alice", "bob", "lab7"}
    redacted = [redact(text, names) for text in files]
    assert "alice" not in redacted[0]
    assert redacted[2].startswith("process 10 user1 python3")
    assert redacted[2].endswith("alicewonder and malice stay")
    assert '"user": "user1"' in redacted[0]


def test_an_archive_is_its_owners_and_replaces_nothing(tmp_path: Path) -> None:
    """Mode 0600 from the beginning."""
    path = tmp_path / "report.tar.gz"
    write(path, {"doctor.json": "{}", "log.txt": "ä"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["gpumon-doctor/doctor.json", "gpumon-doctor/log.txt"]
    with pytest.raises(UsageError, match="is there already"):
        write(path, {})
