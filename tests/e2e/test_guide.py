"""The user guide says what its commands print."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpumon.cli import COMMANDS
from tests.guide import GUIDE, PICTURE, PLACES, examples, shape

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

EXAMPLES = examples(GUIDE.read_text("utf-8"))


@pytest.mark.parametrize("name", PLACES)
def test_every_example_prints_what_the_guide_says(name: str, tmp_path: Path) -> None:
    """But for numbers and times; ``make guide`` writes what is printed now."""
    there = [example for example in EXAMPLES if example.place == name]
    assert there
    with PLACES[name](tmp_path) as place:
        for example in there:
            assert shape(example.run(place)) == shape(example.body), example.commands


def test_every_command_is_in_the_guide() -> None:
    """With an example, or where the rest of it is."""
    text = GUIDE.read_text("utf-8")
    assert [
        name for name in COMMANDS if f"`{name}`" not in text and f"`gpumon {name}" not in text
    ] == []
    assert PICTURE.name in text
    assert PICTURE.exists()


def test_a_changed_word_is_noticed_and_another_number_is_not() -> None:
    """What the comparison is worth."""
    assert shape("n17: 4 GPUs, 2,761 W at 14:48:19") == shape("n17: 8 GPUs, 99 W at 15:00:00")
    assert shape("n17: 4 GPUs") != shape("n17: 4 boards")
    assert shape("GPU  power   margin") == shape("GPU power margin")
