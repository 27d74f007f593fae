"""The catalogue of Xids: complete, in the field's words, and second to the driver's own verdict."""

from __future__ import annotations

import pytest

from gpumon.model import RECOVERY_ACTIONS
from gpumon.xids import RECOVERY, SEVERITIES, XID_CLASSES, Xid, advice, xid, xids

# The codes of NVIDIA's table, and those of the newest drivers.
KNOWN = {
    *(8, 13, 31, 32, 37, 38, 43, 44, 45, 46, 48, 54, 56, 57, 58, 61, 62, 63, 64, 66, 67, 68, 69),
    *(*range(39, 42), *range(70, 74), 74, *range(75, 78), 78, 79, 80, 81, 85, 92, 93, 94, 95),
    *(109, 110, 119, 120, 121, *range(126, 136), 136, 137, 140, 141, 143, *range(144, 152)),
    *(154, 155, 156, 157, 158, 159, 160, 161, *range(162, 174), 175, 176),
}


def test_every_code_of_the_drivers_table_is_there() -> None:
    """Those that no longer occur included: somebody's old board may still say them."""
    assert set(xids()) == KNOWN


@pytest.mark.parametrize("known", xids().values(), ids=lambda known: str(known.code))
def test_each_says_what_it_means_and_what_to_do(known: Xid) -> None:
    """In sentences that can be followed at three in the morning."""
    assert known.xid_class in XID_CLASSES
    assert known.severity in SEVERITIES
    assert known.meaning[0].isupper()
    assert not known.meaning.endswith(".")
    for sentence in (known.action, known.repeat_action):
        assert sentence.endswith(".")
        assert len(sentence) > 7


def test_a_code_that_is_not_known_is_said_to_be_so() -> None:
    """A newer driver has newer codes; nothing is made up for them."""
    assert xid(9999).meaning.startswith("Not in this version")
    assert advice(9999)


@pytest.mark.parametrize(
    ("code", "xid_class", "severity"),
    [
        (13, "application", "warning"),
        (31, "application", "warning"),
        (43, "application", "warning"),
        (45, "application", "info"),
        (48, "hardware", "critical"),
        (63, "hardware", "warning"),
        (64, "hardware", "critical"),
        (74, "hardware", "critical"),
        (79, "hardware", "critical"),
        (94, "hardware", "warning"),
        (95, "hardware", "critical"),
        (119, "driver", "critical"),
        (137, "application", "warning"),
    ],
)
def test_those_that_wake_people_are_told_from_those_that_do_not(
    code: int, xid_class: str, severity: str
) -> None:
    """A program's fault must not take a node out."""
    assert (xid(code).xid_class, xid(code).severity) == (xid_class, severity)


def test_what_the_driver_asks_for_comes_first() -> None:
    """It knows what it has contained; and every action it may ask for is put in words."""
    assert set(RECOVERY) == set(RECOVERY_ACTIONS)
    assert advice(94, "node_reboot").startswith("Drain the node and reboot it.")
    assert "node_reboot" in advice(94, "node_reboot")
    assert advice(94, "none") == advice(94) == xid(94).action
    assert advice(94, repeated=True) == xid(94).repeat_action
