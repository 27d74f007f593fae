"""Finds numbers in code that are a threshold a second time: its value, near a word of its meaning.

A value alone proves nothing: 5 and 10 are everywhere. So a number counts if the same statement has
a word of what the threshold is about: of its name, or one that people use for the same.
"""

from __future__ import annotations

import ast
import dataclasses
import math
import re
from collections.abc import Iterable, Iterator, Mapping

from gpumon.thresholds import Thresholds

GENERIC = frozenset(
    {
        *("for", "ratio", "seconds", "celsius", "per", "second", "day", "low", "least", "many"),
        *("window", "count", "life", "up", "z", "at", "near", "job", "jobs", "factor", "errors"),
        *("time", "limit", "power", "state", "memory", "clocks", "activity", "monitor", "recent"),
        *("error", "down", "source", "rack", "utilization", "tensor", "sm", "nodes", "offender"),
        *("repeat", "sick", "workload", "released", "missing", "hung", "lost", "reset", "pending"),
        *("fact", "fabric", "collector", "coverage", "brake", "links", "dashboard", "pcie"),
        *("gpus", "xid"),
    }
)
"""Parts of thresholds' names that say nothing of what one is about, or are everywhere in code."""

SAME = {
    "activity.idle_ratio": {"active", "activity", "waste"},
    "activity.working_ratio": {"activity"},
    "heat.margin_low_celsius": {"slowdown"},
    "heat.hbm_celsius": {"memory_temperature", "hot"},
    "monitor.fresh_seconds": {"stale", "age", "old"},
    "monitor.stale_seconds": {"fresh", "age", "old"},
    "xid.recent": {"xid", "xids"},
    "xid.dashboard_window": {"xid", "xids"},
    "straggler.z": {"score", "straggles"},
    "power.budget_near_ratio": {"budgets"},
    "monitor.slow_seconds": {"scrape"},
}
"""Other words for what a threshold is about."""


@dataclasses.dataclass(frozen=True, order=True)
class Literal:
    """A number that is a threshold's: where, and which."""

    line: int
    number: str
    threshold: str


def words_of(name: str) -> set[str]:
    """Return the words by which a threshold's meaning is known."""
    section, _, rest = name.partition(".")
    own = {word for word in (section, *rest.split("_")) if word not in GENERIC}
    return own | SAME.get(name, set())


def numbers_of(thresholds: Thresholds, name: str) -> set[float]:
    """Return the numbers that a threshold may be written as: a ratio in per cent, too."""
    value = thresholds.values[name]
    if isinstance(value, str):
        seconds = thresholds.seconds(name)
        return {seconds}
    return {float(value), 100 * value} if name.endswith("_ratio") else {float(value)}


def _words(text: str) -> set[str]:
    """Return the words of a text, with identifiers taken apart."""
    camel = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)
    return {word.lower() for word in re.findall(r"[A-Za-z]+", camel)}


class Finder:
    """Looks for the numbers of some thresholds."""

    def __init__(self, thresholds: Thresholds) -> None:
        """Know the numbers and words of all of them."""
        self._known: Mapping[str, tuple[set[float], set[str]]] = {
            name: (numbers_of(thresholds, name), words_of(name)) for name in thresholds.values
        }

    def match(self, number: float, words: Iterable[str]) -> Iterator[str]:
        """Yield the thresholds that a number is, among some words; 0 and 1 are no news anywhere."""
        near = set(words)
        for name, (numbers, meaning) in self._known.items():
            same = any(math.isclose(abs(number), each) for each in numbers)
            if same and abs(number) not in (0, 1) and meaning & near:
                yield name

    def in_python(self, source: str) -> list[Literal]:
        """Return the literals of a module: in comparisons, constants, defaults and its prose."""
        tree = ast.parse(source)
        found = set()
        for place, around in (*_places(tree), *_colours(tree)):
            words = _words(ast.unparse(around))
            for line, number in _numbers(place):
                found |= {Literal(line, f"{number:g}", n) for n in self.match(number, words)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                told = self.in_prose(node.value)
                found |= {dataclasses.replace(each, line=node.lineno) for each in told}
        return sorted(found)

    def in_script(self, source: str) -> list[Literal]:
        """Return the literals of JavaScript, or of anything with a statement to a line."""
        found = set()
        for number, line in enumerate(source.splitlines(), start=1):
            for statement in re.split(r"[;,?]|&&|\|\|", line.partition("//")[0]):
                for text in re.findall(r"(?<![\w.#-])\d+(?:\.\d+)?(?![\w%-])", statement):
                    for name in self.match(float(text), _words(statement)):
                        found.add(Literal(number, text, name))
        return sorted(found)

    def in_prose(self, text: str) -> list[Literal]:
        """Return the numbers of a text that has words of a threshold's meaning in a sentence."""
        found = set()
        for number, sentence in enumerate(re.split(r"(?<=[.;:!?])\s+|\n", text), start=1):
            for digits in re.findall(r"(?<![\w.-])\d+(?:\.\d+)?(?![\w-])", sentence):
                for name in self.match(float(digits), _words(sentence)):
                    found.add(Literal(number, digits, name))
        return sorted(found)


def _numbers(place: ast.AST) -> Iterator[tuple[int, float]]:
    """Yield the numbers of an expression with their lines, and what products of them come to."""
    for node in ast.walk(place):
        if isinstance(node, ast.Constant | ast.BinOp):
            value = _folded(node)
            if value is not None:
                yield node.lineno, value


def _folded(node: ast.expr) -> float | None:
    """Return the number that an expression is, if it is one."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return float(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        left, right = _folded(node.left), _folded(node.right)
        return None if left is None or right is None else left * right
    return None


Place = tuple[ast.AST, ast.AST]
"""Where a number may be a limit, and around it what says of what."""


def _places(tree: ast.Module) -> Iterator[Place]:
    """Yield comparisons, constants, defaults and arguments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) or (isinstance(node, ast.keyword) and _simple(node.value)):
            yield node, node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            constant = any(isinstance(each, ast.Name) and each.id.isupper() for each in targets)
            if constant and node.value is not None and _simple(node.value):
                yield node, node
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for argument, default in _defaults(node.args):
                yield default, ast.Name(argument)


def _simple(value: ast.expr) -> bool:
    """Tell whether a value is a number, or is reckoned from few."""
    return not any(isinstance(node, ast.Dict | ast.Lambda) for node in ast.walk(value)) and (
        sum(isinstance(node, ast.Constant) for node in ast.walk(value)) <= FEW
    )


FEW = 4

COLOURING = {"thresholds", "worsening", "no_more_than"}
"""What colours a panel by numbers."""


def _colours(tree: ast.AST, around: ast.AST | None = None) -> Iterator[Place]:
    """Yield the calls that colour a panel, with the panel or the column that it is of."""
    for node in ast.iter_child_nodes(tree):
        own = around
        if isinstance(node, ast.Assign):
            own = node
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if name in COLOURING and around is not None:
                yield node, around
            elif _is_panel(node):
                own = node
        yield from _colours(node, own)


def _is_panel(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Attribute):
        return isinstance(call.func.value, ast.Name) and call.func.value.id in ("panels", "tables")
    return isinstance(call.func, ast.Name) and call.func.id == "Column"


def _defaults(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    plain = [*arguments.posonlyargs, *arguments.args]
    for argument, default in zip(reversed(plain), reversed(arguments.defaults), strict=False):
        yield argument.arg, default
    for argument, default_ in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if default_ is not None:
            yield argument.arg, default_
