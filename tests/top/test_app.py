"""What the keys, the mouse and what is seen do to the screen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from textual.pilot import Pilot
from textual.widgets import Static

from gpumon.errors import UnavailableError, UsageError
from gpumon.model import Job, JobGpuReading, JobReading, LedgerState
from gpumon.top.app import TopApp
from gpumon.top.keys import KEYS, KeysScreen
from gpumon.top.tables import LiveTable
from gpumon.top.zoom import ZoomScreen
from gpumon.views.orders import GPU_ORDERS
from tests.top.conftest import Still, node

Drive = Callable[..., TopApp]


def rows(app: TopApp, name: str = "gpu-rows") -> list[list[str]]:
    """Return the cells of a table."""
    table = app.screen_stack[0].query_one(f"#{name}", LiveTable)
    return [[cell.plain for cell in table.get_row(key)] for key in table.rows]


def gpus(app: TopApp) -> list[str]:
    """Return the indexes of the GPUs, in their order."""
    return [row[0] for row in rows(app)]


def text(app: TopApp, name: str) -> str:
    """Return what a line or lines say."""
    return str(app.screen_stack[0].query_one(f"#{name}", Static).render())


def test_the_first_screen_says_what_is_wrong_with_which(drive: Drive) -> None:
    """That it is simulated, how many are fine, the failure in words, and a row for each GPU."""

    async def steps(_pilot: Pilot[None], app: TopApp, _looking: Still) -> None:
        assert text(app, "head").startswith("SIMULATED: no hardware was measured\nn1: 3 of 4 GPUs")
        assert text(app, "trouble").splitlines() == ["FAIL  GPU 2   lost for 3 min: it fell off"]
        assert gpus(app) == ["0", "1", "2", "3"]

    drive(steps)


def test_s_goes_through_all_orders_and_a_title_sorts_by_its_column(drive: Drive) -> None:
    """The title of the column has a mark; the cursor stays on its GPU."""

    async def steps(pilot: Pilot[None], app: TopApp, _looking: Still) -> None:
        await pilot.press("down", "down", "down")
        table = app.query_one("#gpu-rows", LiveTable)
        assert table.current == "3"
        seen = {tuple(gpus(app))}
        for _ in GPU_ORDERS:
            await pilot.press("s")
            seen.add(tuple(gpus(app)))
            assert table.current == "3"
        assert gpus(app) == ["0", "1", "2", "3"]
        assert len(seen) > 1
        column = [str(label.label) for label in table.ordered_columns].index("power")
        offset = sum(c.get_render_width(table) for c in table.ordered_columns[:column])
        await pilot.click(table, offset=(offset + 2, 0))
        watts = [float(row[column].split()[0]) for row in rows(app) if row[column] != "-"]
        assert watts == sorted(watts, reverse=True)
        assert str(table.ordered_columns[column].label) == "power▾"

    drive(steps)


def test_the_filter_leaves_the_rows_with_the_text(drive: Drive) -> None:
    """In every tab; Enter goes back to the rows, Esc shows all again."""

    async def steps(pilot: Pilot[None], app: TopApp, _looking: Still) -> None:
        await pilot.press("slash", *"LOST")
        await pilot.pause()
        assert gpus(app) == ["2"]
        await pilot.press("enter", "escape")
        await pilot.pause()
        assert len(gpus(app)) == 4
        await pilot.press("slash", *"alice", "enter", "2")
        await pilot.pause()
        assert [row[3] for row in rows(app, "process-rows")] == ["alice"]

    drive(steps)


def test_space_holds_the_picture_and_the_graphs_go_on(drive: Drive) -> None:
    """What was missed is shown when it goes on."""

    async def steps(pilot: Pilot[None], app: TopApp, looking: Still) -> None:
        await pilot.press("space")
        later = node()
        looking.show(dataclasses.replace(later, gpus=later.gpus[:1]))
        await pilot.pause()
        assert "HELD" in text(app, "head")
        assert len(gpus(app)) == 4
        await pilot.press("space")
        looking.show(dataclasses.replace(later, gpus=later.gpus[:1]))
        await pilot.pause()
        assert gpus(app) == ["0"]

    drive(steps)


def test_a_target_that_falls_silent_leaves_what_it_said(drive: Drive) -> None:
    """With why, until it answers again."""

    async def steps(pilot: Pilot[None], app: TopApp, looking: Still) -> None:
        looking.show(UnavailableError("no answer from n1", "is the agent running?"))
        await pilot.pause()
        assert "! no answer from n1: is the agent running?: as it was last" in text(app, "head")
        assert len(gpus(app)) == 4
        looking.show(node())
        await pilot.pause()
        assert "no answer" not in text(app, "head")

    drive(steps)


def test_what_is_no_target_ends_it_with_the_reason(drive: Drive) -> None:
    """The command says it after the terminal is as it was."""

    async def steps(pilot: Pilot[None], app: TopApp, looking: Still) -> None:
        looking.show(UsageError("no such model", "known are A100 and H100"))
        await pilot.pause()

    app = drive(steps)
    assert app.return_code == 2
    assert str(app.problem).startswith("no such model")


def test_enter_zooms_in_and_the_arrows_go_to_the_next(drive: Drive) -> None:
    """Everything that is known of it, and what to do; Esc leads back to the same row."""

    async def steps(pilot: Pilot[None], app: TopApp, _looking: Still) -> None:
        await pilot.press("down", "enter")
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, ZoomScreen)
        who = str(screen.query_one("#who", Static).render())
        assert who.startswith("GPU 1  NVIDIA H100")
        known = screen.query_one(LiveTable)
        facts = {cells[1].plain: cells[0].plain for cells in map(known.get_row, known.rows)}
        assert facts["power_limit_watts"] == "700"
        assert facts["architecture"] == "Hopper"
        await pilot.press("slash", "2", "s")  # these act on the rows of the first screen only
        await pilot.press("right")
        await pilot.pause()
        assert isinstance(app.screen, ZoomScreen)
        who = str(app.screen.query_one("#who", Static).render())
        assert "it fell off" in who
        assert "Drain the node and reboot it" in who
        await pilot.press("escape")
        await pilot.pause()
        assert app.query_one("#gpu-rows", LiveTable).current == "1"

    drive(steps)


def test_the_jobs_have_their_watts_and_joules(drive: Drive) -> None:
    """Those that draw the most first; where no job is known, that and why."""
    snapshot = node()
    jobs = tuple(
        JobReading(job=Job(job_id=name, user="alice", name="llm", manager="slurm"))
        for name in ("7", "8")
    )
    shares = tuple(
        JobGpuReading(job_id=job, gpu=gpu, uuid="", share=1.0, energy_joules=5000.0)
        for job, gpu in (("7", 0), ("8", 1), ("8", 3))
    )
    ledger = LedgerState(jobs=jobs, shares=shares, gpus=())

    async def steps(pilot: Pilot[None], app: TopApp, looking: Still) -> None:
        await pilot.press("3")
        await pilot.pause()
        assert app.query_one("#no-jobs").display
        looking.show(dataclasses.replace(snapshot, ledger=ledger))
        await pilot.pause()
        assert not app.query_one("#no-jobs").display
        found = rows(app, "job-rows")
        assert [row[:4] for row in found] == [
            ["8", "alice", "llm", "1,3"],
            ["7", "alice", "llm", "0"],
        ]
        assert [row[5] for row in found] == ["10.0 kJ", "5.0 kJ"]

    drive(steps, snapshot)


def test_every_key_of_the_help_is_a_key(drive: Drive) -> None:
    """And the help closes again."""
    told = " ".join(key for key, _ in KEYS)

    async def steps(pilot: Pilot[None], app: TopApp, _looking: Still) -> None:
        await pilot.press("question_mark")
        assert isinstance(app.screen, KeysScreen)
        await pilot.press("escape")
        assert not isinstance(app.screen, KeysScreen)
        dark = app.current_theme.dark
        await pilot.press("d")
        assert app.current_theme.dark is not dark
        for key in ("right_square_bracket", "right_square_bracket", "left_square_bracket"):
            await pilot.press(key)
        assert all(word in told for word in ("s,", "/", "[ ]", "Space", "d", "q", "1 2 3"))
        await pilot.press("q")

    assert drive(steps).return_code == 0


def test_ctrl_c_is_told_from_q(drive: Drive) -> None:
    """130, as every command that is interrupted."""

    async def steps(pilot: Pilot[None], _app: TopApp, _looking: Still) -> None:
        await pilot.press("ctrl+c")

    assert drive(steps).return_code == 130


def test_a_narrow_terminal_shows_whole_columns(drive: Drive) -> None:
    """And goes without the node's graphs where it is low; they come with the room for them."""

    async def steps(pilot: Pilot[None], app: TopApp, _looking: Still) -> None:
        narrow = [str(c.label) for c in app.query_one("#gpu-rows", LiveTable).ordered_columns]
        assert "energy" not in narrow
        assert {"power", "margin", "util"} <= set(narrow)
        table = app.query_one("#gpu-rows", LiveTable)
        assert table.virtual_size.width <= 80
        assert not app.query_one("#node-graphs").display
        await pilot.resize_terminal(200, 60)
        await pilot.pause()
        wide = [str(c.label) for c in table.ordered_columns]
        assert "energy" in wide
        assert app.query_one("#node-graphs").display

    drive(steps, size=(80, 24))


def test_seventy_two_gpus_can_be_gone_through(drive: Drive) -> None:
    """The cursor reaches the last of them, and the view follows."""

    async def steps(pilot: Pilot[None], app: TopApp, _looking: Still) -> None:
        assert len(gpus(app)) == 72
        await pilot.press("ctrl+end")
        await pilot.pause()
        table = app.query_one("#gpu-rows", LiveTable)
        assert table.current == "71"
        assert table.scroll_offset.y > 0

    drive(steps, node(72, "GB200"), size=(100, 30))
