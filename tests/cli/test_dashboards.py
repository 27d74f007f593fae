"""``gpumon dashboards`` on the command line, against what answers as Grafana does."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpumon.cli import run
from gpumon.grafana.login import GrafanaLogin
from gpumon.grafana.shipped import load
from gpumon.thresholds import load_thresholds
from tests.support.certificates import Authority
from tests.support.grafana import (
    EDITOR,
    FOLDER_EDITOR,
    NOBODY,
    VIEWER,
    FakeGrafana,
    Reply,
    run_grafana,
    source,
)
from tests.support.pipes import unread
from tests.support.servers import ROOT, free_port

UIDS = [dashboard.uid for dashboard in load()]
NODE = "gpumon-node"
HEALTH = "GET /api/health"
SAVE = "POST /api/dashboards/db"


@dataclasses.dataclass(frozen=True)
class Done:
    """What a run of the command left."""

    code: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture
def grafana() -> Iterator[FakeGrafana]:
    """A Grafana with one Prometheus and no dashboards."""
    with run_grafana() as server:
        yield server


@pytest.fixture
def gpumon(
    grafana: FakeGrafana, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run the command as an editor of that Grafana; whatever happens, the token is not told."""
    monkeypatch.setenv("GPUMON_GRAFANA_URL", grafana.url)
    monkeypatch.setenv("GPUMON_GRAFANA_TOKEN", EDITOR)

    def gpumon(*arguments: str, token: str = EDITOR) -> Done:
        monkeypatch.setenv("GPUMON_GRAFANA_TOKEN", token)
        code = run(["dashboards", *arguments])
        out, err = capsys.readouterr()
        assert not token or token not in out + err
        return Done(code, out, err)

    return gpumon


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A site's thresholds."""
    file = tmp_path / "own.toml"
    file.write_text("[heat]\nmargin_low_celsius = 8\n")
    return file


def process(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of its own."""
    argv = [sys.executable, "-m", "gpumon", *arguments]
    environment = {**os.environ, **variables}
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)


class TestFiles:
    """List and export: no Grafana is needed."""

    def test_list_is_a_table_json_and_markdown(self, gpumon: Command) -> None:
        """The same dashboards in each."""
        listed = json.loads(gpumon("list", "-o", "json").out)["dashboards"]
        assert [row["uid"] for row in listed] == UIDS
        assert all(row["panels"] > 0 and row["title"] and row["description"] for row in listed)
        table, markdown = gpumon("list").out, gpumon("list", "-o", "markdown").out
        assert all(uid in table and f"| `{uid}` |" in markdown for uid in UIDS)

    def test_export_writes_what_is_committed(self, gpumon: Command, tmp_path: Path) -> None:
        """File by file, and again over what is there."""
        folder = tmp_path / "new" / "dashboards"
        for _ in range(2):
            done = gpumon("export", "--to", str(folder))
            assert (done.code, done.out) == (0, "")
        written = {path.name: path.read_bytes() for path in folder.iterdir()}
        committed = ROOT / "dashboards" / "json"
        assert written == {path.name: path.read_bytes() for path in committed.iterdir()}

    def test_a_sites_own_numbers_are_not_replaced_silently(
        self, gpumon: Command, tmp_path: Path, own: Path
    ) -> None:
        """An export that names no thresholds leaves the files as they are; /dev/null takes them."""
        to = ("export", "--to", str(tmp_path / "json"))
        assert gpumon(*to, "--thresholds", str(own)).code == 0
        before = {path: path.read_bytes() for path in (tmp_path / "json").iterdir()}
        refused = gpumon(*to)
        assert refused.code == 2
        assert "has a site's own thresholds (digest " in refused.err
        assert "--thresholds /dev/null" in refused.err
        assert {path: path.read_bytes() for path in (tmp_path / "json").iterdir()} == before
        assert gpumon(*to, "--thresholds", "/dev/null").code == 0
        assert gpumon(*to).code == 0

    def test_export_prints_one(self, gpumon: Command) -> None:
        """By uid, with another data source where it is asked for."""
        printed = json.loads(gpumon("export", NODE, "--datasource", "abc").out)
        chosen = [v["current"] for v in printed["templating"]["list"] if v["type"] == "datasource"]
        assert chosen == [{"text": "abc", "value": "abc"}]

    @pytest.mark.parametrize(
        ("arguments", "code", "says"),
        [
            (("export",), 2, "say where to write them with --to, or name one"),
            (("export", "gpumon-nod"), 2, "did you mean gpumon-node"),
            (("export", "--to", "/proc/dashboards"), 3, "name another"),
            (("list", "-o", "yaml"), 2, "'yaml'"),
        ],
    )
    def test_it_says_what_is_wrong(
        self, gpumon: Command, arguments: tuple[str, ...], code: int, says: str
    ) -> None:
        """One line, with the next step."""
        done = gpumon(*arguments)
        assert done.code == code
        assert says in done.err
        assert done.err.count("\n") == 1


class TestPush:
    """What a push changes, and what it leaves."""

    def test_the_first_creates_and_the_second_changes_nothing(
        self, gpumon: Command, grafana: FakeGrafana
    ) -> None:
        """All of them, in a folder of their own, with the Prometheus there is."""
        first = gpumon("push")
        assert (first.code, first.err) == (0, "")
        assert first.out.splitlines() == [f"{uid}: created in gpumon" for uid in UIDS]
        assert grafana.folders == {"folder-0": "gpumon"}
        saved = grafana.dashboards[NODE][0]
        assert saved.folder == "folder-0"
        assert saved.message.startswith("gpumon 0.")
        variables = saved.document["templating"]["list"]
        chosen = [v["current"] for v in variables if v["type"] == "datasource"]
        assert chosen == [{"text": "Prometheus", "value": "prometheus-uid"}]
        before = len(grafana.writes)
        second = gpumon("push")
        assert (second.code, second.err) == (0, "")
        assert second.out.splitlines() == [f"{uid}: unchanged" for uid in UIDS]
        assert len(grafana.writes) == before

    def test_a_sites_own_numbers_are_not_replaced_silently(
        self, gpumon: Command, grafana: FakeGrafana, own: Path
    ) -> None:
        """A push that names no thresholds is refused before it writes; a tag says why."""
        assert gpumon("push", "--thresholds", str(own)).code == 0
        tags = {tag for saved in grafana.dashboards.values() for tag in saved[-1].document["tags"]}
        assert tags == {"gpumon", f"thresholds: {load_thresholds(own).digest}"}
        before = len(grafana.writes)
        for more in ((), ("--dry-run",), ("--force",)):
            refused = gpumon("push", *more)
            assert refused.code == 2
            assert "has a site's own thresholds (digest " in refused.err
        assert len(grafana.writes) == before
        assert gpumon("push", "--thresholds", str(own)).out.count("unchanged") == len(UIDS)
        assert gpumon("push", "--thresholds", "/dev/null").code == 0
        assert gpumon("push").out.count("unchanged") == len(UIDS)

    def test_it_pushes_all_where_nobody_reads(self, grafana: FakeGrafana) -> None:
        """What is done is not for a pipe to decide: none is missing after ``| head -1``."""
        argv = [sys.executable, "-m", "gpumon", "dashboards", "push", "--url", grafana.url]
        environment = {**os.environ, "GPUMON_GRAFANA_TOKEN": EDITOR}
        with unread() as stdout:
            assert subprocess.run(argv, stdout=stdout, env=environment, check=False).returncode == 0
        assert sorted(grafana.dashboards) == sorted(UIDS)

    def test_a_newer_grafana_lists_its_versions_otherwise(
        self, gpumon: Command, grafana: FakeGrafana
    ) -> None:
        """As an object, since 11.6."""
        grafana.version, grafana.sends_objects = "12.1.0+security-01", True
        gpumon("push")
        assert gpumon("push", NODE).out == f"{NODE}: unchanged\n"
        grafana.edit(NODE, title="mine")
        assert gpumon("push", NODE).code == 1

    def test_what_was_pushed_before_is_brought_up_to_date(
        self, gpumon: Command, grafana: FakeGrafana
    ) -> None:
        """And only that: nobody has edited it since."""
        gpumon("push")
        grafana.sources.append(source("mimir-uid", "Mimir"))
        done = gpumon("push", "--datasource", "Mimir", NODE)
        assert (done.code, done.out) == (0, f"{NODE}: updated in gpumon\n")
        assert [len(versions) for versions in grafana.dashboards.values()].count(2) == 1
        assert gpumon("push", "--datasource", "mimir-uid", NODE).out == f"{NODE}: unchanged\n"

    def test_what_somebody_edited_is_left_alone_and_shown(
        self, gpumon: Command, grafana: FakeGrafana
    ) -> None:
        """The others are still pushed, and the exit code tells."""
        gpumon("push", NODE)
        grafana.edit(NODE, title="GPU node, mine")
        done = gpumon("push")
        assert done.code == 1
        assert f"{NODE}: left alone, edited in Grafana by alice at 2026-11-26" in done.out
        assert '-  "title": "GPU node, mine"' in done.out
        assert '+  "title": "GPU node"' in done.out
        assert grafana.dashboards[NODE][-1].document["title"] == "GPU node, mine"
        assert set(grafana.dashboards) == set(UIDS)

    def test_force_replaces_it_and_shows_what_was_there(
        self, gpumon: Command, grafana: FakeGrafana
    ) -> None:
        """After that it is ours again."""
        gpumon("push", NODE)
        grafana.edit(NODE, title="GPU node, mine")
        done = gpumon("push", "--force", NODE)
        assert done.code == 0
        assert '-  "title": "GPU node, mine"' in done.out
        assert f"{NODE}: replaced what was edited in Grafana by alice" in done.out
        assert grafana.dashboards[NODE][-1].document["title"] == "GPU node"
        assert gpumon("push", NODE).out == f"{NODE}: unchanged\n"

    def test_what_somebody_restored_is_theirs(self, gpumon: Command, grafana: FakeGrafana) -> None:
        """An earlier version of ours that a person has brought back is there on purpose."""
        gpumon("push", NODE)
        grafana.sources.append(source("mimir-uid", "Mimir"))
        gpumon("push", "--datasource", "Mimir", NODE)
        grafana.restore(NODE, 1)
        assert gpumon("push", "--datasource", "Mimir", NODE).code == 1

    def test_what_somebody_moved_stays_there(self, gpumon: Command, grafana: FakeGrafana) -> None:
        """And it is said where that is."""
        gpumon("push", NODE)
        grafana.folders["theirs"] = "Favourites"
        grafana.move(NODE, "theirs")
        done = gpumon("push", NODE)
        assert done.code == 1
        assert f"{NODE}: is in Favourites, not in gpumon\n" in done.out
        assert grafana.dashboards[NODE][-1].folder == "theirs"

    def test_another_folder_moves_what_is_ours(self, gpumon: Command, grafana: FakeGrafana) -> None:
        """By title or uid, to one inside another too."""
        gpumon("push", NODE)
        done = gpumon("push", "--folder", "Our GPUs", NODE)
        assert (done.code, done.out) == (0, f"{NODE}: updated in Our GPUs (was in gpumon)\n")
        grafana.folders["inner"] = "Within"
        grafana.hidden_folders.add("inner")  # as the list does not show it
        done = gpumon("push", "--folder", "inner", NODE)
        assert done.out == f"{NODE}: updated in Within (was in Our GPUs)\n"

    @pytest.mark.parametrize("pages", ["known", "not known"])
    def test_a_folder_is_found_among_many(
        self, gpumon: Command, grafana: FakeGrafana, pages: str
    ) -> None:
        """However many pages there are; a list that comes again and again is read once."""
        grafana.folders = {f"f{number}": f"folder {number}" for number in range(1000)}
        grafana.folders["last"] = "gpumon"
        if pages == "not known":
            rows = [{"uid": uid, "title": title} for uid, title in grafana.folders.items()]
            grafana.replies["GET /api/folders"] = Reply(200, rows[1:])
        assert gpumon("push", NODE).code == 0
        assert grafana.dashboards[NODE][0].folder == "last"

    @pytest.mark.parametrize("path", ["versions", "versions/1"])
    def test_a_version_that_is_not_told_is_not_taken_for_ours(
        self, gpumon: Command, grafana: FakeGrafana, path: str
    ) -> None:
        """Where Grafana has lost the message, only what is the same is replaced."""
        gpumon("push", NODE)
        grafana.replies[f"GET /api/dashboards/uid/{NODE}/{path}"] = Reply(404, {"message": "No"})
        assert gpumon("push", NODE).code == 0
        grafana.sources.append(source("mimir-uid", "Mimir"))
        assert gpumon("push", "--datasource", "Mimir", NODE).code == (
            1 if path == "versions" else 0
        )

    def test_what_was_imported_by_hand_is_taken_over(
        self, gpumon: Command, grafana: FakeGrafana
    ) -> None:
        """Nothing of it is lost; from then on it is kept up to date."""
        grafana.sources = [source("gpumon-prometheus", "gpumon")]
        grafana.folders["folder-0"] = "gpumon"
        grafana.bring(dict(load([NODE])[0].document), "folder-0")
        assert gpumon("push", NODE).out == f"{NODE}: updated in gpumon\n"
        assert gpumon("push", NODE).out == f"{NODE}: unchanged\n"

    def test_what_is_provisioned_is_said_to_be(self, gpumon: Command, grafana: FakeGrafana) -> None:
        """No force helps: Grafana refuses it."""
        gpumon("push", NODE)
        grafana.edit(NODE, title="from a file")
        grafana.provisioned.add(NODE)
        done = gpumon("push", "--force", NODE)
        assert done.code == 1
        assert done.out == (
            f"{NODE}: left alone, provisioned: change the file on Grafana's machine, or end the"
            " provisioning there\n"
        )

    def test_a_dry_run_changes_nothing(self, gpumon: Command, grafana: FakeGrafana) -> None:
        """It says what a push would do, with its exit code."""
        done = gpumon("push", "--dry-run", NODE)
        assert (done.code, done.out) == (0, f"{NODE}: would be created in gpumon\n")
        assert grafana.folders == {}
        gpumon("push", NODE)
        grafana.edit(NODE, title="mine")
        before = len(grafana.writes)
        assert gpumon("push", "--dry-run", NODE).code == 1
        forced = gpumon("push", "--dry-run", "--force", NODE)
        assert forced.code == 0
        assert f"{NODE}: would be replaced in gpumon" in forced.out
        assert len(grafana.writes) == before

    def test_editing_in_a_folder_is_all_that_it_takes(
        self, gpumon: Command, grafana: FakeGrafana
    ) -> None:
        """A Viewer with Edit on a folder that is there; without the folder it says what to do."""
        missing = gpumon("push", NODE, token=FOLDER_EDITOR)
        assert missing.code == 3
        assert "Permissions needed: folders:create" in missing.err
        assert "make the folder gpumon in Grafana" in missing.err
        grafana.folders["f"] = "gpumon"
        assert gpumon("push", NODE, token=FOLDER_EDITOR).code == 0

    def test_the_token_may_come_from_a_file(
        self, gpumon: Command, grafana: FakeGrafana, tmp_path: Path
    ) -> None:
        """It goes before the variable."""
        file = tmp_path / "token"
        file.write_text(EDITOR + "\n")
        assert gpumon("push", NODE, "--token-file", str(file), token="wrong").code == 0

    def test_a_version_that_is_hidden_is_asked_for_with_the_token(
        self, gpumon: Command, grafana: FakeGrafana
    ) -> None:
        """As ``hide_version`` of Grafana's anonymous access has it."""
        grafana.hides_version = True
        assert gpumon("push", NODE).code == 0
        grafana.version = "9.4.7"
        assert "Grafana 9.4.7: the dashboards need 9.5 or later" in gpumon("push", NODE).err


class TestDiff:
    """What differs."""

    def test_nothing_does_after_a_push(self, gpumon: Command) -> None:
        """And everything does before."""
        before = gpumon("diff")
        assert before.code == 1
        assert f"+++ {NODE} of gpumon" in before.out
        gpumon("push")
        after = gpumon("diff")
        assert (after.code, after.out) == (0, "")
        assert after.err == f"0 of {len(UIDS)} dashboards differ\n"

    def test_an_edit_is_shown(self, gpumon: Command, grafana: FakeGrafana) -> None:
        """Line by line, and nothing is written."""
        gpumon("push")
        before = len(grafana.writes)
        grafana.edit(NODE, title="mine")
        done = gpumon("diff")
        assert done.code == 1
        assert '-  "title": "mine",\n+  "title": "GPU node",\n' in done.out
        assert done.err == f"1 of {len(UIDS)} dashboards differ\n"
        assert len(grafana.writes) == before

    def test_needs_what_a_push_needs(self, gpumon: Command) -> None:
        """Grafana tells versions only to whom may edit."""
        gpumon("push")
        done = gpumon("diff", token=VIEWER)
        assert done.code == 3
        assert "Permissions needed: dashboards:write" in done.err


def page(status: int) -> Reply:
    """Return a page of something that is no API."""
    return Reply(status, f"<html>echo {EDITOR}</html>")


class TestErrors:
    """Each of them in a line, with the next step and its exit code."""

    @pytest.mark.parametrize(
        ("replies", "says"),
        [
            ({HEALTH: page(404)}, "has no Grafana API (404 at /api/health): name the URL of"),
            ({HEALTH: page(200)}, "replies 200 at /api/health, and not as Grafana does: name"),
            ({HEALTH: Reply(200, {"status": "ok"})}, "not as Grafana does"),
            ({HEALTH: Reply(200, ["ok"])}, "not as Grafana does"),
            ({HEALTH: page(502)}, "replies 502 at /api/health"),
            (
                {HEALTH: Reply(302, "", {"Location": "https://sso/login?token=1"})},
                "it redirects to https://sso/login: name the URL of Grafana's own start page",
            ),
            (
                {HEALTH: Reply(503, {"database": "failing", "version": "9.5.2"})},
                "has no database (failing): look at Grafana's log",
            ),
            (
                {HEALTH: Reply(200, {"database": "ok", "version": "9.4.3"})},
                "is Grafana 9.4.3: the dashboards need 9.5 or later",
            ),
            (
                {HEALTH: Reply(200, {"database": "ok", "version": "main"})},
                "is Grafana main: the dashboards need 9.5 or later",
            ),
            (
                {"GET /api/datasources": Reply(404, {"message": "Not found"})},
                "has no data sources (Not found): is that Grafana's start page",
            ),
            ({"GET /api/datasources": Reply(200, {"message": "?"})}, "Grafana does not document"),
            ({"GET /api/datasources": page(200)}, "Grafana does not document"),
            ({"GET /api/datasources": Reply(200, [])}, "no data source of the type prometheus"),
            (
                {f"GET /api/dashboards/uid/{NODE}": Reply(200, {"dashboard": {}})},
                "Grafana does not document",
            ),
            (
                {f"GET /api/dashboards/uid/{NODE}": Reply(500, {"message": f"no {EDITOR}"})},
                f"failed at dashboard {NODE} with 500 (no ***): look at Grafana's log",
            ),
            (
                {SAVE: Reply(412, {"status": "plugin-dashboard", "message": "It belongs to x."})},
                f"dashboard {NODE} belongs to a plugin of Grafana",
            ),
            (
                {SAVE: Reply(412, {"message": "precondition"})},
                f"did not save dashboard {NODE} (precondition): run it again",
            ),
            (
                {SAVE: Reply(400, {"message": "Dashboard title cannot be empty"})},
                "with 400 (Dashboard title cannot be empty): mend that in Grafana",
            ),
            ({SAVE: page(413)}, "with 413 (no reason given)"),
            ({SAVE: Reply(202, {"status": "pending"})}, f"did not save dashboard {NODE} (pending)"),
        ],
    )
    def test_what_a_server_may_answer(
        self, gpumon: Command, grafana: FakeGrafana, replies: dict[str, Reply], says: str
    ) -> None:
        """Exit code 3: the Grafana could not be had to do it. No server's echo tells the token."""
        grafana.replies = replies
        done = gpumon("push", NODE)
        assert done.code == 3
        assert says in done.err
        assert done.err.count("\n") == 1

    def test_a_token_that_is_not_known(self, gpumon: Command) -> None:
        """401: the next step is another token."""
        done = gpumon("push", token="glsa_expired")
        assert done.code == 3
        assert "does not know this token (invalid API key): it is wrong, expired or" in done.err

    @pytest.mark.parametrize(
        ("token", "says"),
        [
            (NOBODY, "Permissions needed: datasources:read): give its service account the role"),
            (VIEWER, "Permissions needed: dashboards:write): give its service account Edit on"),
        ],
    )
    def test_a_token_that_may_not(
        self, gpumon: Command, grafana: FakeGrafana, token: str, says: str
    ) -> None:
        """403: which permission is missing, and how to give it."""
        grafana.folders["f"] = "gpumon"
        done = gpumon("push", token=token)
        assert done.code == 3
        assert says in done.err
        assert done.err.count("\n") == 1

    def test_somebody_saves_meanwhile(self, gpumon: Command, grafana: FakeGrafana) -> None:
        """412: even with force, only what was looked at is replaced."""
        gpumon("push", NODE)
        grafana.edit(NODE, title="mine")
        grafana.before_saving = lambda: grafana.edit(NODE, title="and mine")
        done = gpumon("push", "--force", NODE)
        assert done.code == 3
        assert f"somebody saved dashboard {NODE} in Grafana meanwhile: run it again" in done.err
        assert grafana.dashboards[NODE][-1].document["title"] == "and mine"

    def test_somebody_elses_dashboard_has_the_title(
        self, gpumon: Command, grafana: FakeGrafana
    ) -> None:
        """412: force does not put ours in its place."""
        grafana.folders["f"] = "gpumon"
        grafana.bring({"uid": "theirs", "title": load([NODE])[0].title}, "f")
        done = gpumon("push", "--force", NODE)
        assert done.code == 3
        assert f"another dashboard with the title of dashboard {NODE}" in done.err
        assert NODE not in grafana.dashboards

    def test_a_folder_that_may_not_be_seen(self, gpumon: Command, grafana: FakeGrafana) -> None:
        """It cannot be made a second time."""
        grafana.folders["f"] = "gpumon"
        grafana.hidden_folders.add("f")
        done = gpumon("push", NODE)
        assert done.code == 3
        assert "called gpumon that this token may not see" in done.err

    def test_folders_of_one_title(self, gpumon: Command, grafana: FakeGrafana) -> None:
        """Which of them is a question to the user."""
        grafana.folders |= {"f": "gpumon", "g": "gpumon"}
        done = gpumon("push", NODE)
        assert done.code == 2
        assert "2 folders are called 'gpumon': give a uid: f, g" in done.err
        assert gpumon("push", "--folder", "g", NODE).code == 0

    def test_a_wrong_path_learns_no_token(self, gpumon: Command, grafana: FakeGrafana) -> None:
        """What does not answer as a Grafana is asked once, and without it."""
        done = gpumon("push", "--url", f"{grafana.url}/grafana/")
        assert done.code == 3
        assert "/grafana is not a Grafana: it redirects to /login" in done.err
        assert [asked.authorization for asked in grafana.asked] == [""]

    @pytest.mark.parametrize(
        ("url", "says"),
        [
            ("http://127.0.0.1:{port}", "Connection refused): check host and port of --url"),
            ("http://no-such-host.invalid", "check host and port of --url"),
            ("https://127.0.0.1:{plain}", "is it https there, and this port?"),
        ],
    )
    def test_no_connection(
        self, gpumon: Command, grafana: FakeGrafana, url: str, says: str
    ) -> None:
        """Nobody listens, nobody is called that, or it is not TLS."""
        plain = grafana.url.rpartition(":")[2]
        done = gpumon("push", "--url", url.format(port=free_port(), plain=plain))
        assert done.code == 3
        assert "no answer from" in done.err
        assert says in done.err
        assert done.err.count("\n") == 1

    def test_nobody_answers_in_time(self, gpumon: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is not waited for without end."""
        monkeypatch.setattr("gpumon.grafana.api.ANSWER_SECONDS", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as mute:
            done = gpumon("push", "--url", f"http://127.0.0.1:{mute.getsockname()[1]}")
        assert done.code == 3
        assert "timeout): is it up, or is a firewall between?" in done.err

    @pytest.mark.parametrize(
        ("arguments", "token", "code", "says"),
        [
            ((), "", 2, "no token for Grafana: set GPUMON_GRAFANA_TOKEN, or name a file"),
            ((), "two words", 2, "GPUMON_GRAFANA_TOKEN holds no token"),
            ((), "glsa_\N{BULLET}", 2, "GPUMON_GRAFANA_TOKEN holds no token"),
            (("--token-file", "/no/such"), EDITOR, 3, "cannot read the token in /no/such"),
            (("--token-file", sys.executable), EDITOR, 2, "holds no token"),
            (("--url", "grafana.example.org"), EDITOR, 2, "--url is not a URL of a Grafana"),
            (("--url", "http://[::1"), EDITOR, 2, "--url is not a URL of a Grafana"),
            (("--url", "http://a b"), EDITOR, 2, "--url is not a URL of a Grafana"),
            (("--url", "http://\N{SNOWMAN}.example"), EDITOR, 2, "is not a URL (Invalid IDNA"),
            (("--url", "http://h:99999"), EDITOR, 2, "--url is not a URL of a Grafana"),
            (("--url", f"http://api:{EDITOR}@h"), EDITOR, 2, "--url holds a user or password"),
            (("--token", EDITOR), EDITOR, 2, "--token-file"),
            ((f"--token={EDITOR}",), EDITOR, 2, "--token-file"),
            (("--datasource", "Mimr"), EDITOR, 2, "no data source 'Mimr'"),
            (("gpumon-nod",), EDITOR, 2, "did you mean gpumon-node"),
        ],
    )
    def test_wrong_usage(
        self, gpumon: Command, arguments: tuple[str, ...], token: str, code: int, says: str
    ) -> None:
        """No URL, no token, and none on the command line."""
        done = gpumon("push", *arguments, token=token)
        assert done.code == code
        assert says in done.err
        assert done.err.count("\n") == 1

    def test_a_certificate_of_ones_own_authority(self, tmp_path: Path) -> None:
        """It is refused, and taken where its authority is named."""
        authority = Authority(tmp_path)
        with run_grafana(authority.sign("grafana")) as grafana:
            push = ("dashboards", "push", NODE, "--url", grafana.url)
            refused = process(*push, GPUMON_GRAFANA_TOKEN=EDITOR, SSL_CERT_FILE="")
            taken = process(*push, GPUMON_GRAFANA_TOKEN=EDITOR, SSL_CERT_FILE=str(authority.cert))
            missing = process(*push, GPUMON_GRAFANA_TOKEN=EDITOR, SSL_CERT_FILE="/no/such.pem")
        assert refused.returncode == 3
        assert "set SSL_CERT_FILE to the authority's file" in refused.stderr
        assert refused.stderr.count("\n") == 1
        assert (taken.returncode, taken.stderr) == (0, "")
        assert missing.returncode == 3
        assert "SSL_CERT_FILE" in missing.stderr

    def test_without_the_sdk_it_says_what_to_install(
        self, gpumon: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A compute node has no need of it."""
        monkeypatch.setitem(sys.modules, "grafana_api.api", None)
        done = gpumon("push")
        assert done.code == 2
        assert "pip install '.[ops]' in gpumon's checkout" in done.err


class TestToken:
    """Nobody learns it but the Grafana."""

    def test_it_is_sent_to_the_grafana(self, gpumon: Command, grafana: FakeGrafana) -> None:
        """With every request but the first, which asks whether it is one."""
        gpumon("push", NODE)
        sent = [asked.authorization for asked in grafana.asked]
        assert sent[0] == ""
        assert set(sent[1:]) == {f"Bearer {EDITOR}"}

    @pytest.mark.parametrize("reply", [None, page(200), Reply(401, {"message": EDITOR})])
    def test_debugging_does_not_tell_it(self, grafana: FakeGrafana, reply: Reply | None) -> None:
        """Neither in a log nor in a traceback."""
        if reply:
            grafana.replies["GET /api/datasources"] = reply
        variables = {"GPUMON_GRAFANA_TOKEN": EDITOR, "GPUMON_GRAFANA_URL": grafana.url}
        done = process("--debug", "dashboards", "push", NODE, **variables)
        assert done.returncode == (3 if reply else 0)
        assert EDITOR not in done.stdout + done.stderr

    def test_a_bug_does_not_tell_it(
        self, gpumon: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """What is shown of the objects that hold it leaves it out."""

        def broken(access: GrafanaLogin, *_: object) -> None:
            raise RuntimeError(f"{access!r}")

        monkeypatch.setattr("gpumon.grafana.api.connect", broken)
        done = gpumon("push")
        assert done.code == 3
        assert "unexpected RuntimeError: GrafanaLogin(url=" in done.err

    def test_its_variables_disturb_no_other_command(self) -> None:
        """An agent of the same environment starts as ever."""
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as sock:
            address = f"127.0.0.1:{sock.getsockname()[1]}"
            agent = ("agent", "--source", "sim:1xH100", "--web.listen-address", address)
            done = process(*agent, GPUMON_GRAFANA_TOKEN=EDITOR, GPUMON_GRAFANA_URL="http://h")
        assert "in use" in done.stderr
