"""All verdicts of a node, and what follows from them."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from gpumon.checks.gpu import stale
from gpumon.checks.model import Check, Finding, Level, Observation, Verdict, skipped
from gpumon.checks.registry import CHECKS
from gpumon.model import GpuReading

_OF_NOTHING = ("driver", "count")
"""Checks that have something to say of a node that could not be looked at."""

_VITAL = ("driver", "state")
"""Checks without which nothing is known of a node or a GPU."""


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """The verdicts, the worst first, then by check and GPU.

    ``level`` is the least that counts as trouble: FAIL, or WARN too.
    """

    verdicts: tuple[Verdict, ...]
    level: Level = Level.FAIL

    def of(self, level: Level) -> tuple[Verdict, ...]:
        """Return the verdicts of a level."""
        return tuple(verdict for verdict in self.verdicts if verdict.level is level)

    @property
    def trouble(self) -> tuple[Verdict, ...]:
        """The verdicts that count as trouble."""
        warnings = self.of(Level.WARN) if self.level is Level.WARN else ()
        return (*self.of(Level.FAIL), *warnings)

    @property
    def untold(self) -> tuple[Verdict, ...]:
        """What keeps the report from saying that all is well: a GPU of which nothing is known.

        A single check that could not be made is not among them: not every board reports everything.
        """
        told = {verdict.gpu for verdict in self.verdicts if verdict.level is not Level.SKIP}
        return tuple(v for v in self.of(Level.SKIP) if v.check in _VITAL or v.gpu not in told)

    @property
    def exit_code(self) -> int:
        """The design's exit code: 0 fine, 1 trouble, 3 not known."""
        if self.trouble:
            return 1
        return 3 if self.untold or not self.verdicts else 0

    @property
    def counts(self) -> dict[str, int]:
        """How many verdicts there are of each level."""
        found = collections.Counter(verdict.level.value for verdict in self.verdicts)
        return {level.value: found[level.value] for level in Level}


@dataclasses.dataclass(frozen=True, slots=True)
class Selection:
    """GPUs to judge: by index or UUID, also of an instance, or by N of /dev/nvidiaN."""

    names: Collection[str] = ()
    minors: Collection[int] = ()

    def __bool__(self) -> bool:
        """Whether any was named."""
        return bool(self.names) or bool(self.minors)

    def has(self, gpu: GpuReading) -> bool:
        """Return whether a GPU is meant; one without a known minor number is matched by its index.

        They are the same on nearly every machine, and a lost GPU reports nothing.
        """
        who = gpu.identity
        minor = who.index if who.minor_number is None else who.minor_number
        called = {str(who.index), who.uuid, *(one.identity.mig_uuid for one in gpu.mig)}
        return not self or minor in self.minors or bool(called & set(self.names))

    def absent(self, gpus: Sequence[GpuReading]) -> Iterator[str]:
        """Yield those named that are not there, in words."""
        for name in self.names:
            if not any(Selection([name]).has(gpu) for gpu in gpus):
                yield f"GPU {name}"
        for minor in self.minors:
            if not any(Selection(minors=[minor]).has(gpu) for gpu in gpus):
                yield f"/dev/nvidia{minor}"


ALL = Selection()


def judge(
    seen: Observation,
    checks: Sequence[Check],
    *,
    gpus: Selection = ALL,
    level: Level = Level.FAIL,
) -> Judgement:
    """Make the checks.

    If GPUs are named, the node's count is not judged: another one that is missing is not theirs.
    """
    verdicts: list[Verdict] = []
    readings = seen.snapshot.gpus if seen.snapshot is not None else ()
    for check in CHECKS if not readings else checks:  # without a GPU the node has to say why
        wanted = check in checks or check.name == "driver"
        wanted = wanted and (seen.snapshot is not None or check.name in _OF_NOTHING)
        if check.node is not None and wanted and not (gpus and check.name == "count"):
            verdicts += _of_node(check.name, _worst(check.node(seen)))
    if any(check.name == "state" for check in checks) and seen.snapshot is not None:
        verdicts += [_absent(name) for name in gpus.absent(readings)]
    for gpu in filter(gpus.has, readings):
        for check in checks:
            if check.gpu is not None:
                verdicts += _of_gpu(check, gpu, _worst(_ask(check, check.gpu, gpu, seen)))
    order = {each: number for number, each in enumerate(Level)}
    return Judgement(tuple(sorted(verdicts, key=lambda verdict: order[verdict.level])), level)


def _ask(
    check: Check,
    judge_gpu: Callable[[GpuReading, Observation], Iterable[Finding]],
    gpu: GpuReading,
    seen: Observation,
) -> Iterable[Finding]:
    """Make a check of a GPU, unless what it would look at is not known."""
    if not check.of_state and not gpu.up:
        return [skipped(f"the GPU is {gpu.state.value.replace('_', ' ')}")]
    if not check.of_state and check.name != "age" and stale(gpu, seen):
        return [skipped("its reading is too old")]
    return judge_gpu(gpu, seen)


def _worst(findings: Iterable[Finding]) -> list[Finding]:
    """Return all that is wrong; if nothing is, what could not be judged; else that it passes."""
    found = list(findings)
    wrong = [finding for finding in found if finding.level in (Level.FAIL, Level.WARN)]
    unknown = [finding for finding in found if finding.level is Level.SKIP]
    return wrong or unknown or found


def _of_node(check: str, findings: Iterable[Finding]) -> Iterator[Verdict]:
    for found in findings:
        yield Verdict(
            check, found.level, found.evidence, next_step=found.next_step, alert=found.alert
        )


def _of_gpu(check: Check, gpu: GpuReading, findings: Iterable[Finding]) -> Iterator[Verdict]:
    for verdict in _of_node(check.name, findings):
        wrong = verdict.level in (Level.FAIL, Level.WARN)
        place = f" ({gpu.identity.place})" if wrong and gpu.identity.place else ""
        yield dataclasses.replace(
            verdict,
            gpu=gpu.identity.index,
            uuid=gpu.identity.uuid,
            evidence=f"{verdict.evidence}{place}",
        )


def _absent(name: str) -> Verdict:
    return Verdict(
        "state",
        Level.FAIL,
        f"{name} is not there",
        next_step="Compare lspci -d 10de: with nvidia-smi -L; reseat or replace the board.",
        alert="GpuMissing",
    )
