"""From device files to GPUs and MIG instances, by the numbers that the driver gives them."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from gpumon.workloads.held import Name
from gpumon.workloads.knowngpus import Instance
from gpumon.workloads.slurm.gres import NotKnownError

NVIDIA_MAJOR = 195
"""The registered number of the driver's devices (Documentation/admin-guide/devices.txt, Linux)."""

MOST_GPUS = 254
"""Minor numbers from here on are nvidia-modeset and nvidiactl."""

MIG_MINORS = Path("/proc/driver/nvidia-caps/mig-minors")

_CAP = re.compile(r"nvidia-cap(\d{1,6})", re.ASCII)
_MIG_LINE = re.compile(r"gpu(\d+)/gi(\d+)/(?:ci(\d+)/)?access (\d+)", re.ASCII)


def gpu_names(files: Sequence[str]) -> tuple[Name, ...]:
    """Return the GPUs, or instances of them, whose device files these are.

    NotKnownError if that cannot be said.
    """
    minors = [minor for file in files if (minor := _minor(file)) is not None]
    if not minors and files:
        # Of another name, Slurm itself takes the number at its end (gres_common.c: dev_num).
        last = re.search(r"(\d{1,4})$", files[0], re.ASCII)
        minors = [int(last[1])] if last else []
    if not minors:
        raise NotKnownError(f"{files[0] if files else 'nothing'} is not a GPU's device file")
    instances = _instances(files)
    if any(minor not in minors for minor, _, _ in instances):
        raise NotKnownError(f"{', '.join(files)} are files of several GPUs")
    divided = {instance.minor for instance in instances}
    return (*(minor for minor in minors if minor not in divided), *instances)


def _minor(file: str) -> int | None:
    """Return N of the /dev/nvidiaN that a file is, by its own number if it is there."""
    with contextlib.suppress(OSError, ValueError):
        found = Path(file).stat()
        if stat.S_ISCHR(found.st_mode) and os.major(found.st_rdev) == NVIDIA_MAJOR:
            minor = os.minor(found.st_rdev)
            return minor if minor < MOST_GPUS else None
    named = re.fullmatch(r"nvidia(\d{1,3})", file.rpartition("/")[2], re.ASCII)
    return int(named[1]) if named else None


def _instances(files: Sequence[str]) -> list[Instance]:
    """Return the MIG instances of the nvidia-capN among files."""
    caps = [found for file in files if (found := _CAP.fullmatch(file.rpartition("/")[2]))]
    if not caps:
        return []
    table = _mig_table()
    parts_of: dict[tuple[int, int], list[int]] = {}
    for number in (int(found[1]) for found in caps):
        place = table.get(number) if table else _mig_place(number)
        if place is None:
            raise NotKnownError(f"nvidia-cap{number} is not a MIG instance")
        parts = parts_of.setdefault((place.minor, place.gpu_instance), [])
        if place.compute_instance is not None:
            parts.append(place.compute_instance)
    places: list[Instance] = []
    for (minor, gpu_instance), parts in parts_of.items():
        places += [Instance(minor, gpu_instance, part) for part in parts] or [
            Instance(minor, gpu_instance)
        ]
    return places


def _mig_table() -> dict[int, Instance]:
    """Return what each nvidia-capN is, as the driver lists it; empty if there is no driver."""
    try:
        text = MIG_MINORS.read_text("utf-8", "replace")
    except OSError:
        return {}
    return {
        int(number): Instance(int(gpu), int(instance), int(part) if part else None)
        for gpu, instance, part, number in _MIG_LINE.findall(text)
    }


_FIRST_CAP, _CAPS_OF_GPU, _CAPS_OF_INSTANCE = 3, 135, 9


def _mig_place(number: int) -> Instance | None:
    """Return the same by the driver's own scheme.

    Of each GPU, 15 GPU instances with 8 compute instances each (kernel-open/nvidia/nv-caps.c in
    github.com/NVIDIA/open-gpu-kernel-modules).
    """
    if number < _FIRST_CAP:
        return None
    gpu, rest = divmod(number - _FIRST_CAP, _CAPS_OF_GPU)
    instance, part = divmod(rest, _CAPS_OF_INSTANCE)
    return Instance(gpu, instance, part - 1 if part else None)
