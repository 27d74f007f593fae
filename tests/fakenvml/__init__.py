"""A fake NVML: a C library the real pynvml loads, and switches for what goes wrong.

See README.md. Usage::

    library = build_library(tmp_path / "lib")
    driver = FakeDriver(tmp_path / "driver", profiles.h100(8), library=library)
    process = subprocess.Popen([...], env=os.environ | driver.env())
    driver.lose(3)
"""

from __future__ import annotations

from . import captures, profiles
from .driver import FakeDriver
from .library import build_library
from .machine import Machine, Value

__all__ = ["FakeDriver", "Machine", "Value", "build_library", "captures", "profiles"]
