"""Memory: its errors, and what is left to repair it with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gpumon.checks.model import Finding, Level, Observation, gpu_check, passed, skipped
from gpumon.model import GpuReading


@gpu_check(
    name="ecc",
    title="no memory errors beyond correction, no storm of corrected ones",
    fails="new uncorrectable errors (`--window`); more SRAM errors than NVIDIA accepts",
    warns="uncorrectable errors since the driver was loaded; a storm of corrected ones "
    "(`--window`)",
    alerts=("GpuEccUncorrectable", "GpuEccStorm", "GpuSramThresholdExceeded"),
    thresholds=("memory.corrected_per_second",),
)
def ecc(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    """Judge memory errors: those that cannot be corrected, and the rate of those that can."""
    if gpu.sram_threshold_exceeded:
        yield Finding(
            Level.FAIL,
            "more uncorrectable SRAM errors than NVIDIA accepts",
            "Drain the GPU and have the board replaced.",
            "GpuSramThresholdExceeded",
        )
    if gpu.ecc_errors is None:
        yield skipped("it does not count memory errors (ECC is off, or MIG is on)")
        return
    uncorrected, corrected = _sum(gpu, "uncorrected"), _sum(gpu, "corrected")
    before = seen.before(gpu)
    new = seen.rate(uncorrected, _sum(before, "uncorrected"))
    if new:
        yield Finding(
            Level.FAIL,
            f"{new * seen.window_seconds:.0f} uncorrectable memory errors within"
            f" {seen.window_seconds:.0f} s",
            "Reset the GPU when its job ends; replace the board if it comes back.",
            "GpuEccUncorrectable",
        )
    elif uncorrected:
        yield Finding(
            Level.WARN,
            f"{uncorrected} uncorrectable memory errors since the driver was loaded",
            "Look for Xid 48, 94 or 95 and a pending remap; reset the GPU when its job ends.",
            "GpuEccUncorrectable",
        )
    storm = seen.rate(corrected, _sum(before, "corrected"))
    if storm is not None and storm > seen.number("memory.corrected_per_second"):
        yield Finding(
            Level.WARN,
            f"{storm:.1f} corrected memory errors a second",
            "Drain the GPU when its job ends, and run NVIDIA's field diagnostics.",
            "GpuEccStorm",
        )
    yield passed(f"{uncorrected or 0} uncorrectable, {corrected or 0} corrected since driver load")


_ECC_ODD = {
    "off": ("ECC is off", "Switch it on (nvidia-smi -e 1), and reset the GPU when its job ends."),
    "off_until_reset": (
        "ECC is off until the next reset",
        "Reset the GPU when its job ends (gpumon release; nvidia-smi -r).",
    ),
    "on_until_reset": (
        "ECC goes off with the next reset",
        "If nobody wants that, undo it with nvidia-smi -e 1.",
    ),
}
"""What is said of ECC, and the next step, by its word (``terms.ECC_WORDS``)."""


@gpu_check(
    name="ecc-mode",
    title="ECC is on",
    warns="ECC is off although the board comes with it on; or it changes with the next reset",
    alerts=("GpuEccOff",),
)
def ecc_mode(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    """Judge whether errors of the memory are corrected, now and after the next reset."""
    del seen
    word = gpu.board.ecc
    if not word:
        yield skipped("it has no ECC, or does not report it")
    elif word in _ECC_ODD:
        evidence, step = _ECC_ODD[word]
        yield Finding(Level.WARN, evidence, step, "GpuEccOff")
    else:
        yield passed("ECC is on" if word == "on" else "ECC is off, as the board comes")


def _sum(gpu: GpuReading | None, error: str) -> int | None:
    """Return the errors of a kind in all locations; None if none is reported."""
    counts: Mapping[tuple[str, str], int] | None = gpu.ecc_errors if gpu is not None else None
    told = [count for (kind, _), count in (counts or {}).items() if kind == error]
    return sum(told) if told else None


@gpu_check(
    name="remap",
    title="no memory row waits to be replaced, or could not be",
    fails="a bad row could not be replaced",
    warns="one, or a page (GPUs before Ampere), waits for a reset; banks without a spare row",
    alerts=("GpuRowRemapFailed", "GpuRowRemapPending", "GpuRemapBanksExhausted"),
)
def remap(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    """Judge the replacement of bad rows by spare ones."""
    if gpu.row_remap_failed:
        yield Finding(
            Level.FAIL,
            "a bad row of memory could not be replaced",
            "Drain the GPU and have the board replaced.",
            "GpuRowRemapFailed",
        )
    if gpu.remap_banks_exhausted:
        yield Finding(
            Level.WARN,
            f"{gpu.remap_banks_exhausted} memory banks have no spare row left",
            "Plan the board's replacement before the next error.",
            "GpuRemapBanksExhausted",
        )
    if gpu.row_remap_pending:
        yield Finding(
            Level.WARN,
            "a bad row of memory waits for a reset to be replaced",
            f"Reset the GPU when its job ends (gpumon release; nvidia-smi -r -i"
            f" {gpu.identity.index}).",
            "GpuRowRemapPending",
        )
    if gpu.retired_pages_pending:
        yield Finding(
            Level.WARN,
            "a bad page of memory waits for a reset to be taken out of use",
            f"Reset the GPU when its job ends (gpumon release; nvidia-smi -r -i"
            f" {gpu.identity.index}).",
            "GpuRowRemapPending",
        )
    if gpu.row_remap_failed is None and gpu.row_remap_pending is None:
        if gpu.retired_pages is None:
            yield skipped("it reports nothing about its rows (MIG is on)")
        else:
            pages = sum(gpu.retired_pages.values())
            yield passed(f"nothing pending, {pages} pages taken out of use so far")
        return
    rows = sum((gpu.remapped_rows or {}).values())
    yield passed(f"nothing pending, {rows} rows replaced so far")
