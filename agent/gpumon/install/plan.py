"""The steps in order: from what there is to what is wanted, and nothing twice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from gpumon.config import DEFAULT_FILE
from gpumon.errors import UnavailableError, UsageError
from gpumon.install.files import UNIT_FILE, USERS_FILE, WANTED, is_ours, rendered, typed
from gpumon.install.machine import Machine
from gpumon.install.steps import Leave, Remove, Run, Step, Stop, Write
from gpumon.install.unit import UNIT, USER

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
    """Return the steps that install this gpumon as a service.

    ``configuration`` is the file for a machine that has none, with the ``chosen`` values in it;
    ``present`` are the values of the one that is there, None if there is none. Raises
    UnavailableError if there can be no service, and UsageError if the two contradict.
    """
    _refuse(
        machine,
        f"move your changes to a drop-in (systemctl edit {UNIT}), and add --force",
        force=force,
    )
    if machine.program.unseen:
        raise UnavailableError(
            f"the service's user could not run this gpumon: {machine.program.unseen}",
            "install it for all users (docs/operating.md), and run that one",
        )
    if not all(re.fullmatch(r"[\w/.+@:-]+", word, re.ASCII) for word in machine.program.argv):
        raise UnavailableError(
            f"systemd would misread {' '.join(machine.program.argv)!r}",
            "install gpumon in a folder whose name is letters and digits",
        )
    if machine.closed is not None:
        raise UnavailableError(
            f"the service's user {USER} could not read {machine.closed}",
            f"chgrp {USER} {machine.closed}, and chmod g+rX",
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
        steps.append(Leave(f"{DEFAULT_FILE} unchanged"))
    return steps + list(_started(machine, changed=changed, start=start))


def _files(machine: Machine, *, force: bool) -> Iterator[Step]:
    files = rendered(machine.program.argv)
    for path in (USERS_FILE, UNIT_FILE):
        old = machine.files.get(path)
        if old != files[path]:
            edited = force and old is not None and not is_ours(path, old)
            yield Write(path, files[path], keep_old=edited)
        if path == USERS_FILE and not machine.has_user:
            yield Run(
                ("systemd-sysusers", str(USERS_FILE)), ("create", "created"), f"the user {USER}"
            )


def _started(machine: Machine, *, changed: bool, start: bool) -> Iterator[Step]:
    if machine.unit is not None and changed:
        yield RELOAD
    if not machine.enabled:
        what = f"{UNIT}: it starts at boot"
        yield Run(("systemctl", "enable", UNIT), ("enable", "enabled"), what)
    if machine.unit is None:
        yield Leave(f"{UNIT} for the next boot to start: systemd does not run here")
        return
    runs = machine.unit.get("ActiveState") == "active"
    if not start:
        yield Leave(f"{UNIT} {'running as it was' if runs else 'stopped'}")
    elif changed or not runs:
        words = ("restart", "restarted") if runs else ("start", "started")
        yield Run(("systemctl", "restart", UNIT), words, UNIT, JOURNAL)
    else:
        yield Leave(f"{UNIT} running as it was")


def uninstall(machine: Machine, *, purge: bool = False, force: bool = False) -> list[Step]:
    """Return what removes the service; its configuration and memory only for a purge.

    Raises UnavailableError if the service is not gpumon's own to remove.
    """
    _refuse(machine, "save what you need from it, and add --force", force=force)
    there = [path for path in (UNIT_FILE, USERS_FILE) if path in machine.files]
    steps: list[Step] = []
    if machine.unit is not None and machine.unit.get("ActiveState") not in ENDED:
        steps.append(Stop(UNIT, f"{JOURNAL}, and docs/operating.md (Stop it safely)"))
    if UNIT_FILE in there:
        steps.append(Run(("systemctl", "disable", UNIT), ("disable", "disabled"), UNIT))
    gone = [*there, *([WANTED] if machine.dangling else []), *(machine.left if purge else ())]
    if purge and DEFAULT_FILE.parent in {path.parent for path in gone} and not machine.others:
        gone.append(DEFAULT_FILE.parent)
    steps += [Remove(path) for path in gone]
    if machine.unit is not None and gone:
        steps.append(RELOAD)
    if not purge:
        kept = [*map(str, machine.left), *([f"the user {USER}"] if machine.has_user else [])]
        return steps + [Leave(f"{what}: --purge removes it") for what in kept]
    if machine.others:
        steps.append(Leave(f"{DEFAULT_FILE.parent}: there is also {', '.join(machine.others)}"))
    return steps + list(_without_user(machine))


def _without_user(machine: Machine) -> Iterator[Step]:
    """Yield what removes the user, unless the site's exporter runs as it as well."""
    if not machine.has_user:
        return
    if machine.site:
        yield Leave(f"the user {USER}: gpumon-site runs as it")
        return
    busy = "end its processes (a reader that waits in the driver ends with its call), run again"
    yield Run(("userdel", USER), ("remove", "removed"), f"the user {USER}", busy)
    # Where users have no group of their own by default, the group stays: 6 is "there is none".
    yield Run(("groupdel", USER), ("remove", "removed"), f"the group {USER}", busy, fine=(0, 6))


ENDED = frozenset({"inactive", "failed", ""})

RELOAD = Run(("systemctl", "daemon-reload"), ("reload", "reloaded"), "systemd's units")


def _refuse(machine: Machine, edited: str, *, force: bool) -> None:
    """Raise UnavailableError if the service is not ours to change."""
    if not machine.has_systemd:
        raise UnavailableError(
            "this machine has no systemd", "let your own service manager run: gpumon agent"
        )
    if machine.masked:
        raise UnavailableError(f"{UNIT} is masked", f"systemctl unmask {UNIT}")
    if machine.elsewhere is not None:
        raise UnavailableError(
            f"{machine.elsewhere} already exists",
            "use the package manager; or remove that file, if it belongs to no package",
        )
    for path in (UNIT_FILE, USERS_FILE):
        text = machine.files.get(path)
        if text is not None and not force and not is_ours(path, text):
            raise UnavailableError(f"{path} is not what gpumon install writes", edited)


def _agree(there: Mapping[str, str], chosen: Mapping[str, str]) -> None:
    """Raise UsageError if an existing configuration contradicts what was chosen."""
    for key, value in chosen.items():
        if key not in there or typed(there[key]) != typed(value):
            said = f"has {key} = {there[key]}" if key in there else f"does not have {key}"
            raise UsageError(
                f"{DEFAULT_FILE} exists, and {said}",
                f"write {key} in it, then systemctl restart {UNIT}",
            )
