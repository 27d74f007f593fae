"""What is in ``xids.log``, counted by hand: sixty lines of the drivers among others."""

from __future__ import annotations

XIDS = {
    0: {8: 1, 13: 2, 31: 1, 32: 1, 38: 1, 61: 1, 68: 1},
    1: {31: 2, 43: 1, 45: 2},
    2: {48: 1, 63: 1, 64: 1, 94: 1, 95: 1, 154: 1},
    3: {74: 2, 92: 1, 156: 1, 160: 1, 162: 1, 167: 1, 171: 1},
    # Told with its number and, a moment later, in plain words: once.
    4: {79: 1, 154: 1},
    # Told twice in the form of three lines.
    5: {79: 2, 109: 1, 110: 1, 140: 1, 143: 1, 144: 1, 145: 1, 149: 2, 150: 1},
    6: {119: 3, 120: 1, 121: 1, 136: 1, 137: 1},
    # Of MIG instances.
    7: {13: 1, 31: 1, 43: 1, 63: 1, 69: 1, 94: 1},
}
"""Xids by GPU (tests.fakenvml.profiles) and code."""

SXIDS = {
    ("0", "0000:87:00", "20034", "fatal"): 2,
    ("2", "0000:89:00", "12028", "non_fatal"): 1,
    ("3", "0000:8a:00", "22013", "non_fatal"): 1,
}
"""SXids by NVSwitch, address, code and severity."""
