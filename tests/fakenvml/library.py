"""Compiling the fake ``libnvidia-ml.so.1``."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCES = Path(__file__).parent / "src"
SONAME = "libnvidia-ml.so.1"
FLAGS = ["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-std=c11", "-pthread"]


def build_library(directory: Path, *, omit: Sequence[str] = ()) -> Path:
    """Compile the library into ``directory`` and return that directory, for LD_LIBRARY_PATH.

    ``omit`` names exported C functions (``nvmlDeviceGetMarginTemperature``) to hide: pynvml
    then raises ``NVMLError_FunctionNotFound``, as with a driver that is older than they are.
    """
    directory.mkdir(parents=True, exist_ok=True)
    library = directory / SONAME
    command = [
        os.environ.get("CC", "cc"),
        *FLAGS,
        "-fvisibility=hidden",
        f"-Wl,-soname,{SONAME}",
        "-o",
        str(library),
        *sorted(str(path) for path in SOURCES.glob("*.c")),
    ]
    if omit:
        script = directory / "omit.map"
        script.write_text("{ local: " + " ".join(f"{name};" for name in omit) + " };\n")
        command.append(f"-Wl,--version-script={script}")
    subprocess.run(command, check=True)
    # The table of functions keeps the names of hidden ones: a misspelt name is found here,
    # not by a test that wonders why nothing is missing.
    content = library.read_bytes()
    unknown = [name for name in omit if name.encode() + b"\0" not in content]
    if unknown:
        raise ValueError(f"the fake has no function {', '.join(unknown)}")
    return directory
