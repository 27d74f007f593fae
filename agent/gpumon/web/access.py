"""Who is let in: the web configuration in force, and passwords checked against it.

The file is read again when it, or a certificate it names, has changed; one that is wrong is refused
and the one before stays in force. Checking a bcrypt hash takes 50 to 100 ms on purpose, so it is
done in a thread, a few at a time, and its outcome is remembered.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import collections
import hashlib
import hmac
import logging
import secrets
from collections.abc import Mapping
from pathlib import Path

from gpumon.clock import SYSTEM, Clock
from gpumon.errors import UsageError
from gpumon.web.config import WebConfig, load

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often the files are looked at, at most."""

MOST_REMEMBERED = 256
"""Outcomes of checks that are remembered: those of good passwords and of bad."""

MOST_AT_ONCE = 2
MOST_WAITING = 16
"""Checks under way, and those that wait for them; who comes after that is sent away for now."""

_LONGEST_PASSWORD = 72
"""Bytes that bcrypt takes into account; a longer one would be cut off, so it is wrong."""

# Of nothing that anybody could send, at the usual cost: an unknown user takes as long as a known.
_NOBODY = b"$2b$10$abcdefghijklmnopqrstuuoYsPBIVp9qEDbJiNOBoKwEP5W7pWt5G"


class BusyError(Exception):
    """Too many passwords are being checked: try again."""


class Access:
    """The configuration in force; belongs to the agent's event loop."""

    def __init__(self, path: Path, clock: Clock = SYSTEM) -> None:
        """Read the file; UsageError if it is wrong."""
        self._path = path
        self._clock = clock
        self._config = load(path)
        self._marks = _marks(self._config.files)
        self._looked_at = clock.monotonic()
        self._secret = secrets.token_bytes(32)
        self._outcomes: collections.OrderedDict[bytes, bool] = collections.OrderedDict()
        self._checking = asyncio.Semaphore(MOST_AT_ONCE)
        self._waiting = 0

    def config(self) -> WebConfig:
        """Return the configuration in force, after a look at its files now and then."""
        now = self._clock.monotonic()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            marks = _marks(self._config.files)
            if marks != self._marks:
                self._marks = marks
                self._reload()
        return self._config

    def _reload(self) -> None:
        try:
            self._config = load(self._path)
        except UsageError as error:
            log.error("%s; the configuration before stays in force", error)  # noqa: TRY400
            return
        self._marks = _marks(self._config.files)
        self._outcomes.clear()
        log.info("%s was read again", self._path)

    async def admits(self, authorization: str) -> bool:
        """Return whether a request's Authorization header names a user and its password.

        Raises BusyError if too many are being checked already.
        """
        users = self.config().users
        user, password = _credentials(authorization)
        if user is None or password is None:
            return False
        key = hmac.digest(self._secret, f"{user}\0".encode() + password, hashlib.sha256)
        known = self._outcomes.get(key)
        if known is not None:
            self._outcomes.move_to_end(key)
            return known
        if self._waiting >= MOST_WAITING:
            raise BusyError
        self._waiting += 1
        try:
            async with self._checking:
                admitted = await asyncio.to_thread(_matches, users, user, password)
        finally:
            self._waiting -= 1
        if users is self._config.users:  # else the file has changed meanwhile
            self._outcomes[key] = admitted
            if len(self._outcomes) > MOST_REMEMBERED:
                self._forget()
        return admitted

    def _forget(self) -> None:
        """Forget an outcome: a bad one, so that a flood of them does not push out the good."""
        bad = next((key for key, admitted in self._outcomes.items() if not admitted), None)
        if bad is None:
            self._outcomes.popitem(last=False)
        else:
            del self._outcomes[bad]


def _credentials(authorization: str) -> tuple[str | None, bytes | None]:
    """Return user and password of a Basic authorization, or nothing (RFC 7617)."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None, None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else (None, None)
    except (binascii.Error, ValueError):
        return None, None


def _matches(users: Mapping[str, bytes], user: str, password: bytes) -> bool:
    import bcrypt

    hashed = users.get(user, _NOBODY)
    if len(password) > _LONGEST_PASSWORD or b"\0" in password:
        password, hashed = b"", _NOBODY
    try:
        matches = bcrypt.checkpw(password, hashed)
    except ValueError:
        return False
    return matches and user in users


def _marks(files: tuple[Path, ...]) -> tuple[object, ...]:
    """Return what returns whether a file has changed."""

    def mark(path: Path) -> object:
        try:
            status = path.stat()
        except OSError as error:
            return error.errno
        return status.st_mtime_ns, status.st_size, status.st_ino

    return tuple(mark(path) for path in files)
