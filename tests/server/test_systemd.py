"""What systemd is told, over a socket like its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest

from gpumon.model import Snapshot, SourceInfo
from gpumon.server import systemd
from gpumon.server.node import Node
from gpumon.server.parts import NodeParts

NVML = SourceInfo("nvml")


def told(path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: Snapshot, count: int) -> list[str]:
    """Return the first messages about a node that has had its first word."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    monkeypatch.setenv("WATCHDOG_USEC", "20000")

    async def run() -> list[str]:
        node = Node("n1", NVML, NodeParts.bare())
        task = asyncio.create_task(systemd.keep_telling(node))
        await asyncio.sleep(0)
        with contextlib.suppress(BlockingIOError):
            pytest.fail(f"told before the first word: {sock.recv(1000)!r}")
        node.snapshot(snapshot)
        loop = asyncio.get_running_loop()
        heard = [(await loop.sock_recv(sock, 1000)).decode() for _ in range(count)]
        task.cancel()
        return heard

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.setblocking(False)
        return asyncio.run(run())


def test_ready_is_said_once_and_the_watchdog_is_fed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on a node without a driver, which is served too; the status line says which it is."""
    down = Snapshot(time=1.0, source=NVML, up=False, errors=("no driver:\nload it",))
    first, second = told(tmp_path / "notify", monkeypatch, down, 2)
    assert first.splitlines() == ["READY=1", "STATUS=not ready: no driver: load it", "WATCHDOG=1"]
    assert second.splitlines() == ["STATUS=not ready: no driver: load it", "WATCHDOG=1"]


def test_where_systemd_does_not_listen_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a terminal, in a container; nor where the socket is gone."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not systemd.listens()
    systemd.notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/notify")
    systemd.notify("READY=1")
