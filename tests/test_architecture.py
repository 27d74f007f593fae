"""The contracts of ``[tool.importlinter]`` hold, and would not if somebody broke them."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gpumon.sources.kinds import KINDS
from tests.support.servers import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGES = {"gpumon": "agent/gpumon", "dashboards": "dashboards"}

LAYERS, DASHBOARDS, BELOW, CIRCLES, SOURCES = (
    "gpumon's parts import only from their own layer and from those below",
    "Dashboards are built of their kit, and written last",
    "The dashboards are built of gpumon, which needs none of that",
    "No part imports itself in a circle, at any depth",
    "Sources know nothing of each other",
)


def contracts() -> dict[str, dict[str, Any]]:
    """Return the contracts by their names."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return {each["name"]: each for each in settings["tool"]["importlinter"]["contracts"]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the code and the contracts alone."""
    folder = tmp_path_factory.mktemp("whole")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for place in PACKAGES.values():
        only_code = shutil.ignore_patterns("__pycache__", "*.json", "*.html", "*.toml", "*.yml")
        shutil.copytree(ROOT / place, folder / place, ignore=only_code)
    return folder


def broken(folder: Path) -> set[str]:
    """Return the contracts that the code in a folder breaks, as ``lint-imports`` tells."""
    run = "import sys; from importlinter.cli import lint_imports_command as c; c(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", run, "--no-cache"],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": f"{folder / 'agent'}{os.pathsep}{folder}",
            "COLUMNS": "200",  # no line is broken
        },
        capture_output=True,
        text=True,
        check=False,
    )
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)  # older versions colour always
    told = dict(re.findall(r"^(.+) (KEPT|BROKEN)$", text, re.MULTILINE))
    assert told.keys() == contracts().keys(), done.stdout + done.stderr
    wrong = {name for name, verdict in told.items() if verdict == "BROKEN"}
    assert done.returncode == bool(wrong)
    return wrong


def test_the_contracts_are_kept(whole: Path) -> None:
    """As ``make lint`` finds as well; below, one thing at a time is changed in this copy."""
    assert not broken(whole)


MUTATIONS: Mapping[str, tuple[dict[str, str], str]] = {
    "a circle of two modules of one part": (
        {
            "agent/gpumon/rules/model.py": "from gpumon.rules import render",
            "agent/gpumon/rules/render.py": "from gpumon.rules import model",
        },
        CIRCLES,
    ),
    "a circle of two parts of one layer": (
        {
            "agent/gpumon/rules/model.py": "from gpumon.checks import registry",
            "agent/gpumon/checks/model.py": "from gpumon.rules import source",
        },
        CIRCLES,
    ),
    "a circle of two layers": (
        {"agent/gpumon/model/terms.py": "from gpumon.documents import snapshot"},
        LAYERS,
    ),
    "sim imports nvml": (
        {"agent/gpumon/sources/sim/source.py": "from gpumon.sources.nvml import library"},
        SOURCES,
    ),
    "a relative import upwards, within a function": (
        {"agent/gpumon/host/rapl.py": "def f():\n    from ..views import words"},
        LAYERS,
    ),
    "an import for types alone": (
        {"agent/gpumon/ledger/shares.py": "if TYPE_CHECKING:\n    from gpumon.server import node"},
        LAYERS,
    ),
    "gpumon imports the dashboards": (
        {"agent/gpumon/grafana/shipped.py": "import dashboards.kit.style"},
        BELOW,
    ),
    "the dashboards' kit imports a dashboard": (
        {"dashboards/kit/style.py": "from dashboards import fleet"},
        DASHBOARDS,
    ),
    "a part that nobody has given a layer": (
        {"agent/gpumon/newcomer.py": "from gpumon.model import Snapshot"},
        LAYERS,
    ),
}


@contextlib.contextmanager
def changed(folder: Path, lines: Mapping[str, str]) -> Iterator[None]:
    """Have a line at the end of some files, new ones among them, while the body runs."""
    files = {folder / name: line for name, line in lines.items()}
    before = {file: file.read_text("utf-8") for file in files if file.exists()}
    try:
        for file, line in files.items():
            file.write_text(f"{before.get(file, '')}\n{line}\n", "utf-8")
        yield
    finally:
        for file in files:
            if file in before:
                file.write_text(before[file], "utf-8")
            else:
                file.unlink()


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_what_the_contracts_forbid_is_found(whole: Path, mutation: str) -> None:
    """One by one, in a copy of the code that is otherwise as it is."""
    lines, wanted = MUTATIONS[mutation]
    with changed(whole, lines):
        assert wanted in broken(whole)


@pytest.mark.parametrize(
    "code",
    [
        'import importlib\n\nimportlib.import_module("gpumon.server.node")\n',
        'from importlib import import_module as load\n\nload("gpumon.server.node")\n',
        'import importlib as i\n\ni.__import__("gpumon.server.node")\n',
        'import runpy\n\nrunpy.run_module("gpumon.server.node")\n',
        'import pkgutil\n\npkgutil.resolve_name("gpumon.server.node")\n',
    ],
)
@pytest.mark.parametrize("place", ["agent/gpumon/model/new.py", "dashboards/kit/new.py"])
def test_what_import_linter_does_not_see_is_refused_by_ruff(code: str, place: str) -> None:
    """An import by a name that is a text."""
    argv = [sys.executable, "-m", "ruff", "check", "--no-cache", "--stdin-filename", place, "-"]
    done = subprocess.run(argv, input=code, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "TID251" in done.stdout
    assert "import-linter sees no other" in done.stdout


def test_nothing_imports_by_the_builtin_either() -> None:
    """Ruff bans names of modules; ``__import__`` is in none."""
    for place in PACKAGES.values():
        for file in (ROOT / place).rglob("*.py"):
            tree = ast.parse(file.read_text("utf-8"))
            names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            assert "__import__" not in names, file


def test_every_source_is_among_those_that_know_nothing_of_each_other() -> None:
    """A new one is listed in the contract, too."""
    assert contracts()[SOURCES]["modules"] == sorted(f"gpumon.sources.{name}" for name in KINDS)


def test_contributing_shows_the_layers() -> None:
    """Each part with the number of its layer, from the ground up."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", text, re.MULTILINE)
    shown = [
        (int(number), name) for number, names in rows for name in re.findall(r"`(\w+)`", names)
    ]
    layers = contracts()[LAYERS]["layers"]
    wanted = [
        (number, name)
        for number, layer in enumerate(reversed(layers), 1)
        for name in re.split(" [:|] ", layer)
    ]
    assert [number for number, _ in shown] == sorted(number for number, _ in shown)
    assert sorted(shown) == sorted(wanted)
