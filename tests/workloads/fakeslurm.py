"""Slurm's commands as small scripts, for what a real Slurm of one version cannot show."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest


class FakeSlurm:
    """A folder of commands in front of the real ones; each says what it is told to."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make the folder; no command is in it yet."""
        self.folder = folder / "commands"
        self.folder.mkdir()
        self._conf = folder / "etc"
        self._conf.mkdir()
        (self._conf / "slurm.conf").touch()
        monkeypatch.setenv("PATH", f"{self.folder}:{os.environ['PATH']}")
        monkeypatch.setenv("SLURM_CONF", str(self._conf / "slurm.conf"))
        for name in ("squeue", "scontrol", "sinfo", "slurmd"):
            self.says(name, code=1, error=f"{name}: no such thing here")

    def gres_conf(self, text: str) -> None:
        """Write gres.conf."""
        (self._conf / "gres.conf").write_text(text)

    def says(self, name: str, text: str = "", *, code: int = 0, error: str = "") -> None:
        """Have a command print a text, whatever it is asked."""
        self.script(name, *_printing(self._kept(name, "any", text), code, error))

    def squeue(self, *, json: str | None = None, running: str = "", **fields: str) -> None:
        """Have squeue print its JSON if there is any, job numbers, and rows by their first field.

        ``fields`` are rows by what is asked for, such as ``UserName``.
        """
        lines = ['case " $* " in']
        if json is not None:
            lines += ["*' --json '*)", *_printing(self._kept("squeue", "json", json)), ";;"]
        else:
            lines += [
                "*' --json '*)",
                *_printing(None, 1, "squeue: unrecognized option --json"),
                ";;",
            ]
        for field, text in fields.items():
            lines += [f"*{field}:*)", *_printing(self._kept("squeue", field, text)), ";;"]
        lines += ["*' %A '*)", *_printing(self._kept("squeue", "running", running)), ";;"]
        self.script("squeue", *lines, "*) exit 7 ;;", "esac")

    def script(self, name: str, *lines: str) -> None:
        """Write a command; what it was asked is kept beside it."""
        path = self.folder / name
        asked = shlex.quote(str(self.folder / f"{name}.asked"))
        path.write_text("\n".join(["#!/bin/sh", f'echo "$*" >>{asked}', *lines, ""]))
        path.chmod(0o755)

    def asked(self, name: str) -> list[str]:
        """Return what a command was asked."""
        path = self.folder / f"{name}.asked"
        return path.read_text().splitlines() if path.exists() else []

    def _kept(self, name: str, what: str, text: str) -> Path:
        path = self.folder / f".{name}.{what}"
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        return path


def _printing(text: Path | None, code: int = 0, error: str = "") -> list[str]:
    lines = [f"cat {shlex.quote(str(text))}"] if text else []
    if error:
        lines.append(f"echo {shlex.quote(error)} >&2")
    return [*lines, f"exit {code}"]


def row(*words: tuple[str, int]) -> str:
    """Return a row of squeue -O: words to the right of columns, cut to their width in bytes."""
    cells = (word.encode()[:width].rjust(width) for word, width in words)
    return b"".join(cells).decode("utf-8", "surrogateescape") + "\n"


def whose(job_id: str, user: str, account: str = "(null)", partition: str = "gpu") -> str:
    """Return a row of squeue -O JobID:.32,UserName:.64,Account:.64,Partition:.64."""
    return row((job_id, 32), (user, 64), (account, 64), (partition, 64))


def when(job_id: str, state: str = "RUNNING", began: str = "2026-11-30T07:00:00") -> str:
    """Return a row of squeue -O JobID:.32,State:.32,StartTime:.32."""
    return row((job_id, 32), (state, 32), (began, 32))
