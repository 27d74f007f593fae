"""Readings that cannot be, and that the agent therefore left out: how many, of which quantity."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator

from gpumon.doctor.agent import ask
from gpumon.doctor.facts import Readings
from gpumon.doctor.finding import Finding, good, odd, unasked

_REFUSED = re.compile(r'^gpumon_refused_readings_total\{quantity="([^"\n]*)"\} (\S+)', re.MULTILINE)

_IS_AGENT = "gpumon_build_info"


def readings(url: str, metrics: str) -> Readings:
    """Ask the agent what it refused."""
    try:
        text = ask(url, metrics).text
    except (OSError, ValueError, http.client.HTTPException):
        return Readings()
    if _IS_AGENT not in text:
        return Readings()
    return Readings({name: round(float(count)) for name, count in _REFUSED.findall(text)})


def judge(facts: Readings) -> Iterator[Finding]:
    """Judge whether what the hardware reports can be."""
    if facts.refused is None:
        yield unasked("readings", "no agent says which readings it refused")
        return
    refused = {quantity: count for quantity, count in facts.refused.items() if count}
    if not refused:
        yield good("readings", "no impossible readings")
        return
    words = ", ".join(f"{quantity} ({count})" for quantity, count in sorted(refused.items()))
    yield odd(
        "readings",
        f"impossible ones are left out: {words}",
        "see the agent's log (impossible) for what reports them; reset or update that GPU, driver "
        "or BMC: docs/energy.md, Impossible readings",
    )
