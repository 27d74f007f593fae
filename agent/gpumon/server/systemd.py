"""Messages to systemd (sd_notify(3)): ready, the status, and that the agent is alive.

The agent is ready once it replies and its reader has sent its first message, even if that message
says that there is no driver: such a node is served too, and must not be restarted for it. The
watchdog is fed from the event loop. A driver that hangs is reported, but is not a reason to restart
the agent, which would leave another reader waiting in it.
"""

from __future__ import annotations

import asyncio
import os
import socket

from gpumon.server.node import Node

USUAL_SECONDS = 10.0
"""How often the status line is renewed if there is no watchdog to feed more often."""


def listens() -> bool:
    """Return whether systemd listens."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def notify(message: str) -> None:
    """Send systemd a message; nothing happens if it does not listen."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # an abstract socket
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.connect(address)
            sock.send(message.encode())
        except OSError:
            return


async def keep_telling(node: Node) -> None:
    """Say ready when the node has been heard of, and then how it goes, until cancelled."""
    await node.first_word.wait()
    period = min(USUAL_SECONDS, int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6 or USUAL_SECONDS)
    ready = "READY=1\n"
    while True:
        why_not = node.ready()
        status = f"not ready: {why_not}" if why_not else f"reading {node.gpus_up} GPUs"
        one_line = " ".join(status.split())
        notify(f"{ready}STATUS={one_line}\nWATCHDOG=1")
        ready = ""
        await asyncio.sleep(period)
