"""How a workload manager registers: its name, its options, how it is found, how it is made.

Each has one such row, in its own folder; ``gpumon.workloads.MANAGERS`` lists them. The command line
reads them at every start, so what a row needs to run is imported when it is called.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpumon.workloads.manager import Manager

Settings = Mapping[str, Path]
"""What was set, by an option's ``key``."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A path that a manager needs, as the command line declares it."""

    flag: str
    default: Path
    metavar: str
    help: str
    folder: bool = False

    def there(self, settings: Settings) -> bool:
        """Return whether the path is there, and this user may know it."""
        path = self.of(settings)
        try:
            return path.is_dir() if self.folder else path.exists()
        except OSError:
            return False

    @property
    def key(self) -> str:
        """The parameter that the command line makes of the flag."""
        return self.flag.removeprefix("--").replace("-", "_")

    def of(self, settings: Settings) -> Path:
        """Return what was set, or else the default."""
        return settings.get(self.key, self.default)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One workload manager.

    ``allocates`` if it gives GPUs to jobs, and so can say that a GPU is nobody's.
    ``speaks`` returns whether it can be heard on this machine: its folder or socket is there.
    ``installed`` returns whether it is here, though nothing can be heard of it yet.
    """

    name: str
    summary: str
    make: Callable[[Settings], Manager]
    options: tuple[Option, ...] = ()
    allocates: bool = True
    speaks: Callable[[Settings], bool] = lambda _: False
    installed: Callable[[], bool] = lambda: False
