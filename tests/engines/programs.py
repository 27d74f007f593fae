"""Where the programs are that ``make engines`` builds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def built(name: str) -> str:
    """Return the path of a program in the folder GPUMON_TEST_ENGINES; without it, skip.

    In CI too: there ``make engines`` has had its turn before ``make test``.
    """
    folder = os.environ.get("GPUMON_TEST_ENGINES")
    if not folder:
        pytest.skip("no engines (make engines)")
    return str(Path(folder).absolute() / name)
