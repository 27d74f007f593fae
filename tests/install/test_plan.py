"""What is to be done: pure, from what there is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from gpumon.config import DEFAULT_FILE
from gpumon.errors import GpumonError, UnavailableError, UsageError
from gpumon.install import plan
from gpumon.install.files import DROP_INS, UNIT_FILE, USERS_FILE, WANTED, rendered
from gpumon.install.machine import Executable, Machine
from gpumon.install.steps import Leave, Step, Write
from gpumon.install.unit import STATE_DIR

PROGRAM = ("/opt/gpumon/bin/gpumon",)
BARE = Machine(
    program=Executable(PROGRAM),
    is_root=True,
    has_systemd=True,
    unit={"ActiveState": "inactive"},
    enabled=False,
    dangling=False,
    outdated=False,
    files={},
    masked=False,
    elsewhere=None,
    has_user=False,
    closed=None,
    left=(),
    others=(),
    site=False,
)
INSTALLED = dataclasses.replace(
    BARE,
    unit={"ActiveState": "active"},
    enabled=True,
    files=rendered(PROGRAM),
    has_user=True,
    left=(DEFAULT_FILE, STATE_DIR),
)
EDITED = dataclasses.replace(
    INSTALLED, files={**INSTALLED.files, UNIT_FILE: f"{INSTALLED.files[UNIT_FILE]}\nNice=5\n"}
)


def told(steps: list[Step]) -> list[str]:
    """Return the steps in words."""
    return [f"{step.words[0]} {step.what}" for step in steps]


def test_a_bare_machine_gets_all_of_it_in_the_order_in_which_it_is_needed() -> None:
    """The user before the unit that runs as it, the unit before it is started."""
    assert told(plan.install(BARE, "text", {}, None)) == [
        f"write {USERS_FILE}",
        "create the user gpumon",
        f"write {UNIT_FILE}",
        f"write {DEFAULT_FILE}",
        "reload systemd's units",
        "enable gpumon-agent: it starts at boot",
        "start gpumon-agent",
    ]


def test_a_second_time_changes_nothing() -> None:
    """Of what is as it should be only the configuration and the service are spoken of."""
    steps = plan.install(INSTALLED, "text", {}, {})
    assert {type(step) for step in steps} == {Leave}
    assert told(steps) == [
        f"leave {DEFAULT_FILE} unchanged",
        "leave gpumon-agent running as it was",
    ]


def test_another_version_or_folder_renews_the_unit_and_restarts() -> None:
    """The version is in the unit; nobody edited it, so nothing is kept."""
    old = {
        path: text.replace("version 0", "version 0.0.0") for path, text in rendered(["/x"]).items()
    }
    there = dataclasses.replace(INSTALLED, files=old)
    steps = plan.install(there, "text", {}, {})
    assert told(steps) == [
        f"write {USERS_FILE}",
        f"write {UNIT_FILE}",
        f"leave {DEFAULT_FILE} unchanged",
        "reload systemd's units",
        "restart gpumon-agent",
    ]
    assert not any(step.keep_old for step in steps if isinstance(step, Write))


def test_an_agent_older_than_its_files_is_restarted() -> None:
    """An upgrade within a version, another configuration, or an install that was interrupted."""
    there = dataclasses.replace(INSTALLED, outdated=True)
    assert told(plan.install(there, "text", {}, {}))[1:] == [
        "reload systemd's units",
        "restart gpumon-agent",
    ]


def test_a_service_that_is_stopped_or_not_enabled_is_mended() -> None:
    """As whoever asks for it expects."""
    there = dataclasses.replace(INSTALLED, unit={"ActiveState": "failed"}, enabled=False)
    assert told(plan.install(there, "text", {}, {}))[1:] == [
        "enable gpumon-agent: it starts at boot",
        "start gpumon-agent",
    ]


def test_where_systemd_does_not_run_nothing_is_started() -> None:
    """In an image that is being built: it starts at the first boot."""
    there = dataclasses.replace(BARE, unit=None)
    *_, enable, last = told(plan.install(there, "text", {}, None))
    assert enable == "enable gpumon-agent: it starts at boot"
    assert last == "leave gpumon-agent for the next boot to start: systemd does not run here"
    assert "reload systemd's units" not in told(plan.install(there, "text", {}, None))


def test_it_can_be_left_stopped() -> None:
    """Enabled all the same."""
    assert told(plan.install(BARE, "text", {}, None, start=False))[-2:] == [
        "enable gpumon-agent: it starts at boot",
        "leave gpumon-agent stopped",
    ]


REFUSED = {
    "a home": (
        dataclasses.replace(BARE, program=Executable(PROGRAM, "/home/a/gpumon is below /home")),
        "could not run this gpumon: /home/a/gpumon is below /home",
        "install it for all users",
    ),
    "a name": (
        dataclasses.replace(BARE, program=Executable(("/opt/100%/gpumon",))),
        "systemd would misread",
        "letters and digits",
    ),
    "a space": (
        dataclasses.replace(BARE, program=Executable(("/srv/gpu mon/gpumon",))),
        "systemd would misread '/srv/gpu mon/gpumon'",
        "letters and digits",
    ),
    "closed": (
        dataclasses.replace(BARE, closed=DEFAULT_FILE),
        f"could not read {DEFAULT_FILE}",
        "chgrp gpumon",
    ),
    "no systemd": (dataclasses.replace(BARE, has_systemd=False), "no systemd", "gpumon agent"),
    "masked": (dataclasses.replace(BARE, masked=True), "is masked", "systemctl unmask"),
    "packaged": (
        dataclasses.replace(BARE, elsewhere=Path("/usr/lib/systemd/system/gpumon-agent.service")),
        "already exists",
        "package manager",
    ),
    "edited": (
        EDITED,
        f"{UNIT_FILE} is not what gpumon install writes",
        "systemctl edit gpumon-agent",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_done(name: str) -> None:
    """With the next step."""
    there, problem, next_step = REFUSED[name]
    with pytest.raises(UnavailableError) as caught:
        plan.install(there, "text", {}, None)
    assert problem in caught.value.problem
    assert next_step in caught.value.next_step


def test_an_edited_unit_is_replaced_by_force_and_kept_beside() -> None:
    """Nobody's settings are lost."""
    written = [
        step for step in plan.install(EDITED, "text", {}, {}, force=True) if isinstance(step, Write)
    ]
    assert [(step.path, step.keep_old) for step in written] == [(UNIT_FILE, True)]
    assert f"keeping the old as {UNIT_FILE}.old" in written[0].what


def test_values_that_a_configuration_has_already_are_no_contradiction() -> None:
    """Others are: the file is its owner's."""
    present = {"tier": "full", "source": "nvml", "interval": "0.5", "web.expose-users": "true"}
    for same in ({"tier": "full"}, {"interval": "0.50"}, {"web.expose-users": "True"}):
        plan.install(INSTALLED, "text", same, present)
    for chosen in ({"tier": "core"}, {"interval": "2"}, {"jobs-dir": "/x"}):
        with pytest.raises(UsageError) as caught:
            plan.install(INSTALLED, "text", chosen, present)
        assert str(DEFAULT_FILE) in caught.value.problem
        assert "systemctl restart gpumon-agent" in caught.value.next_step


def test_uninstall_leaves_memory_and_configuration() -> None:
    """And says what would remove them."""
    assert told(plan.uninstall(INSTALLED)) == [
        "stop gpumon-agent",
        "disable gpumon-agent",
        f"remove {UNIT_FILE}",
        f"remove {USERS_FILE}",
        "reload systemd's units",
        f"leave {DEFAULT_FILE}: --purge removes it",
        f"leave {STATE_DIR}: --purge removes it",
        "leave the user gpumon: --purge removes it",
    ]


def test_purge_leaves_nothing() -> None:
    """Not even a site's own settings of the unit."""
    there = dataclasses.replace(INSTALLED, left=(*INSTALLED.left, DROP_INS))
    assert told(plan.uninstall(there, purge=True)) == [
        "stop gpumon-agent",
        "disable gpumon-agent",
        f"remove {UNIT_FILE}",
        f"remove {USERS_FILE}",
        f"remove {DEFAULT_FILE}",
        f"remove {STATE_DIR}",
        f"remove {DROP_INS}",
        f"remove {DEFAULT_FILE.parent}",
        "reload systemd's units",
        "remove the user gpumon",
        "remove the group gpumon",
    ]


def test_purge_takes_nothing_from_others() -> None:
    """The site's exporter has its configuration in the same folder, and runs as the same user."""
    there = dataclasses.replace(INSTALLED, others=("site.toml", "token"), site=True)
    steps = told(plan.uninstall(there, purge=True))
    assert f"remove {DEFAULT_FILE}" in steps
    assert f"remove {DEFAULT_FILE.parent}" not in steps
    assert steps[-2:] == [
        f"leave {DEFAULT_FILE.parent}: there is also site.toml, token",
        "leave the user gpumon: gpumon-site runs as it",
    ]


def test_an_agent_without_its_unit_is_stopped_all_the_same() -> None:
    """Before anything is removed under it; and the link that started it goes."""
    there = dataclasses.replace(INSTALLED, files={}, dangling=True)
    assert told(plan.uninstall(there))[:2] == ["stop gpumon-agent", f"remove {WANTED}"]


def test_what_is_not_there_is_not_removed() -> None:
    """A second time there is nothing to do."""
    assert plan.uninstall(BARE, purge=True) == []


def test_an_edited_unit_is_not_removed_unasked() -> None:
    """It may hold what its owner wants to keep."""
    with pytest.raises(GpumonError, match="is not what gpumon install writes"):
        plan.uninstall(EDITED)
    assert f"remove {UNIT_FILE}" in told(plan.uninstall(EDITED, force=True))
