"""Where a Grafana is and who asks: its URL, and a token that is shown to nobody else."""

from __future__ import annotations

import dataclasses
import os
import urllib.parse
from pathlib import Path

from gpumon.errors import UnavailableError, UsageError

DEFAULT_URL = "http://127.0.0.1:3000"

VARIABLE = "GPUMON_GRAFANA_TOKEN"


@dataclasses.dataclass(frozen=True, slots=True)
class GrafanaLogin:
    """A Grafana's URL without a slash at its end, and a service account's token."""

    url: str
    token: str = dataclasses.field(repr=False)

    @property
    def header(self) -> dict[str, str]:
        """The header that a request carries."""
        return {"Authorization": f"Bearer {self.token}"}

    def hide(self, text: str) -> str:
        """Return a server's words fit for a line: no token, no control characters, not long."""
        words = " ".join(text.replace(self.token, "***").split())
        kept = "".join(
            letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in words
        )
        return kept if len(kept) <= 300 else kept[:300] + "…"


def read_access(url: str, token_file: Path | None) -> GrafanaLogin:
    """Return the access that options and environment give: a file, else GPUMON_GRAFANA_TOKEN.

    Raises UsageError for text that is not a URL or not a token, UnavailableError for a file that
    cannot be read. No error repeats the token, nor a URL that may hold a password.
    """
    return GrafanaLogin(_checked_url(url), _checked_token(token_file))


def _checked_url(url: str) -> str:
    if "@" in url:
        raise UsageError(
            "--url holds a user or password, which every user of this machine could see",
            f"set {VARIABLE}, or name a file with --token-file",
        )
    try:
        parts = urllib.parse.urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment or not url.isprintable() or " " in url:
        raise UsageError("--url is not a URL of a Grafana", f"write one such as {DEFAULT_URL}")
    return url.rstrip("/")


def _checked_token(file: Path | None) -> str:
    if file is None:
        where, token = VARIABLE, os.environ.get(VARIABLE, "").strip()
        if not token:
            raise UsageError(
                "no token for Grafana",
                f"set {VARIABLE}, or name a file that holds a service account's token"
                " with --token-file",
            )
    else:
        where = str(file)
        try:
            token = file.expanduser().read_text("utf-8").strip()
        except OSError as error:
            raise UnavailableError(
                f"cannot read the token in {file} ({error.strerror})", "check --token-file"
            ) from None
        except UnicodeDecodeError:
            token = ""
    # What is no header would be refused by the HTTP client, whose error repeats it.
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            f"{where} holds no token", "it is one word, such as Grafana shows once: glsa_..."
        )
    return token
