"""The web configuration: what it may say, and in which line it is wrong."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpumon.errors import UsageError
from gpumon.web.config import load
from tests.support.certificates import Authority

HASH = "$2b$04$" + "a" * 22 + "b" * 31


def written(folder: Path, text: str) -> Path:
    """Write a configuration."""
    path = folder / "web.yml"
    path.write_text(text)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the certificates of a server."""
    Authority(tmp_path).sign("server")
    return tmp_path


def test_a_whole_configuration_is_taken(folder: Path) -> None:
    """In the words of the exporter-toolkit; paths are relative to the file."""
    config = load(
        written(
            folder,
            f"""\
tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  client_allowed_sans: [prometheus]
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: true
  curve_preferences: [CurveP256]
http_server_config:
  http2: true
  headers:
    X-Frame-Options: deny
basic_auth_users:
  prometheus: {HASH}
""",
        )
    )
    assert config.tls is not None
    assert config.tls.verify_mode is ssl.CERT_REQUIRED
    assert config.tls.minimum_version is ssl.TLSVersion.TLSv1_2
    assert config.verifies_clients
    assert config.allowed_sans == {"prometheus"}
    assert config.users == {"prometheus": HASH.encode()}
    assert config.headers == {"x-frame-options": "deny"}
    assert {path.name for path in config.files} == {"web.yml", "server.crt", "server.key", "ca.crt"}


@pytest.mark.parametrize("text", ["", "---\n", "basic_auth_users:\n", "# nothing\n"])
def test_an_empty_configuration_restricts_nothing(tmp_path: Path, text: str) -> None:
    """Plain HTTP without a password."""
    config = load(written(tmp_path, text))
    assert config.tls is None
    assert not config.users


GOOD = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: [", 1, "no YAML"),
        ("- one\n", 1, "not a mapping"),
        ("basic_auth_user:\n  a: b\n", 2, "did you mean basic_auth_users"),
        ("\nbasic_auth_users:\n  ops: secret-password\n", 3, "not a bcrypt hash"),
        (f"basic_auth_users:\n  a: {HASH}\n  a: {HASH}\n", 3, "twice"),
        (f"basic_auth_users:\n  'a:b': {HASH}\n", 2, "colon"),
        ("basic_auth_users: yes\n", 1, "not a mapping"),
        ("rate_limit:\n  interval: 1s\n", 2, "not supported"),
        ("http_server_config:\n  http2: maybe\n", 2, "neither true nor false"),
        ("http_server_config:\n  headers:\n    X-Thing: a\n", 3, "unknown key"),
        ('http_server_config:\n  headers:\n    X-Frame-Options: "a\\nb"\n', 3, "cannot be sent"),
        ("tls_server_config:\n  cert_file: server.crt\n", 2, "key_file"),
        (GOOD.replace("server.key", "none.key"), 3, "cannot be read"),
        (GOOD.replace("server.key", "ca.crt"), 2, "not a certificate and its key"),
        (GOOD + "  cert: inline\n", 4, "use cert_file"),
        (GOOD + "  client_auth_type: RequireAnyClientCert\n", 4, "proves"),
        (GOOD + "  client_auth_type: RequireAndVerifyClientCert\n", 4, "client_ca_file"),
        (GOOD + "  client_ca_file: ca.crt\n", 4, "does nothing"),
        (GOOD + "  client_allowed_sans: [a]\n", 4, "RequireAndVerifyClientCert"),
        (GOOD + "  min_version: TLS9\n", 4, "TLS12"),
        (GOOD + "  cipher_suites: [TLS_AES_128_GCM_SHA256]\n", 4, "are fixed"),
        (GOOD + "  cipher_suites: TLS_AES_128_GCM_SHA256\n", 4, "not a list"),
        (GOOD + "  curve_preferences: [X25519, CurveP256]\n", 4, "choose one"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    folder: Path, text: str, line: int, words: str
) -> None:
    """And never what stands there: it may be a password."""
    path = written(folder, text)
    with pytest.raises(UsageError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: "), message
    assert words in message
    assert "secret-password" not in message
    assert "\n" not in message


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    """With the flag that names it."""
    with pytest.raises(UsageError, match=r"--web\.config\.file"):
        load(tmp_path / "none.yml")


@given(st.text(max_size=80) | st.from_regex(r"(tls_server_config|basic_auth_users): .{0,30}"))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_is_more_than_wrong(tmp_path: Path, text: str) -> None:
    """Taken, or refused in a line."""
    path = tmp_path / "web.yml"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        load(path)
    except UsageError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is good
