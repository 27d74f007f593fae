"""The runbooks that ship, to which alerts of a site without the internet link: ``/runbooks``."""

from __future__ import annotations

import functools
import html
import re

from starlette.responses import HTMLResponse, PlainTextResponse, Response

from gpumon.assets import asset
from gpumon.errors import hint

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
</head>
<body><pre style="white-space: pre-wrap; max-width: 120ch">{text}</pre></body>
</html>
"""

_LINK = re.compile(r"\[([^\]]+)\]\(([A-Za-z]+)\.md\)")
"""A link from one runbook to another, in Markdown."""


@functools.cache
def runbooks() -> tuple[str, ...]:
    """Return the names of all runbooks."""
    return tuple(sorted(file.stem for file in asset("docs/runbooks").glob("*.md")))


def runbook_answer(name: str) -> Response:
    """Return a runbook as a page, as it is written; the list of all for an empty name.

    ``name`` may end in ``.md``. For one that does not exist the answer is 404, with the nearest.
    """
    known = runbooks()
    name = name.removesuffix(".md")
    if not name:
        listed = "\n".join(f"[{each}]({each}.md)" for each in known)
        return HTMLResponse(_page("Runbooks", listed))
    if name not in known:
        return PlainTextResponse(
            f"no runbook {name[:60]}; /runbooks lists them{hint(name[:60], known)}\n", 404
        )
    return HTMLResponse(_page(name, asset(f"docs/runbooks/{name}.md").read_text("utf-8")))


def _page(title: str, text: str) -> str:
    linked = _LINK.sub(r'<a href="/runbooks/\2">\1</a>', html.escape(text))
    return _PAGE.format(title=html.escape(title), text=linked)
