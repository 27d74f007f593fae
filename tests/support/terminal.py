"""A real terminal: tmux, driven by its socket, with what is on its screen."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.servers import require

START = "$ "
"""What the shell in the terminal prompts with."""


class Terminal:
    """A shell in a terminal of a size."""

    def __init__(self, socket: Path, columns: int, lines: int, env: dict[str, str]) -> None:
        """Start the shell, with variables of its own."""
        settings = socket.with_suffix(".conf")
        settings.write_text("set -g status off\n")  # all lines are the program's
        self._tmux = [require("tmux"), "-u", "-S", str(socket), "-f", str(settings)]
        variables = [word for pair in env.items() for word in ("-e", "=".join(pair))]
        size = ["-x", str(columns), "-y", str(lines)]
        # Pytest's readline has put its own terminal's size there, which would count for more.
        shell = f"env -u COLUMNS -u LINES PS1={shlex.quote(START)} sh"
        self._run("new-session", "-d", *size, *variables, shell)
        self.wait(self.prompts, "the prompt")

    def _run(self, *argv: str) -> str:
        done = subprocess.run(
            [*self._tmux, *argv], capture_output=True, text=True, check=True, timeout=30
        )
        return done.stdout

    def text(self) -> str:
        """Return what is on the screen."""
        return self._run("capture-pane", "-p")

    def prompts(self) -> bool:
        """Tell whether the shell waits for a line."""
        return self.text().rstrip().endswith(f"\n{START.rstrip()}") or self.text().strip() == "$"

    def is_as_it_was(self) -> bool:
        """Tell whether it is the ordinary screen, with a cursor and no reports of the mouse."""
        format_ = "#{alternate_on}#{cursor_flag}#{mouse_any_flag}#{mouse_all_flag}"
        return self._run("display-message", "-p", format_).strip() == "0100"

    def type(self, line: str) -> None:
        """Type a line, with Enter."""
        self._run("send-keys", "-l", line)
        self._run("send-keys", "Enter")

    def press(self, *keys: str) -> None:
        """Press keys, by tmux's names."""
        self._run("send-keys", *keys)

    def resize(self, columns: int, lines: int) -> None:
        """Make it larger or smaller."""
        self._run("resize-window", "-x", str(columns), "-y", str(lines))

    def wait(self, what: Callable[[], bool], name: str, seconds: float = 30) -> None:
        """Wait until something holds; AssertionError with the screen where it does not."""
        until = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < until, f"{name} did not come:\n{self.text()}"
            time.sleep(0.05)

    def shows(self, text: str, seconds: float = 30) -> None:
        """Wait until a text is on the screen."""
        self.wait(lambda: text in self.text(), repr(text), seconds)

    def echo_works(self) -> bool:
        """Tell, once the shell prompts again, whether what is typed can be seen and carried out."""
        self.type("echo a$((40+2))b")
        self.wait(lambda: "a42b" in self.text(), "the shell's answer")
        return "echo a$((40+2))b" in self.text()

    def close(self) -> None:
        """End it, with all that runs in it."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run("kill-server")


@contextlib.contextmanager
def open_terminal(
    folder: Path, columns: int = 100, lines: int = 30, env: dict[str, str] | None = None
) -> Iterator[Terminal]:
    """Open a terminal, and close it."""
    terminal = Terminal(folder / "tmux", columns, lines, env or {})
    try:
        yield terminal
    finally:
        terminal.close()
