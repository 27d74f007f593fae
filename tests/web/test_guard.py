"""Who may see users' names, and how passwords are checked."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path

import bcrypt
import pytest

from gpumon.web import access
from gpumon.web.access import Access, BusyError
from gpumon.web.guard import AUTHENTICATED, may_see_users
from tests.support.clock import FakeClock


def basic(user: str, password: str) -> str:
    """Return an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def hashed(password: str) -> str:
    """Return a quick bcrypt hash."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration with one user."""
    path = tmp_path / "web.yml"
    path.write_text(f"basic_auth_users:\n  ops: {hashed('right')}\n")
    return path


@pytest.mark.parametrize(
    ("client", "headers", "authenticated", "expose", "may"),
    [
        ("127.0.0.1", [], False, False, True),
        ("::1", [], False, False, True),
        ("::ffff:127.0.0.1", [], False, False, True),
        ("10.0.0.7", [], False, False, False),
        ("10.0.0.7", [], True, False, True),
        ("10.0.0.7", [], False, True, True),
        ("127.0.0.1", [(b"X-Forwarded-For", b"10.0.0.7")], False, False, False),
        ("127.0.0.1", [(b"via", b"proxy")], False, False, False),
        ("testclient", [], False, False, False),
        (None, [], False, False, False),
    ],
)
def test_names_are_for_this_machine_and_for_whom_we_know(
    client: str | None,
    headers: list[tuple[bytes, bytes]],
    authenticated: bool,  # noqa: FBT001
    expose: bool,  # noqa: FBT001
    may: bool,  # noqa: FBT001
) -> None:
    """Not for a proxy on this machine, behind which anybody may be."""
    scope = {
        "client": (client, 1) if client else None,
        "headers": headers,
        AUTHENTICATED: authenticated,
    }
    assert may_see_users(scope, expose=expose) is may


@pytest.mark.parametrize(
    ("header", "admitted"),
    [
        (basic("ops", "right"), True),
        (basic("ops", "right").replace("Basic", "bAsIc"), True),
        (basic("ops", "wrong"), False),
        (basic("nobody", "right"), False),
        (basic("ops", "right" + "x" * 80), False),
        (basic("ops", "ri\0ght"), False),
        (basic("ops", ""), False),
        ("Bearer right", False),
        ("Basic", False),
        ("Basic !!!", False),
        ("Basic " + base64.b64encode(b"\xff\xfe:right").decode(), False),
        ("", False),
    ],
)
def test_only_a_user_with_its_password_is_admitted(file: Path, header: str, admitted: bool) -> None:  # noqa: FBT001
    """Whatever else is sent; and asked again the answer is the same."""

    async def ask() -> tuple[bool, bool]:
        door = Access(file)
        return await door.admits(header), await door.admits(header)

    assert asyncio.run(ask()) == (admitted, admitted)


def test_an_outcome_is_remembered_until_the_file_changes(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scrape pays for the hash once; a password that is taken away is refused at once."""
    checks = []
    matches = access._matches
    monkeypatch.setattr(access, "_matches", lambda *a: checks.append(1) or matches(*a))
    clock = FakeClock()

    async def ask() -> None:
        door = Access(file, clock)
        for _ in range(5):
            assert await door.admits(basic("ops", "right"))
            assert not await door.admits(basic("ops", "wrong"))
        assert len(checks) == 2
        file.write_text(f"basic_auth_users:\n  ops: {hashed('other')}\n")
        os.utime(file, ns=(1, 1))
        clock.pass_(2)
        assert not await door.admits(basic("ops", "right"))
        assert await door.admits(basic("ops", "other"))

    asyncio.run(ask())


def test_a_file_that_becomes_wrong_leaves_the_one_before_in_force(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once, with the line; and mended, it is read."""
    clock = FakeClock()

    async def ask() -> None:
        door = Access(file, clock)
        file.write_text("basic_auth_users:\n  ops: plain\n")
        for _ in range(3):
            clock.pass_(2)
            assert await door.admits(basic("ops", "right"))
        assert caplog.text.count(f"{file}:2: ") == 1
        file.write_text("{}")
        clock.pass_(2)
        assert door.config().users == {}

    asyncio.run(ask())


def test_a_flood_of_wrong_passwords_does_not_starve_who_is_known(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few are checked at once, a few wait, the rest is sent away; who is known passes by."""

    async def ask() -> None:
        door = Access(file)
        assert await door.admits(basic("ops", "right"))
        go_on = asyncio.Event()

        async def slow(*_: object) -> bool:
            await go_on.wait()
            return False

        monkeypatch.setattr(access.asyncio, "to_thread", slow)
        flood = [
            asyncio.create_task(door.admits(basic("ops", f"wrong{n}")))
            for n in range(access.MOST_WAITING)
        ]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await door.admits(basic("ops", "one more"))
        assert await door.admits(basic("ops", "right"))
        go_on.set()
        assert not any(await asyncio.gather(*flood))

    asyncio.run(ask())


def test_what_is_remembered_is_bounded_and_the_good_outlast_the_bad(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever guesses cannot push out the scrape's password."""
    monkeypatch.setattr(access, "MOST_REMEMBERED", 8)
    monkeypatch.setattr(access, "_matches", lambda users, user, password: password == b"right")

    async def ask() -> int:
        door = Access(file)
        assert await door.admits(basic("ops", "right"))
        for number in range(50):
            await door.admits(basic("ops", f"wrong{number}"))
        assert sum(door._outcomes.values()) == 1
        return len(door._outcomes)

    assert asyncio.run(ask()) == 8
