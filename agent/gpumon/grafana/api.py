"""What a Grafana has: its version, data sources, folders, dashboards; and saving one.

Only Grafana's documented HTTP API is used (docs: HTTP API reference), as 9.5 and later answer it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gpumon.errors import UnavailableError, UsageError
from gpumon.grafana import denials
from gpumon.grafana.login import GrafanaLogin
from gpumon.grafana.shipped import Dashboard, content, digest_in

if TYPE_CHECKING:
    import httpx

OLDEST = (9, 5)
"""The first Grafana whose panels the dashboards use; tests open them in it."""

ANSWER_SECONDS = 30.0
"""How long one answer may take: a dashboard is a few hundred kB in a database."""

CONNECT_SECONDS = 5.0

_PAGE = 1000
"""Folders asked for at once: Grafana's own default."""

_UID = re.compile(r"[A-Za-z0-9_-]{1,40}")


@dataclasses.dataclass(frozen=True, slots=True)
class DataSource:
    """A data source of a Grafana."""

    uid: str
    name: str
    kind: str
    default: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Folder:
    """A folder of a Grafana."""

    uid: str
    title: str


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """A dashboard as a Grafana has it now, and the message of its newest version."""

    document: Mapping[str, Any]
    version: int
    folder: Folder
    provisioned: bool
    message: str
    saved_by: str
    saved_at: str


@contextlib.contextmanager
def connect(access: GrafanaLogin) -> Iterator[GrafanaApi]:
    """Yield a Grafana that has answered with a version that is known to do.

    Raises UsageError if the SDK is missing, UnavailableError if no Grafana of 9.5 or later
    is there. The token is sent only after that, so a wrong URL does not learn it.
    """
    with _client() as client:
        grafana = GrafanaApi(access, client)
        grafana.check()
        yield grafana


class GrafanaApi:
    """One server. Every method raises UnavailableError if the server does not do it."""

    def __init__(self, access: GrafanaLogin, client: httpx.Client) -> None:
        """Ask by this client, as this access allows."""
        self.access = access
        self._client = client

    def check(self) -> None:
        """Raise UnavailableError unless a Grafana of 9.5 or later, with its database, is here."""
        answer = self._send("GET", "/api/health", {})
        if answer.status_code == 404:
            raise UnavailableError(
                f"{self.access.url} has no Grafana API (404 at /api/health)", denials.NOT_GRAFANA
            )
        try:
            health = answer.json()
            database, version = str(health["database"]), str(health.get("version", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UnavailableError(
                f"{self.access.url} replies {answer.status_code} at /api/health, and not as "
                "Grafana does",
                denials.NOT_GRAFANA,
            ) from None
        if database != "ok":
            raise UnavailableError(
                f"{self.access.url} has no database ({self.access.hide(database)})",
                "look at Grafana's log",
            )
        version = version or self._hidden_version()
        found = re.match(r"(\d+)\.(\d+)", version)
        if found is None or (int(found[1]), int(found[2])) < OLDEST:
            raise UnavailableError(
                f"{self.access.url} is Grafana {self.access.hide(version) or 'of no version'}",
                "the dashboards need 9.5 or later",
            )

    def data_sources(self) -> tuple[DataSource, ...]:
        """Return the data sources."""
        need = "give its service account the role Viewer (the permission datasources:read)"
        with self._reading("the data sources"):
            return tuple(
                DataSource(str(s["uid"]), str(s["name"]), str(s["type"]), bool(s.get("isDefault")))
                for s in self._ask("GET", "/api/datasources", what="data sources", need=need)
            )

    def folder(self, name: str) -> Folder | None:
        """Return the folder of a title at the top, or of a uid anywhere; None if there is none.

        Raises UsageError if several have the title.
        """
        found = [folder for folder in self._folders() if name in {folder.uid, folder.title}]
        exact = [folder for folder in found if folder.uid == name]
        if len(found) > 1 and not exact:
            uids = ", ".join(folder.uid for folder in found)
            raise UsageError(f"{len(found)} folders are called {name!r}", f"give a uid: {uids}")
        if found:
            return (exact or found)[0]
        if not _UID.fullmatch(name):
            return None
        # A folder in a folder is not in that list. Of a uid that is not there, Grafana says 403
        # to whom may not read every folder.
        answer = self._ask(
            "GET", f"/api/folders/{name}", what=f"folder {name}", absent=frozenset({403, 404})
        )
        with self._reading("a folder"):
            return Folder(str(answer["uid"]), str(answer["title"])) if answer else None

    def create_folder(self, name: str) -> Folder:
        """Make a folder of a title."""
        need = (
            f"make the folder {name} in Grafana and give the service account Edit on it, or give"
            " it the role Editor (the permission folders:create)"
        )
        answer = self._ask(
            "POST",
            "/api/folders",
            {"title": name},
            what=f"folder {name}",
            need=need,
            absent=frozenset({409}),
        )
        if answer is None:
            raise UnavailableError(
                f"Grafana has a folder or a dashboard called {name} that this token may not see",
                "give its service account Edit on it, or name another with --folder",
            )
        with self._reading("a new folder"):
            return Folder(str(answer["uid"]), str(answer["title"]))

    def dashboard(self, uid: str) -> Stored | None:
        """Return a dashboard, or None if there is none."""
        # The dashboard first, its newest message second: what somebody saves between the two is
        # then seen as an edit, and never taken for what is compared with ours.
        answer = self._ask(
            "GET",
            f"/api/dashboards/uid/{uid}",
            what=f"dashboard {uid}",
            need=_EDIT,
            absent=frozenset({404}),
        )
        if answer is None:
            return None
        with self._reading(f"the dashboard {uid}"):
            document, meta = answer["dashboard"], answer["meta"]
            return Stored(
                document=content(document),
                version=int(document.get("version") or meta["version"]),
                folder=Folder(str(meta.get("folderUid", "")), str(meta.get("folderTitle", ""))),
                provisioned=bool(meta.get("provisioned")),
                message=self._newest_message(uid),
                saved_by=str(meta.get("updatedBy", "")),
                saved_at=str(meta.get("updated", "")),
            )

    def save(self, dashboard: Dashboard, folder: Folder, version: int | None) -> None:
        """Save a dashboard in a folder, in place of a version; None if there is none yet.

        Raises UnavailableError if another version is there by now.
        """
        document = content(dashboard.document)
        if version is not None:
            document["version"] = version
        body = {
            "dashboard": document,
            "folderUid": folder.uid,
            "message": dashboard.mark,
            # Never true: it would also put the dashboard in the place of another one that happens
            # to have its title (9.5: getExistingDashboardByTitleAndFolder), and in that of a
            # version that nobody has looked at. The version says which one may go.
            "overwrite": False,
        }
        what = f"dashboard {dashboard.uid}"
        answer = self._ask("POST", "/api/dashboards/db", body, what=what, need=_EDIT)
        with self._reading("a save"):
            if answer["status"] != "success":
                raise UnavailableError(
                    f"Grafana did not save {what} ({self.access.hide(str(answer['status']))})",
                    "look at Grafana's log",
                )

    def _folders(self) -> list[Folder]:
        folders: list[Folder] = []
        page: list[Folder] | None = None
        while page is None or len(page) == _PAGE:
            answer = self._ask(
                "GET",
                f"/api/folders?limit={_PAGE}&page={len(folders) // _PAGE + 1}",
                what="folders",
                need="give its service account the role Viewer (the permission folders:read)",
            )
            with self._reading("the folders"):
                page = [Folder(str(one["uid"]), str(one["title"])) for one in answer]
            if page and page[0] in folders:  # it knows of no pages
                break
            folders += page
        return folders

    def _newest_message(self, uid: str) -> str:
        path = f"/api/dashboards/uid/{uid}/versions"
        what = f"versions of the dashboard {uid}"
        # No versions at all is what a dashboard has that was saved in the schema of Grafana 12's
        # dynamic dashboards (grafana/grafana#108105): nobody's, then.
        answer = self._ask("GET", f"{path}?limit=1", what=what, need=_EDIT, absent=frozenset({404}))
        # A list until 11.5; since 11.6 an object (grafana/grafana#104556).
        versions = answer["versions"] if isinstance(answer, dict) else answer or []
        if not versions:
            return ""
        newest = max(versions, key=lambda version: int(version["version"]))
        message = str(newest.get("message", ""))
        if digest_in(message) is None and not newest.get("parentVersion"):
            # Of a dashboard's first version the list says "Initial save" whatever the message was
            # (Grafana 9.5 to 12: GetDashboardVersions); the version by itself has it.
            one = self._ask(
                "GET",
                f"{path}/{int(newest['version'])}",
                what=what,
                absent=frozenset({403, 404, 500}),
            )
            message = str(one.get("message", "")) if one else message
        return message

    def _hidden_version(self) -> str:
        """Return the version of a Grafana that shows it only after a login (hide_version)."""
        with self._reading("its settings"):
            settings = self._ask("GET", "/api/frontend/settings", what="settings")
            return str(settings["buildInfo"].get("version", ""))

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        what: str,
        need: str = "",
        absent: frozenset[int] = frozenset(),
    ) -> Any:
        """Return the JSON of an answer; None if its status is one of those for nothing there."""
        answer = self._send(method, path, self.access.header, body)
        if answer.status_code in absent:
            return None
        if not answer.is_success:
            raise denials.refused(self.access, answer, what, need or _EDIT)
        try:
            return answer.json()
        except ValueError:
            raise denials.unreadable(self.access, f"for {what}") from None

    def _send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
    ) -> httpx.Response:
        import httpx

        try:
            answer = self._client.request(
                method, self.access.url + path, headers=dict(headers), json=body
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise denials.no_connection(self.access, error) from None
        if answer.is_redirect:
            location = urllib.parse.urlsplit(answer.headers.get("Location", ""))
            raise denials.redirected(self.access, location._replace(query="").geturl())
        return answer

    @contextlib.contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Turn what goes wrong while an answer is taken apart into an error for the user."""
        try:
            yield
        except (KeyError, TypeError, AttributeError, ValueError):
            raise denials.unreadable(self.access, f"for {what}") from None


_EDIT = (
    "give its service account Edit on the folder, or the role Editor (the permissions"
    " dashboards:create and dashboards:write)"
)


def _client() -> httpx.Client:
    """Return the SDK's HTTP client, without a token, retries, or redirects.

    It is all that is used of the SDK. Its methods for folders, dashboards, versions and data
    sources (0.9.1) look only at bodies: 401, 403, 404, 412 and an empty list all become a bare
    ``Exception`` and a line in the root logger, the objects that newer Grafanas send a KeyError.
    ``Api.call_the_api`` loses the status too, or writes it over the body's ``status``, which is all
    that distinguishes one 412 from another; and it makes a ConnectError of an "invalid API key".
    """
    try:
        import httpx
        from grafana_api.api import Api
        from grafana_api.model import APIModel
    except ImportError:
        raise UsageError(
            "talking to a Grafana needs grafana-api-sdk",
            "pip install '.[ops]' in gpumon's checkout, on the machine you push from",
        ) from None
    except OSError as error:  # the SDK reads certificates when it is imported
        raise UnavailableError(
            f"cannot read the certificates of SSL_CERT_FILE ({error.strerror})", "check its path"
        ) from None
    model = APIModel(
        host="",
        timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        retries=0,
        follow_redirects=False,
    )
    client: httpx.Client = Api(model).create_the_http_api_client({"Accept": "application/json"})
    return client
