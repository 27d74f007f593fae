"""Completion in bash, for which a word ends at a colon.

bash hands ``sim:8xH`` over as three words, ``sim``, ``:`` and ``8xH``, and replaces the last of
them only (bash(1): COMP_WORDBREAKS). The completions of click know nothing of that.
"""

from __future__ import annotations

import os
import typing

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    split_arg_string,
)


class ColonComplete(BashComplete):
    """click's completion for bash, with words that have colons."""

    replaced = 0
    """How much of the word that is completed stands before what bash replaces, in characters."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one that is completed, and what there is of it."""
        words = split_arg_string(os.environ["COMP_WORDS"])
        at = int(os.environ["COMP_CWORD"])
        if at >= len(words):  # a new word, of which there is nothing yet
            return joined(words)[1:], ""
        *before, begun = joined(words[: at + 1])
        if begun != words[at]:
            self.replaced = begun.rindex(":") + 1
        return before[1:], begun

    def format_completion(self, item: CompletionItem[typing.Any]) -> str:
        """Return a line for the script: the kind of word, and what bash is to put in."""
        return f"{item.type},{item.value[self.replaced :]}"


def joined(words: list[str]) -> list[str]:
    """Return words as they were typed, from those that bash has split at colons."""
    whole: list[str] = []
    before = ""
    for word in words:
        if whole and {":"} in ({*word}, {*before}):
            whole[-1] += word
        else:
            whole.append(word)
        before = word
    return whole


add_completion_class(ColonComplete)
