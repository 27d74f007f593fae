"""All items at once, in time, whatever happens to one of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from gpumon.checks import Level
from gpumon.doctor import Finding, Question, examine
from gpumon.errors import UnavailableError
from gpumon.views.doctor import exit_code, verdict


def passes(name: str) -> Iterator[Finding]:
    """Say of a thing that it is well, and of another that it is to be looked at."""
    yield Finding(name, Level.PASS, "")
    yield Finding(f"{name}-more", Level.WARN, "", "")


def test_what_hangs_is_said_and_the_others_are_not_kept_waiting() -> None:
    """Each item is one finding at least, in their order, whatever happens to it."""
    released = threading.Event()

    def hangs() -> str:
        released.wait(60)
        return "hangs"

    def breaks() -> str:
        raise ZeroDivisionError("by nought")

    def refuses() -> str:
        raise UnavailableError("nothing there", "look elsewhere")

    gathered = {"hangs": hangs, "breaks": breaks, "refuses": refuses, "says": lambda: "says"}
    found = examine([Question(name, gather, passes) for name, gather in gathered.items()], 0.3)
    released.set()
    assert [(each.item, each.level.value, each.missed) for each in found] == [
        ("hangs", "skip", True),
        ("breaks", "skip", True),
        ("refuses", "fail", False),
        ("says", "pass", False),
        ("says-more", "warn", False),
    ]
    assert found[0].evidence == "no answer within 0.3 s"
    assert found[1].evidence == "ZeroDivisionError: by nought"
    assert (found[2].evidence, found[2].next_step) == ("nothing there", "look elsewhere")


def test_what_was_not_told_is_neither_well_nor_wrong() -> None:
    """Exit code 3, unless something is wrong; what nobody asked for counts for nothing."""
    well, look = Finding("a", Level.PASS, ""), Finding("b", Level.WARN, "", "")
    wrong, unasked = Finding("c", Level.FAIL, "", ""), Finding("d", Level.SKIP, "")
    untold = Finding("e", Level.SKIP, "", missed=True)
    assert (verdict([well, unasked]), exit_code([well, unasked])) == ("ok", 0)
    assert (verdict([well, look]), exit_code([well, look])) == ("warning", 0)
    assert (verdict([well, look, untold]), exit_code([well, untold])) == ("unknown", 3)
    assert (verdict([untold, wrong]), exit_code([untold, wrong])) == ("trouble", 1)
