"""Set a fake driver up by hand: ``eval "$(python -m tests.fakenvml DIRECTORY)"``.

Compiles the library, writes a control file to edit at will, and prints the shell's exports.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from . import FakeDriver, build_library, profiles

PROFILES = {
    "a100": profiles.a100,
    "h100": profiles.h100,
    "b200": profiles.b200,
    "gb200": profiles.gb200,
}


def main() -> None:
    """Do it."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakenvml")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--profile", choices=PROFILES, default="h100")
    parser.add_argument("--gpus", type=int, default=8)
    arguments = parser.parse_args()
    library = build_library(arguments.directory / "lib").resolve()
    machine = PROFILES[arguments.profile](arguments.gpus)
    driver = FakeDriver(arguments.directory.resolve(), machine, library=library)
    # Edited by hand, the file has nobody to ring for it: without the bell it is watched.
    driver.control_path.with_suffix(".bell").unlink()
    for name, value in driver.env().items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")


if __name__ == "__main__":
    main()
