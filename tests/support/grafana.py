"""A server that answers as Grafana's HTTP API is documented, and somebody who works in it.

Its statuses and bodies are those of the HTTP API reference, and were held against a real Grafana
9.5; ``tests/grafana/test_real.py`` does the same with whatever Grafana is at hand.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import http.server
import json
import re
import ssl
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

from tests.support.certificates import Pair

EDITOR = "glsa_editor00000000000000000000_0123abcd"
"""The token of a service account with the role Editor."""

FOLDER_EDITOR = "glsa_folder00000000000000000000_0123abcd"
"""The token of a Viewer that may edit in the folders there are, and make none."""

VIEWER = "glsa_viewer00000000000000000000_0123abcd"
"""The token of a Viewer."""

NOBODY = "glsa_nobody00000000000000000000_0123abcd"
"""The token of a service account without a role."""

_READ = frozenset({"datasources:read", "folders:read", "dashboards:read"})
_ALLOWED = {
    EDITOR: _READ | {"folders:create", "dashboards:write"},
    FOLDER_EDITOR: _READ | {"dashboards:write"},
    VIEWER: _READ,
    NOBODY: frozenset[str](),
}

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Reply:
    """What a server answers."""

    status: int
    body: Any
    headers: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request that arrived."""

    method: str
    path: str
    authorization: str


@dataclasses.dataclass(frozen=True)
class Version:
    """A version of a dashboard."""

    document: Json
    folder: str
    message: str
    author: str
    restored_from: int = 0


class FakeGrafana:
    """The state of a Grafana. Tests set what is public, and act in it as a person would."""

    def __init__(self, url: str) -> None:
        """Be an empty Grafana 9.5 with one Prometheus."""
        self.url = url
        self.version: str | None = "9.5.2"
        self.database = "ok"
        self.hides_version = False
        self.sends_objects = False  # versions as 11.6 and later send them
        self.sources = [source("prometheus-uid", "Prometheus", default=True)]
        self.folders: dict[str, str] = {}
        self.hidden_folders: set[str] = set()
        self.dashboards: dict[str, list[Version]] = {}
        self.provisioned: set[str] = set()
        self.replies: dict[str, Reply] = {}
        """Answers that are given in place of a path's own, by ``METHOD /path``."""
        self.before_saving: Callable[[], None] = lambda: None
        self.asked: list[Asked] = []

    @property
    def writes(self) -> list[Asked]:
        """The requests that change something."""
        return [asked for asked in self.asked if asked.method != "GET"]

    def edit(self, uid: str, **changes: Any) -> None:
        """Save a dashboard as a person does in the browser, with other values at its top."""
        newest = self.dashboards[uid][-1]
        self._add(uid, Version({**newest.document, **changes}, newest.folder, "", "alice"))

    def move(self, uid: str, folder: str) -> None:
        """Move a dashboard as a person does, which saves it."""
        self._add(uid, Version(self.dashboards[uid][-1].document, folder, "", "alice"))

    def restore(self, uid: str, number: int) -> None:
        """Restore an earlier version as a person does."""
        earlier = self.dashboards[uid][number - 1]
        message = f"Restored from version {number}"
        restored = Version(earlier.document, earlier.folder, message, "alice", restored_from=number)
        self._add(uid, restored)

    def bring(self, document: Json, folder: str = "") -> None:
        """Import a file by hand."""
        self._add(document["uid"], Version(copy.deepcopy(document), folder, "", "alice"))

    def answer(self, method: str, path: str, token: str, body: Json) -> Reply:
        """Answer a request."""
        parts = urllib.parse.urlsplit(path)
        given = self.replies.get(f"{method} {parts.path}")
        if given is not None:
            return given
        if not parts.path.startswith("/api/"):
            return Reply(302, '<a href="/login">Found</a>.', {"Location": "/login"})
        if parts.path == "/api/health":
            return self._health()
        if token not in _ALLOWED:
            return Reply(401, {"message": "invalid API key", "traceID": ""})
        arguments = {"body": body} if method == "POST" else {}
        for pattern, needed, reply in self._routes(dict(urllib.parse.parse_qsl(parts.query))):
            found = re.fullmatch(pattern, f"{method} {parts.path}")
            if found:
                allowed = not needed or needed in _ALLOWED[token]
                return reply(*found.groups(), **arguments) if allowed else _denied(needed)
        return Reply(404, {"message": "Not found"})

    def _routes(self, query: dict[str, str]) -> tuple[tuple[str, str, Callable[..., Reply]], ...]:
        uid = r"/api/dashboards/uid/([\w-]+)"
        return (
            ("GET /api/datasources", "datasources:read", lambda: Reply(200, self.sources)),
            ("GET /api/frontend/settings", "", self._settings),
            ("GET /api/folders", "folders:read", lambda: self._list_folders(query)),
            (r"GET /api/folders/([\w-]+)", "folders:read", self._folder),
            ("POST /api/folders", "folders:create", self._create_folder),
            (f"GET {uid}", "dashboards:read", self._dashboard),
            (f"GET {uid}/versions", "dashboards:write", self._versions),
            (rf"GET {uid}/versions/(\d+)", "dashboards:write", self._version),
            ("POST /api/dashboards/db", "dashboards:write", self._save),
        )

    def _health(self) -> Reply:
        body: Json = {"database": self.database}
        if not self.hides_version:
            body |= {"commit": "c1f5ec4", "version": self.version}
        return Reply(200 if self.database == "ok" else 503, body)

    def _settings(self) -> Reply:
        return Reply(200, {"buildInfo": {"version": self.version}, "datasources": {}})

    def _list_folders(self, query: dict[str, str]) -> Reply:
        shown = [uid for uid in self.folders if uid not in self.hidden_folders]
        limit, page = int(query["limit"]), int(query["page"])
        rows = [{"id": 1, "uid": uid, "title": self.folders[uid]} for uid in shown]
        return Reply(200, rows[(page - 1) * limit : page * limit])

    def _folder(self, uid: str) -> Reply:
        if uid not in self.folders:
            return _denied("folders:read")
        return Reply(200, {"id": 1, "uid": uid, "title": self.folders[uid]})

    def _create_folder(self, body: Json) -> Reply:
        if body["title"] in self.folders.values():
            message = (
                "a folder or dashboard in the general folder with the same name already exists"
            )
            return Reply(409, {"message": message})
        uid = f"folder-{len(self.folders)}"
        self.folders[uid] = body["title"]
        return Reply(200, {"id": 1, "uid": uid, "title": body["title"], "version": 1})

    def _dashboard(self, uid: str) -> Reply:
        if uid not in self.dashboards:
            return Reply(404, {"message": "Dashboard not found", "traceID": ""})
        versions = self.dashboards[uid]
        newest = versions[-1]
        meta = {
            "version": len(versions),
            "folderUid": newest.folder,
            "folderTitle": self.folders.get(newest.folder, "General"),
            "provisioned": uid in self.provisioned,
            "updatedBy": newest.author,
            "updated": f"2026-11-26T05:00:{len(versions):02}Z",
        }
        document = {**newest.document, "id": 7, "uid": uid, "version": len(versions)}
        return Reply(200, {"meta": meta, "dashboard": document})

    def _versions(self, uid: str) -> Reply:
        if uid not in self.dashboards:
            return Reply(404, {"message": "Dashboard not found"})
        listed = [
            self._described(uid, number) for number in range(len(self.dashboards[uid]), 0, -1)
        ]
        for version in listed:
            # Whatever the message was; the single version has it (GetDashboardVersions).
            if version["restoredFrom"]:
                version["message"] = f"Restored from version {version['restoredFrom']}"
            elif version["parentVersion"] == 0:
                version["message"] = "Initial save"
        return Reply(
            200, {"continueToken": "", "versions": listed} if self.sends_objects else listed
        )

    def _version(self, uid: str, number: str) -> Reply:
        return Reply(200, self._described(uid, int(number)))

    def _described(self, uid: str, number: int) -> Json:
        version = self.dashboards[uid][number - 1]
        return {
            "id": number,
            "uid": uid,
            "parentVersion": number - 1,
            "restoredFrom": version.restored_from,
            "version": number,
            "createdBy": version.author,
            "message": version.message,
        }

    def _save(self, body: Json) -> Reply:
        self.before_saving()
        document = dict(body["dashboard"])
        uid, folder = document["uid"], body.get("folderUid", "")
        version = document.pop("version", 0)
        if folder and folder not in self.folders:
            return Reply(400, {"message": "folder not found"})
        if uid in self.provisioned:
            return Reply(400, {"message": "Cannot save provisioned dashboard"})
        if version != len(self.dashboards.get(uid, ())) and not body["overwrite"]:
            message = "The dashboard has been changed by someone else"
            return Reply(412, {"status": "version-mismatch", "message": message})
        for other, versions in self.dashboards.items():
            newest = versions[-1]
            same = newest.document["title"] == document["title"] and newest.folder == folder
            if other != uid and same:
                message = "A dashboard with the same name in the folder already exists"
                return Reply(412, {"status": "name-exists", "message": message})
        self._add(uid, Version(document, folder, body["message"], "Anonymous"))
        number = len(self.dashboards[uid])
        return Reply(200, {"id": 7, "uid": uid, "status": "success", "version": number})

    def _add(self, uid: str, version: Version) -> None:
        self.dashboards.setdefault(uid, []).append(version)


def source(uid: str, name: str, kind: str = "prometheus", *, default: bool = False) -> Json:
    """Return a data source as Grafana lists it."""
    return {"id": 1, "uid": uid, "name": name, "type": kind, "isDefault": default}


def _denied(needed: str) -> Reply:
    message = (
        f"You'll need additional permissions to perform this action. Permissions needed: {needed}"
    )
    return Reply(403, {"accessErrorId": "ACE1", "message": message, "title": "Access denied"})


@contextlib.contextmanager
def run_grafana(certificate: Pair | None = None) -> Iterator[FakeGrafana]:
    """Listen as a Grafana does, with TLS where there is a certificate."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: else each answer waits for an acknowledgement

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
            authorization = self.headers.get("Authorization", "")
            grafana.asked.append(Asked(self.command, self.path, authorization))
            token = authorization.removeprefix("Bearer ")
            reply = grafana.answer(self.command, self.path, token, body)
            is_text = isinstance(reply.body, str)
            data = (reply.body if is_text else json.dumps(reply.body)).encode()
            self.send_response(reply.status)
            self.send_header("Content-Type", "text/html" if is_text else "application/json")
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Say nothing of clients that go away, as one does that dislikes a certificate."""

    server = Server(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.cert, certificate.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "https" if certificate else "http"
    grafana = FakeGrafana(f"{scheme}://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield grafana
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
