"""Records what a simulated fleet serves while it has faults, as series for promtool.

It runs in the tree of any release (``PYTHONPATH=agent python record.py``): it asks the simulator by
HTTP's own words, which stay, and writes JSON. Beside the nodes that fail there are others of which
only as much is served as rules need to count them.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import sys
from collections.abc import Mapping
from typing import Any

from gpumon.simulate.clock import SteppedClock
from gpumon.simulate.service import make_fleet_app

START = 0.0
LINE = re.compile(r"(?m)^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")

LABEL = re.compile(r'\w+="(?:[^"\\]|\\.)*"')


def open_fleet(nodes: int) -> tuple[Any, SteppedClock]:
    """Return a fleet and the clock that moves it; a module and a class had other names before."""
    try:
        plans = importlib.import_module("gpumon.simulate.fleetplan")
    except ModuleNotFoundError:
        plans = importlib.import_module("gpumon.simulate.plan")
    fleets = importlib.import_module("gpumon.simulate.fleet")
    fleet_class = getattr(fleets, "SimFleet", None) or fleets.Fleet
    clock = SteppedClock(START)
    plan = plans.plan_fleet(nodes=nodes, gpus=8, model="H100", seed=5, site=None)
    return fleet_class(plan, clock), clock


async def get(app: Any, path: str) -> tuple[int, str]:
    """Ask an ASGI application."""
    status, body = 0, b""

    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Mapping[str, Any]) -> None:
        nonlocal status, body
        status = message.get("status", status)
        body += message.get("body", b"")

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"sim")],
        "client": ("c", 1),
        "server": ("sim", 80),
    }
    await app(scope, receive, send)
    return status, body.decode()


async def record(nodes: int, faults: list[str], minutes: int) -> Mapping[str, list[str | None]]:
    """Return the values by series; None while there is none, "stale" when it ends."""
    fleet, clock = open_fleet(nodes)
    fleet.add_faults(faults)
    app = make_fleet_app(fleet)
    found: dict[str, list[str | None]] = {}
    for minute in range(minutes):
        now: dict[str, str] = {}
        targets = json.loads((await get(app, "/sd"))[1])
        for target in targets:
            labels = {k: v for k, v in target["labels"].items() if not k.startswith("__")}
            status, text = await get(app, target["labels"]["__metrics_path__"])
            _take(now, {"job": "gpumon", **labels}, status, text)
        status, text = await get(app, "/site/metrics")
        _take(now, {"job": "gpumon-site", "instance": "site:9843"}, status, text)
        for series in found.keys() | now.keys():
            found.setdefault(series, [None] * minute).append(now.get(series))
        clock.step(60)
    return found


def _take(now: dict[str, str], labels: Mapping[str, str], status: int, text: str) -> None:
    target = ",".join(f'{name}="{value}"' for name, value in labels.items())
    up = status == 200
    now[f"up{{{target}}}"] = str(int(up))
    for name, own, value in LINE.findall(text) if up else ():
        # An empty label is none. The site says of which cluster it speaks, or its target does.
        said = ",".join(each for each in LABEL.findall(own) if not each.endswith('=""'))
        kept = target if "cluster=" in f"{target}{said}" else f'{target},cluster="sim"'
        now[f"{name}{{{','.join(filter(None, (kept, said)))}}}"] = value


def packed(values: list[str | None]) -> str:
    """Return values as promtool takes them, runs in short."""
    words: list[str] = []
    at = 0
    while at < len(values):
        end = at
        while end < len(values) and values[end] == values[at]:
            end += 1
        count, value = end - at, values[at]
        if value is None:
            words += ["stale"] * bool(at) + [f"_x{count - bool(at)}"] * (count > bool(at))
        else:
            words.append(value if count == 1 else f"{value}+0x{count - 1}")
        at = end
    return " ".join(words)


def main() -> None:
    """Read ``{"nodes", "minutes", "faults"}`` from stdin and write series and values."""
    wish = json.load(sys.stdin)
    found = asyncio.run(record(wish["nodes"], wish["faults"], wish["minutes"]))
    json.dump({series: packed(values) for series, values in found.items()}, sys.stdout)


if __name__ == "__main__":
    main()
