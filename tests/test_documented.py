"""Tables of the documentation say what is so."""

from __future__ import annotations

import pytest

from tests.documented import TABLES, path, replaced


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_as_the_code_has_it(name: str) -> None:
    """``make docs`` writes it."""
    text = path(name).read_text("utf-8")
    assert replaced(name, text) == text
