"""Replies, compressed for clients that accept that."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gpumon.documents.write import json_line
from gpumon.exposition.negotiation import accepts_gzip

WORTH_COMPRESSING = 1000
"""Bytes: less fits into one packet anyhow."""

GZIP_LEVEL = 1
"""Best trade for text that is sent once over a local network: four fifths of the gain at a fifth of
the time of the usual level."""


def answer(request: Request, body: bytes, headers: dict[str, str], status: int = 200) -> Response:
    """Return a reply, compressed for a client that accepts that.

    Starlette's middleware does the same at more than twice the cost, as it has to see every message
    of every answer; a scrape is one message.
    """
    headers = {**headers, "vary": "Accept, Accept-Encoding"}
    if len(body) > WORTH_COMPRESSING and accepts_gzip(request.headers.get("accept-encoding", "")):
        packer = zlib.compressobj(GZIP_LEVEL, wbits=zlib.MAX_WBITS | 16)  # 16: gzip's own frame
        body = packer.compress(body) + packer.flush()
        headers["content-encoding"] = "gzip"
    return Response(body, status, headers)


def json_answer(
    request: Request,
    document: Mapping[str, Any],
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a document as the answer."""
    return json_text_answer(request, json_line(document), status, headers)


def json_text_answer(
    request: Request, text: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return JSON that has been written already as the answer."""
    headers = {"content-type": "application/json", **(headers or {})}
    return answer(request, text.encode(), headers, status)
