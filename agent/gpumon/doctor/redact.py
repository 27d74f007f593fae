"""Texts without secrets, and with other words for people, for strangers to read.

In doubt something goes: a report that says less can be asked about, one that said too much cannot
be taken back.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from gpumon.documents.read import parse
from gpumon.documents.write import json_of

GONE = "***"

_WORD = (
    r"(?:password|passwd|passphrase|token|secret|bearer|credential|basic_auth|authorization"
    r"|(?:api|access|private|signing)[_-]?key)"
)
_KEY = rf"""(?<![\w.-])["']?[\w.-]{{0,80}}{_WORD}[\w.-]{{0,80}}["']?"""
_BLANK = r"[^\S\n]{0,80}"
"""A whole word, and what stands between words. All are bounded: what somebody else has written may
be of any length, and must not be gone through from each of its letters."""

_SECRETS = tuple(
    (re.compile(pattern, re.IGNORECASE | re.MULTILINE), put)
    for pattern, put in (
        (r"-----BEGIN [^\n]{1,80}-----[\s\S]*?(?:-----END [^\n]{1,80}-----|\Z)", GONE),
        # What stands indented below it, in YAML: of users with passwords the users, too.
        (
            rf"(^({_BLANK}){_KEY}{_BLANK}:{_BLANK}\n)(?:\2[^\S\n]+[^\n]*(?:\n|\Z))+",
            rf"\1\2  {GONE}\n",
        ),
        # A text over several lines, in TOML.
        (
            rf"""({_KEY}{_BLANK}[=:]{_BLANK})(?:"{{3}}[\s\S]*?"{{3}}|'{{3}}[\s\S]*?'{{3}})""",
            rf"\1{GONE}",
        ),
        # A setting, commented out or not: all of the line, since a password may have blanks.
        (
            rf"^({_BLANK}(?:[#;-]{{1,8}}{_BLANK})?(?:export\s+)?{_KEY}{_BLANK}[=:]).*$",
            rf"\1 {GONE}",
        ),
        # In the middle of a line: a value in quotes, or a word.
        (
            rf"""({_KEY}{_BLANK}[=:]\s{{0,80}})(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s&]+)""",
            rf"\1{GONE}",
        ),
        # An option's argument, and what follows the scheme of a header.
        (rf"((?<![\w-])--?[\w-]{{0,80}}{_WORD}[\w-]{{0,80}}\s{{1,80}})\S+", rf"\1{GONE}"),
        (r"\b((?:bearer|basic)\s{1,80})[\w.~+/=-]+", rf"\1{GONE}"),
        (r"(://)[^\s\"'<>]{0,400}@", rf"\1{GONE}@"),
        # By their looks: crypt(3)'s hashes, Grafana's tokens, JSON Web Tokens.
        (r"\$(?:2[abxy]|5|6|y|argon2\w{0,8})\$[^\s:\"',}]+", GONE),
        (r"\bgl(?:sa|c)_\w+", GONE),
        (r"\beyJ[\w-]+\.[\w-]+\.[\w-]*", GONE),
    )
)

_PROGRAMS = tuple(
    (re.compile(pattern, re.MULTILINE), put)
    for pattern, put in (
        (rf"^({_BLANK} Name\s{{1,80}}: ).*$", rf"\1{GONE}"),  # of a process, in nvidia-smi -q
        (r"\b(pid=[^,\n]{0,80}, name=)[^,\n]*", rf"\1{GONE}"),  # of the one that an Xid names
        (r'^(gpumon_job\w*\{.*?\bname=)"(?:[^"\\\n]|\\.)*"', rf'\1"{GONE}"'),
    )
)

_WHO = re.compile(r"""["']?\b(?:user|account|user_name)["']?\s*[=:]\s*"((?:[^"\\\n]|\\.)+)\"""")
_HOME = re.compile(r"(?:/home|/Users)/([^/\s\"':,]+)")

NOBODY = frozenset({"", "root", "gpumon", "sim"})
"""Users that say nothing about anybody."""


def users_in(texts: Iterable[str]) -> set[str]:
    """Return the names of users and accounts: in JSON, in labels of metrics, of home folders."""
    found = {name for text in texts for way in (_WHO, _HOME) for name in way.findall(text)}
    return found - NOBODY


def words_for(users: Collection[str], hosts: Collection[str] = ()) -> dict[str, str]:
    """Return another word for each name, always the same: user1, host1."""
    words = {host: f"host{number}" for number, host in enumerate(sorted({*hosts} - {""}), 1)}
    words |= {user: f"user{number}" for number, user in enumerate(sorted({*users} - NOBODY), 1)}
    return words


def redact(text: str, words: Mapping[str, str], secrets: Collection[str] = ()) -> str:
    """Return a text without secrets and command lines, and with other words for names.

    ``secrets`` are those that are known to be; a name is replaced wherever it stands as a word.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, GONE)
    for pattern, put in (*_SECRETS, *_PROGRAMS):
        text = pattern.sub(put, text)
    if not words:
        return text
    # At once, the longest first: another word is not replaced in its turn.
    names = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    return re.sub(rf"(?<![\w-])(?:{names})(?![\w-])", lambda found: words[found[0]], text)


def redact_json(text: str, words: Mapping[str, str], secrets: Collection[str] = ()) -> str:
    """Return the same of a JSON document, which is one afterwards; of none, as of any text."""
    try:
        document = parse(text)
    except ValueError:
        return redact(text, words, secrets)

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return redact(value, words, secrets)
        if isinstance(value, list):
            return [clean(one) for one in value]
        if not isinstance(value, dict):
            return value
        cleaned = {redact(key, words, secrets): clean(one) for key, one in value.items()}
        # A process, or a job: what it is called is what somebody runs.
        private = {"name", "uid", "command"} if {"pid", "job_id"} & cleaned.keys() else set()
        return {
            key: GONE if one and (key in private or re.search(_WORD, key)) else one
            for key, one in cleaned.items()
        }

    return json_of(clean(document), pretty=True) + "\n"
