"""What the facts of the workload manager mean: pure functions, from records to findings."""

from __future__ import annotations

from collections.abc import Iterator

from gpumon.doctor.facts import Jobs, SlurmHere
from gpumon.doctor.finding import Finding, bad, good, odd, unasked

GUIDE = "docs/workloads.md"


def jobs(facts: Jobs) -> Iterator[Finding]:
    """Judge whether it is known which job holds which GPU."""
    yield _reported(facts)
    if facts.slurm is not None:
        yield _commands(facts.slurm)
        yield _devices(facts.slurm)


def _reported(facts: Jobs) -> Finding:
    manager = facts.manager
    if not manager:
        return unasked("jobs", "no agent says which workload manager reports them")
    if facts.folder_problem:
        return odd(
            "jobs",
            f"{facts.folder_problem}: no prolog has written a job file since this node was started",
            f"compare --jobs-dir with the folder that the prolog writes to: {GUIDE}",
        )
    if facts.success is False:
        return odd("jobs", f"{manager} could not be read last time", "see the agent's log")
    if facts.unresolved:
        return odd(
            "jobs",
            f"{facts.unresolved} jobs whose GPUs are not all known; energy on those is charged to "
            "nobody",
            f"see the agent's log for each reason, and {GUIDE}",
        )
    return good("jobs", f"{manager} reports which job holds which GPU")


def _commands(slurm: SlurmHere) -> Finding:
    """Judge whether Slurm's commands say all of a job, however it is called."""
    if slurm.problem:
        return odd(
            "slurm",
            f"its commands failed ({slurm.problem}): jobs are known by their hooks only, "
            "without a name",
            "give this user Slurm's commands and slurm.conf, or see whether slurmctld runs",
        )
    if slurm.hides_jobs:
        return odd(
            "slurm",
            "PrivateData=jobs: a user sees only jobs of its own",
            f"make the agent's user an operator (sacctmgr), or use the hooks: {GUIDE}",
        )
    if slurm.json_problem:
        return odd(
            "slurm",
            f"{slurm.version} writes no JSON ({slurm.json_problem}): the GPUs of a job with a name "
            "of several lines are not known",
            "Slurm 21.08 or later writes it, if it is built with json-c",
        )
    return good("slurm", f"{slurm.version} writes JSON: no job's name decides who pays")


def _devices(slurm: SlurmHere) -> Finding:
    """Judge whether it is known which GPU a number of Slurm's means."""
    devices = slurm.devices
    if devices.problem:
        return bad(
            "slurm-gpus",
            f"which GPU a number of Slurm's means is not known: {devices.problem}",
            f"have slurmd -G -N {slurm.node} work for the user nobody, or set SLURMD_NODENAME: "
            f"{GUIDE}",
        )
    if devices.names is None:
        return odd(
            "slurm-gpus",
            "no gres.conf can be seen from here: Slurm's numbers are taken for N of /dev/nvidiaN",
            f"give the agent Slurm's configuration to read, or set SLURM_CONF: {GUIDE}",
        )
    return good(
        "slurm-gpus",
        f"{len(devices.names)} by {devices.source}, of {devices.kinds} "
        f"{'kind' if devices.kinds == 1 else 'kinds'}",
    )
