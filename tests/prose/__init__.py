"""Plain English: a word list of our own, and what of the project people read."""
