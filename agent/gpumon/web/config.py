"""``--web.config.file``: TLS, client certificates and passwords, in the exporter-toolkit's format.

The format is that of Prometheus and its exporters (prometheus/exporter-toolkit,
docs/web-configuration.md), so that one file serves all of a node's exporters. What Python's TLS
cannot do is refused rather than passed over: a setting that does nothing is worse than none.
"""

from __future__ import annotations

import dataclasses
import re
import ssl
from collections.abc import Mapping
from pathlib import Path

import yaml

from gpumon.errors import UsageError, hint
from gpumon.web import tls

_HEADERS = (
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
)

_BCRYPT = re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}", re.ASCII)


@dataclasses.dataclass(frozen=True)
class WebConfig:
    """Which clients to admit: TLS, bcrypt hashes by user, and headers to reply with.

    ``files`` are those that it was made of: when one changes it has to be made again.
    """

    tls: ssl.SSLContext | None = None
    verifies_clients: bool = False
    allowed_sans: frozenset[str] = frozenset()
    users: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    files: tuple[Path, ...] = ()


def load(path: Path) -> WebConfig:
    """Read a file; UsageError names its line where it is wrong, without what it says there."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise UsageError(f"no web configuration {path}", "check --web.config.file") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"cannot read {path} ({reason})", "check --web.config.file") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise UsageError(f"{path}:{line}: no YAML ({error.problem})", "mend the line") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise UsageError(f"{path}:1: no YAML", "mend the file") from None
    return _config(_Table(path, root))


class _Table:
    """A mapping of the file, which knows its lines."""

    def __init__(self, path: Path, node: yaml.Node | None, name: str = "the file") -> None:
        self.path = path
        self._name = name
        self._line = node.start_mark.line + 1 if node is not None else 1
        self._nodes: dict[str, yaml.Node] = {}
        if node is None or _is_null(node):
            return
        if not isinstance(node, yaml.MappingNode):
            raise self.wrong(node, f"{name} is not a mapping", "write key: value below it")
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self.wrong(key, "a key is not a word", "write key: value")
            if key.value in self._nodes:
                raise self.wrong(key, f"{key.value!r} is there twice", "remove one of them")
            self._nodes[key.value] = value

    def wrong(self, node: yaml.Node | None, problem: str, step: str) -> UsageError:
        """Return an error that names the line."""
        line = node.start_mark.line + 1 if node is not None else self._line
        return UsageError(f"{self.path}:{line}: {problem}", step)

    def at(self, key: str) -> yaml.Node | None:
        """Return the node of a key, for its line."""
        return self._nodes.get(key)

    def keys(self) -> list[str]:
        """Return the keys that are there."""
        return list(self._nodes)

    def check(self, *known: str) -> None:
        """Raise UsageError for a key that is not known, naming the nearest that is."""
        for key, node in self._nodes.items():
            if key not in known:
                raise self.wrong(
                    node,
                    f"unknown key {key!r} in {self._name}",
                    f"known are {', '.join(known)}{hint(key, known)}",
                )

    def table(self, key: str) -> _Table:
        """Return a mapping below this one, empty if it is not there."""
        return _Table(self.path, self._nodes.get(key), key)

    def text(self, key: str, default: str = "") -> str:
        """Return a value as text."""
        node = self._nodes.get(key)
        if node is None or _is_null(node):
            return default
        if not isinstance(node, yaml.ScalarNode):
            raise self.wrong(node, f"{key} is not a single value", "write key: value")
        return str(node.value)

    def truth(self, key: str, *, default: bool) -> bool:
        """Return a value as a truth."""
        text = self.text(key, "true" if default else "false").lower()
        if text not in ("true", "false"):
            raise self.wrong(self.at(key), f"{key} is neither true nor false", "write one of them")
        return text == "true"

    def texts(self, key: str) -> list[str]:
        """Return a list of texts, empty if it is not there."""
        node = self._nodes.get(key)
        if node is None or _is_null(node):
            return []
        if not isinstance(node, yaml.SequenceNode) or not all(
            isinstance(item, yaml.ScalarNode) for item in node.value
        ):
            raise self.wrong(node, f"{key} is not a list of words", "write [one, two]")
        return [str(item.value) for item in node.value]


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _config(root: _Table) -> WebConfig:
    root.check("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit")
    rate = root.table("rate_limit")
    if rate.text("interval", "0") not in ("0", "0s"):
        raise rate.wrong(
            rate.at("interval"),
            "rate_limit is not supported",
            "leave it out: connections, their size and their time are limited by themselves",
        )
    http = root.table("http_server_config")
    http.check("http2", "headers")
    http.truth("http2", default=True)  # HTTP/1.1 is what is served, which every client speaks
    headers = http.table("headers")
    headers.check(*_HEADERS)
    config = WebConfig(
        users=_users(root.table("basic_auth_users")),
        headers={name.lower(): _header(headers, name) for name in headers.keys()},  # noqa: SIM118
        files=(root.path,),
    )
    if root.at("tls_server_config") is None:
        return config
    return _with_tls(config, root)


def _users(table: _Table) -> dict[str, bytes]:
    users = {}
    for name in table.keys():  # noqa: SIM118 - not a dict
        if ":" in name or not name:
            raise table.wrong(table.at(name), "a user's name with a colon", "HTTP allows none")
        if not _BCRYPT.fullmatch(table.text(name)):
            raise table.wrong(
                table.at(name),
                f"the password of {name!r} is not a bcrypt hash",
                "make one with: htpasswd -nBC 10 NAME",
            )
        users[name] = table.text(name).encode("ascii")
    return users


def _header(table: _Table, name: str) -> str:
    value = table.text(name)
    if not value.isascii() or not value.isprintable():
        raise table.wrong(table.at(name), f"{name} cannot be sent", "write plain ASCII")
    return value


def _with_tls(config: WebConfig, root: _Table) -> WebConfig:
    table = root.table("tls_server_config")
    table.check(
        *("cert_file", "key_file", "cert", "key", "client_auth_type", "client_ca_file"),
        *("client_ca", "client_allowed_sans", "min_version", "max_version", "cipher_suites"),
        *("prefer_server_cipher_suites", "curve_preferences"),
    )
    for inline, file in (
        ("cert", "cert_file"),
        ("key", "key_file"),
        ("client_ca", "client_ca_file"),
    ):
        if table.at(inline) is not None:
            raise table.wrong(table.at(inline), f"{inline} in the file itself", f"use {file}")
    folder = root.path.parent
    files = {
        key: folder / table.text(key)
        for key in ("cert_file", "key_file", "client_ca_file")
        if table.text(key)
    }
    settings = tls.TlsSettings(
        cert=files.get("cert_file"),
        key=files.get("key_file"),
        client_auth=table.text("client_auth_type", "NoClientCert"),
        client_ca=files.get("client_ca_file"),
        min_version=table.text("min_version", "TLS12"),
        max_version=table.text("max_version", "TLS13"),
        cipher_suites=tuple(table.texts("cipher_suites")),
        curves=tuple(table.texts("curve_preferences")),
        server_ciphers_first=table.truth("prefer_server_cipher_suites", default=True),
    )
    sans = frozenset(table.texts("client_allowed_sans"))
    if sans and settings.client_auth != "RequireAndVerifyClientCert":
        raise table.wrong(
            table.at("client_allowed_sans"),
            "client_allowed_sans does nothing like this",
            "it needs client_auth_type: RequireAndVerifyClientCert",
        )
    try:
        context = tls.context(settings)
    except tls.TlsError as error:
        node = table.at(error.key) or root.at("tls_server_config")
        raise table.wrong(node, error.key, error.problem) from None
    return dataclasses.replace(
        config,
        tls=context,
        verifies_clients=context.verify_mode is not ssl.CERT_NONE,
        allowed_sans=sans,
        files=(root.path, *files.values()),
    )
