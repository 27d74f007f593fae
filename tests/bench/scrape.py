"""A client that scrapes as Prometheus does, and counts what it is given."""

from __future__ import annotations

import dataclasses
import gzip
import http.client
import math
import re
import urllib.parse

ACCEPT = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"

ENCODINGS = ("gzip", "identity")
"""What is asked for: Prometheus asks for gzip."""

_SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?P<labels>\{.*\})? (?P<value>\S+)")


@dataclasses.dataclass(frozen=True)
class Exposition:
    """The size of an answer.

    A GPU family is one with at least one sample that has a number (not NaN) and a GPU's ``uuid``.
    """

    samples: int
    families: int
    gpu_families: int
    plain_bytes: int
    gzip_bytes: int


class Client:
    """One connection, kept open where the server allows it."""

    def __init__(self, url: str) -> None:
        """Scrape this URL; nothing is asked yet."""
        parts = urllib.parse.urlsplit(url)
        self._path = parts.path
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=30)

    def scrape(self, encoding: str) -> bytes:
        """Return a body as it was sent; OSError where the answer is not 200."""
        headers = {"Accept": ACCEPT, "Accept-Encoding": encoding}
        self._connection.request("GET", self._path, headers=headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise OSError(f"{self._path} answered {answer.status}")
        return body

    def exposition(self) -> Exposition:
        """Scrape both ways and count."""
        packed = self.scrape("gzip")
        plain = self.scrape("identity")
        size = len(packed) if packed.startswith(b"\x1f\x8b") else len(gzip.compress(packed))
        return dataclasses.replace(count(plain.decode()), gzip_bytes=size)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def count(text: str) -> Exposition:
    """Count the samples and families of an exposition."""
    samples, family, gpu_families = 0, "", set()
    families = 0
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            families += 1
            family = line.split()[2]
        elif line and not line.startswith("#"):
            samples += 1
            match = _SAMPLE.match(line)
            if match and 'uuid="GPU-' in (match["labels"] or "") and not _nan(match["value"]):
                gpu_families.add(family)
    return Exposition(samples, families, len(gpu_families), len(text.encode()), 0)


def _nan(value: str) -> bool:
    return math.isnan(float(value))
