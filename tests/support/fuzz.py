"""How long inputs are made up: 200 of each kind, or as many as ``GPUMON_TEST_FUZZ`` says."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FUZZ = settings(
    max_examples=int(os.environ.get("GPUMON_TEST_FUZZ", "200")),
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.function_scoped_fixture,  # a folder whose file each input writes anew
    ],
    print_blob=True,
)
"""A failure prints how it is repeated; those that were found stay as examples of their test."""

PLAIN = st.text(st.characters(codec="utf-8"), max_size=40)
"""Any text that can be encoded."""


def text_of(*tokens: str) -> st.SearchStrategy[str]:
    """Return any texts, and those that are made of what a format has: the more hostile ones."""
    return st.one_of(
        PLAIN,
        st.lists(st.one_of(st.sampled_from(tokens), st.text(max_size=3)), max_size=12).map("".join),
    )


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False),
        PLAIN,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(PLAIN, inner, max_size=4)),
    max_leaves=20,
)
