"""A TLS context from settings in the words of Go's TLS, which the exporter-toolkit uses."""

from __future__ import annotations

import dataclasses
import ssl
from pathlib import Path

VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}

CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}

CIPHER_SUITES = {
    f"TLS_ECDHE_{key}_WITH_{iana}": f"ECDHE-{key}-{openssl}"
    for key in ("RSA", "ECDSA")
    for iana, openssl in {
        "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
        "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
        "CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
        "AES_128_CBC_SHA": "AES128-SHA",
        "AES_256_CBC_SHA": "AES256-SHA",
    }.items()
}
"""Suites of TLS 1.2 by IANA's names, which Go takes, and OpenSSL's."""

CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1"}


class TlsError(Exception):
    """A setting is wrong: which, and what about it."""

    def __init__(self, key: str, problem: str) -> None:
        """Name the setting."""
        super().__init__(problem)
        self.key = key
        self.problem = problem


@dataclasses.dataclass(frozen=True, kw_only=True)
class TlsSettings:
    """``tls_server_config``, its paths made absolute."""

    cert: Path | None
    key: Path | None
    client_auth: str
    client_ca: Path | None
    min_version: str
    max_version: str
    cipher_suites: tuple[str, ...]
    curves: tuple[str, ...]
    server_ciphers_first: bool


def context(settings: TlsSettings) -> ssl.SSLContext:
    """Return the context, its certificates loaded; TlsError names the setting that is wrong."""
    if settings.cert is None or settings.key is None:
        raise TlsError("cert_file" if settings.cert is None else "key_file", "it is missing")
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = _version("min_version", settings.min_version)
    made.maximum_version = _version("max_version", settings.max_version)
    made.set_alpn_protocols(["http/1.1"])
    _load_certificate(made, settings.cert, settings.key)
    _ask_clients(made, settings)
    _choose_ciphers(made, settings)
    return made


def _version(key: str, name: str) -> ssl.TLSVersion:
    if name not in VERSIONS:
        raise TlsError(key, f"the versions are {', '.join(VERSIONS)}")
    return VERSIONS[name]


def _load_certificate(made: ssl.SSLContext, cert: Path, key: Path) -> None:
    for name, path in (("cert_file", cert), ("key_file", key)):
        _readable(name, path)
    try:
        # A key with a passphrase must not ask for it on the terminal.
        made.load_cert_chain(cert, key, password=lambda: b"")
    except (ssl.SSLError, ValueError, OSError):
        raise TlsError("cert_file", f"{cert} and {key} are not a certificate and its key") from None


def _readable(name: str, path: Path) -> None:
    try:
        with path.open("rb"):
            return
    except OSError as error:
        raise TlsError(name, f"{path} cannot be read ({error.strerror})") from None


def _ask_clients(made: ssl.SSLContext, settings: TlsSettings) -> None:
    if settings.client_auth not in CLIENT_AUTH:
        raise TlsError(
            "client_auth_type",
            f"{settings.client_auth!r} is not supported (a certificate that is not verified proves "
            f"nothing): use one of {', '.join(CLIENT_AUTH)}",
        )
    made.verify_mode = CLIENT_AUTH[settings.client_auth]
    if made.verify_mode is ssl.CERT_NONE:
        if settings.client_ca is not None:
            raise TlsError("client_ca_file", "it does nothing without client_auth_type")
        return
    if settings.client_ca is None:
        raise TlsError("client_auth_type", "it needs client_ca_file")
    _readable("client_ca_file", settings.client_ca)
    try:
        made.load_verify_locations(settings.client_ca)
    except (ssl.SSLError, ValueError, OSError):
        raise TlsError("client_ca_file", f"{settings.client_ca} is not a certificate") from None


def _choose_ciphers(made: ssl.SSLContext, settings: TlsSettings) -> None:
    unknown = [suite for suite in settings.cipher_suites if suite not in CIPHER_SUITES]
    if unknown:
        raise TlsError(
            "cipher_suites",
            f"{unknown[0]} cannot be chosen (those of TLS 1.3 are fixed); the others are "
            f"{', '.join(CIPHER_SUITES)}",
        )
    if settings.cipher_suites:
        made.set_ciphers(":".join(CIPHER_SUITES[suite] for suite in settings.cipher_suites))
    if settings.server_ciphers_first:
        made.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    if settings.curves:
        if len(settings.curves) > 1 or settings.curves[0] not in CURVES:
            raise TlsError("curve_preferences", f"choose one of {', '.join(CURVES)}, or none")
        made.set_ecdh_curve(CURVES[settings.curves[0]])
