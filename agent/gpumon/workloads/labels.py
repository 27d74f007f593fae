"""What users call things, as a label takes it."""

from __future__ import annotations

LONGEST_TEXT = 64
"""Characters of a user's text, such as a job's name, that go onto a label."""


def plain(text: object) -> str:
    """Return a user's text as a label takes it: printable, and not long."""
    kept = "".join(letter if letter.isprintable() else " " for letter in str(text))
    return kept.strip()[:LONGEST_TEXT]
