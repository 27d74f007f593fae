"""What is to be done, in order: from what there is to what is wanted, and nothing twice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from gpumon.config import DEFAULT_FILE
from gpumon.errors import UnavailableError, UsageError
from gpumon.install.files import DROP_INS, UNIT_FILE, USERS_FILE, is_ours, rendered
from gpumon.install.machine import Machine
from gpumon.install.steps import Leave, Remove, Run, Step, Write
from gpumon.service import UNIT, USER

JOURNAL = f"see journalctl -u {UNIT} -n 20"


def install(
    machine: Machine,
    configuration: str,
    chosen: Mapping[str, str],
    present: Mapping[str, str] | None,
    *,
    start: bool = True,
    force: bool = False,
) -> list[Step]:
    """Return what makes a service of this gpumon.

    ``configuration`` is the file for a machine that has none, with the ``chosen`` values in it;
    ``present`` are the values of the one that is there, None where there is none. Raises
    UnavailableError where there can be no service, and UsageError where the two contradict.
    """
    _refuse(machine, f"bring the changes to systemctl edit {UNIT}, and add --force", force=force)
    if machine.program.unseen is not None:
        raise UnavailableError(
            f"the service could not open {machine.program.unseen}: it runs as a user of its own,"
            " and sees no home folders",
            "install gpumon for all, such as with pipx install --global gpumon, and run that one",
        )
    if not re.fullmatch(r"[\w/.+@: -]+", machine.program.command, re.ASCII):
        raise UnavailableError(
            f"systemd would misread {machine.program.command!r}",
            "install gpumon in a folder with letters and digits",
        )
    steps = list(_files(machine, force=force))
    changed = machine.outdated or any(
        isinstance(step, Write) and step.path == UNIT_FILE for step in steps
    )
    if present is None:
        steps.append(Write(DEFAULT_FILE, configuration))
        changed = True
    else:
        _agree(present, chosen)
        steps.append(Leave(f"{DEFAULT_FILE} as it is"))
    return steps + list(_started(machine, changed=changed, start=start))


def _files(machine: Machine, *, force: bool) -> Iterator[Step]:
    files = rendered(machine.program.command)
    for path in (USERS_FILE, UNIT_FILE):
        old = machine.files.get(path)
        if old != files[path]:
            edited = force and old is not None and not is_ours(path, old)
            yield Write(path, files[path], keep_old=edited)
        if path == USERS_FILE and not machine.has_user:
            yield Run(("systemd-sysusers", str(USERS_FILE)), ("make", "made"), f"the user {USER}")


def _started(machine: Machine, *, changed: bool, start: bool) -> Iterator[Step]:
    enable = Run(
        ("systemctl", "enable", UNIT), ("enable", "enabled"), f"{UNIT}: it starts with the machine"
    )
    if machine.unit is None:
        yield enable
        yield Leave(f"{UNIT} for the next boot to start: systemd does not run here")
        return
    if changed:
        yield Run(("systemctl", "daemon-reload"), ("reload", "reloaded"), "systemd's units")
    if machine.unit.get("UnitFileState") != "enabled":
        yield enable
    runs = machine.unit.get("ActiveState") == "active"
    if not start:
        yield Leave(f"{UNIT} {'running as it was' if runs else 'stopped'}")
    elif changed or not runs:
        words = ("restart", "restarted") if runs else ("start", "started")
        yield Run(("systemctl", "restart", UNIT), words, UNIT, JOURNAL)
    else:
        yield Leave(f"{UNIT} running as it was")


def uninstall(machine: Machine, *, purge: bool = False, force: bool = False) -> list[Step]:
    """Return what removes the service; its configuration and memory only where they are to go.

    Raises UnavailableError where the service is not gpumon's own to remove.
    """
    _refuse(machine, "keep what you need of it, and add --force", force=force)
    ours = [path for path in (UNIT_FILE, USERS_FILE) if path in machine.files]
    left = [path for path in machine.left if not purge]
    gone = [path for path in machine.left if purge]
    steps: list[Step] = []
    if UNIT_FILE in ours:
        now = ("--now",) if machine.unit is not None else ()
        words = ("stop and disable", "stopped and disabled") if now else ("disable", "disabled")
        steps.append(Run(("systemctl", "disable", *now, UNIT), words, UNIT, JOURNAL))
    steps += [Remove(path) for path in [*ours, *gone]]
    if machine.unit is not None and (UNIT_FILE in ours or DROP_INS in gone):
        steps.append(Run(("systemctl", "daemon-reload"), ("reload", "reloaded"), "systemd's units"))
    if purge and machine.has_user:
        steps.append(Run(("userdel", USER), ("remove", "removed"), f"the user {USER}"))
    kept = [*map(str, left), *([f"the user {USER}"] if machine.has_user and not purge else [])]
    return steps + [Leave(f"{what}: --purge removes it") for what in kept]


def _refuse(machine: Machine, edited: str, *, force: bool) -> None:
    """Raise UnavailableError where the service is not ours to change."""
    if not machine.has_systemd:
        raise UnavailableError(
            "this machine has no systemd", "have whatever starts services here run: gpumon agent"
        )
    if machine.masked:
        raise UnavailableError(f"{UNIT} is masked", f"systemctl unmask {UNIT}")
    if machine.packaged is not None:
        raise UnavailableError(
            f"{machine.packaged} is a package's", "install and remove it with the package manager"
        )
    for path in (UNIT_FILE, USERS_FILE):
        text = machine.files.get(path)
        if text is not None and not force and not is_ours(path, text):
            raise UnavailableError(f"somebody edited {path}", edited)


def _agree(there: Mapping[str, str], chosen: Mapping[str, str]) -> None:
    """Raise UsageError where a configuration that is there says otherwise than was chosen."""
    for key, value in chosen.items():
        if there.get(key) != value:
            said = f"has {key} = {there[key]}" if key in there else f"does not have {key}"
            raise UsageError(
                f"{DEFAULT_FILE} is there, and {said}",
                f"write {key} in it, then systemctl restart {UNIT}",
            )
