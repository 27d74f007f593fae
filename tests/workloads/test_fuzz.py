"""What comes from outside, made up: no traceback, and nobody has a GPU that is not theirs.

Slurm's texts and JSON, gres.conf, host lists, job files, cgroups, the kubelet's devices.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gpumon.model import GpuIdentity, GpuReading, GpuState, MigIdentity, MigReading
from gpumon.workloads.jobfiles.jobfile import NotAJobError, parse_job
from gpumon.workloads.kubernetes.kubernetes import allocation, pod_of
from gpumon.workloads.kubernetes.podresources import ClaimedDevice, PluginDevices, PodDevices
from gpumon.workloads.labels import LONGEST_TEXT, plain
from gpumon.workloads.slurm.cgroup import slurm_job
from gpumon.workloads.slurm.gres import NotKnownError, gpu_numbers
from gpumon.workloads.slurm.gresconf import parse_gres_conf
from gpumon.workloads.slurm.hostlist import MOST, HostlistError, expand, ranges
from gpumon.workloads.slurm.scontrol import WHOSE, parse_rows, parse_scontrol
from gpumon.workloads.slurm.sinfo import parse_nodes
from gpumon.workloads.slurm.slurmcommand import SlurmError
from gpumon.workloads.slurm.slurmd import parse_slurmd
from gpumon.workloads.slurm.squeue import parse_squeue, told_of
from tests.support.fuzz import FUZZ, JSON, PLAIN, text_of

NOWHERE = Path("/nonexistent")

NUMBERS = st.lists(st.integers(0, 15), min_size=1, max_size=6, unique=True).map(sorted)
WORDS = st.from_regex(r"[a-z][a-z0-9_.]{0,8}", fullmatch=True)

USERS = text_of(
    "\n",
    "\r",
    "     ",
    "   ",
    "JobId=7",
    "JobId=77 ",
    "JobId=8 JobName=x",
    "Nodes=n1 ",
    "Nodes=n1 CPU_IDs=0 Mem=0 GRES=gpu:8(IDX:0-7)",
    "GRES=gpu:8(IDX:0-7)",
    "UserId=mallory(7)",
    "Account=other",
    '"',
    "\\",
    '","user_name":"mallory"',
    "\u2028",
)
"""What a user writes: a name, a comment, a folder."""


def listed(numbers: list[int]) -> str:
    """Write numbers as IDX has them, some of them as ranges."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(f"{a}-{b}" if b > a else f"{a}" for a, b in spans)


@st.composite
def resources(draw: st.DrawFn) -> tuple[str, set[int]]:
    """Make a job's resources on a node, and the GPUs that are among them."""
    parts, gpus = [], set()
    for kind in draw(st.lists(st.sampled_from(["gpu", "typed", "shard", "new", "other", "count"]))):
        numbers = draw(NUMBERS)
        if kind == "gpu":
            parts.append(f"gpu:{len(numbers)}(IDX:{listed(numbers)})")
        elif kind == "typed":
            parts.append(f"gpu:{draw(WORDS)}:{len(numbers)}(IDX:{listed(numbers)})")
        elif kind == "shard":
            parts.append(f"shard:{draw(st.integers(1, 50))}(IDX:{listed(numbers)})")
        elif kind == "new":
            shares = [f"{int(n in numbers)}/4" for n in range(16)]
            parts.append(f"mps:{len(numbers)}({','.join(shares)})")
        else:
            name = draw(WORDS.filter(lambda word: word not in ("gpu", "shard", "mps")))
            details = f"CNT:{len(numbers)}" if kind == "count" else f"IDX:{listed(numbers)}"
            parts.append(f"{name}({details})")
            continue
        gpus.update(numbers)
    return ",".join(parts), gpus


@FUZZ
@given(resources())
def test_the_gpus_of_any_resources_are_those(made: tuple[str, set[int]]) -> None:
    """Of whatever other resources they are among."""
    text, gpus = made
    assert set(gpu_numbers(text)) == gpus


@FUZZ
@given(text_of("gpu", ":", "(", ")", "IDX:", "CNT:", "0-7", "3", ",", "/4", "shard", "mps"))
def test_any_text_is_resources_or_not_known(text: str) -> None:
    """And names no GPU of which it has not the number."""
    try:
        numbers = gpu_numbers(text)
    except NotKnownError:
        return
    assert not numbers or ("IDX:" in text or "/" in text)


@st.composite
def squeue_jobs(draw: st.DrawFn) -> tuple[dict[str, Any], set[int]]:
    """Make a job of squeue --json in any layout, and its GPUs on n1."""
    text, gpus = draw(resources())
    nodes = draw(st.sampled_from(["n1", "n[1-3]", "n0,n1", "a1,n[1,4]"]))
    names = expand(nodes)
    details = [text if name == "n1" else "gpu:8(IDX:0-7)" for name in names]
    layout = draw(st.sampled_from(["22.05", "23.11", "25.11"]))
    number: Any = draw(st.integers(1, 2**31))
    state: Any = draw(st.sampled_from(["RUNNING", "COMPLETING", "SUSPENDED"]))
    if layout != "22.05":
        number = {"set": True, "infinite": False, "number": number}
        state = [state]
    job = {
        "job_id": 7,
        "user_name": "alice",
        "account": "physics",
        "partition": "gpu",
        "job_state": state,
        "start_time": number,
        "nodes": nodes,
        "gres_detail": details,
        "job_resources": {"nodes": {"list": nodes} if layout == "25.11" else nodes},
        **{key: draw(USERS) for key in ("name", "comment", "command", "submit_line")},
    }
    return job, gpus


@FUZZ
@given(squeue_jobs())
def test_no_text_of_a_users_decides_anything_in_json(made: tuple[dict[str, Any], set[int]]) -> None:
    """But the label of its name."""
    job, gpus = made
    text = json.dumps({"jobs": [job], "errors": []})
    told = told_of(parse_squeue(text)["7"], "n1")
    assert told is not None
    assert set(told.numbers) == gpus
    assert (told.job.job_id, told.job.user, told.job.account) == ("7", "alice", "physics")
    assert told.job.name == plain(job["name"])


@FUZZ
@given(
    st.one_of(
        JSON,
        st.fixed_dictionaries({"jobs": st.lists(st.dictionaries(PLAIN, JSON), max_size=2)}),
        squeue_jobs().flatmap(
            lambda made: st.tuples(st.just(made[0]), st.sampled_from(sorted(made[0])), JSON).map(
                lambda parts: {"jobs": [{**parts[0], parts[1]: parts[2]}]}
            )
        ),
    ),
    st.sampled_from(["n1", "n2"]),
)
def test_any_json_of_squeue_is_read_or_an_error(document: Any, node: str) -> None:
    """One field of a good one replaced by anything, too."""
    try:
        records = parse_squeue(json.dumps(document))
    except SlurmError:
        return
    for found in records.values():
        told = told_of(found, node)
        assert told is None or all(0 <= number < MOST for number in told.numbers)


@FUZZ
@given(text_of("{", "}", "[", "]", '"jobs"', ":", '"job_id"', "7", ",", "NaN", "\x00"))
def test_any_text_of_squeue_and_sinfo_is_read_or_an_error(text: str) -> None:
    """Not a traceback."""
    parsers: tuple[Callable[[str], object], ...] = (parse_squeue, parse_nodes)
    for parse in parsers:
        try:
            parse(text)
        except SlurmError:
            continue


RECORD = (
    "JobId={job} {array}JobName={name}\n"
    "   UserId=alice(1000) GroupId=alice(1000) MCS_label=N/A\n"
    "   Comment={comment} \n"
    "     Nodes={nodes} CPU_IDs=0 Mem=0 GRES={gres}\n"
    "     Nodes=n9 CPU_IDs=0 Mem=0 GRES=gpu:8(IDX:0-7)\n"
    "   Command={command}\n   WorkDir={folder}\n\n"
)


@FUZZ
@given(
    st.lists(resources(), min_size=1, max_size=3),
    st.fixed_dictionaries(dict.fromkeys(("name", "comment", "command", "folder"), USERS)),
    st.sampled_from(["n1", "n[1-3]"]),
)
@example(
    [("gpu:1(IDX:2)", {2}), ("gpu:1(IDX:1)", {1})],
    {
        "name": "y\n     Nodes=n1 CPU_IDs=0 Mem=0 GRES=gpu:8(IDX:0-7)\nJobId=1 JobName=z",
        "comment": "",
        "command": "",
        "folder": "",
    },
    "n1",
)
def test_scontrol_gives_a_job_its_own_gpus_or_none(
    tasks: list[tuple[str, set[int]]], words: dict[str, str], nodes: str
) -> None:
    """Whatever its user has written, in an array of any size: never any others."""
    array = "ArrayJobId=7 " if len(tasks) > 1 else ""
    text = "".join(
        RECORD.format(job=7 + at, array=array, nodes=nodes, gres=gres, **words)
        for at, (gres, _) in enumerate(tasks)
    )
    for at, (_, gpus) in enumerate(tasks):
        try:
            numbers = parse_scontrol(
                text, str(7 + at), "n1", {str(7 + n) for n in range(len(tasks))}
            )
        except NotKnownError:
            assert "\n" in "".join(words.values())
        else:
            assert set(numbers) == gpus


@FUZZ
@given(
    text_of("JobId=7 ", "\n", "     Nodes=", "n1", "n[1", " CPU_IDs=", " Mem=", " GRES=", "gpu:1")
)
def test_any_text_of_scontrol_is_read_or_not_known(text: str) -> None:
    """Not a traceback."""
    try:
        parse_scontrol(text, "7", "n1")
    except NotKnownError:
        return


@FUZZ
@given(st.binary(max_size=600))
def test_any_bytes_of_squeues_rows_are_read(rows: bytes) -> None:
    """Each row has all fields."""
    assert all(len(row) == len(WHOSE) for row in parse_rows(rows, WHOSE))


@st.composite
def host_lists(draw: st.DrawFn) -> tuple[str, list[str]]:
    """Make a host list, and its names."""
    parts, names = [], []
    for _ in range(draw(st.integers(0, 3))):
        words = [""]
        text = ""
        for _ in range(draw(st.integers(1, 3))):
            stem = draw(st.from_regex(r"[a-z/.-]{1,4}", fullmatch=True))
            text += stem
            words = [word + stem for word in words]
            if draw(st.booleans()):
                width = draw(st.integers(1, 4))
                numbers = draw(st.lists(st.integers(0, 30), min_size=1, max_size=3))
                text += "[" + ",".join(f"{n:0{width}d}-{n + 2:0{width}d}" for n in numbers) + "]"
                words = [
                    f"{word}{n + more:0{max(width, len(str(n)))}d}"
                    for word in words
                    for n in numbers
                    for more in range(3)
                ]
        parts.append(text)
        names += words
    return ",".join(parts), names


@FUZZ
@given(host_lists())
def test_host_lists_have_their_names(made: tuple[str, list[str]]) -> None:
    """In their order, with as many digits as they have."""
    text, names = made
    assert expand(text) == names


@FUZZ
@given(text_of("n", "[", "]", ",", "-", "0", "1-9", "01-99", "999999999", "٣"))
def test_any_text_is_a_host_list_or_an_error(text: str) -> None:
    """Of no more names than fit."""
    for parse in (expand, ranges):
        try:
            assert len(parse(text)) <= MOST
        except HostlistError:
            continue


@st.composite
def gres_confs(draw: st.DrawFn) -> tuple[str, list[tuple[str, ...]]]:
    """Make a gres.conf as people write it, and the files of each GPU of n1, in Slurm's order."""
    lines: list[str] = []
    named: list[tuple[str, ...]] = []
    by_node: list[tuple[str, ...]] = []
    for _ in range(draw(st.integers(0, 5))):
        name = draw(st.sampled_from(["gpu", "GPU", "Gpu", "nic", "shard"]))
        node = draw(st.sampled_from([None, "n1", "n[0-3]", "r[1-2]n[1-4],n1", "n2", "N1"]))
        numbers = draw(st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True))
        many = draw(st.booleans())
        file = f"/dev/x[{','.join(map(str, numbers))}]"
        pairs = [("NodeName", node)] if node else []
        rest = [("Name", name), ("MultipleFiles" if many else "File", file), ("Type", "a b"[:1])]
        first, *others = rest
        pairs += [first, *draw(st.permutations(others))]
        lines.append(_written(draw, pairs))
        if name.lower() != "gpu" or node in ("n2", "N1"):
            continue
        files = [f"/dev/x{n}" for n in numbers]
        (by_node if node else named).extend([tuple(files)] if many else [(one,) for one in files])
    return "\n".join(lines), [*named, *by_node]


def _written(draw: st.DrawFn, pairs: list[tuple[str, str]]) -> str:
    """Write a line in any of the forms that Slurm takes."""
    blank = st.sampled_from(["", " ", "\t "])
    words = [
        f"{draw(st.sampled_from([key, key.lower(), key.upper()]))}{draw(blank)}={draw(blank)}"
        + (f'"{value}"' if draw(st.booleans()) else value)
        for key, value in pairs
    ]
    gap = draw(st.sampled_from([" ", "   ", " \\\n  "]))
    return draw(blank) + gap.join(words) + draw(st.sampled_from(["", "  ", " # File=/dev/x9"]))


@FUZZ
@given(gres_confs())
def test_gres_conf_has_the_gpus_of_a_node_in_slurms_order(
    made: tuple[str, list[tuple[str, ...]]],
) -> None:
    """Whatever blanks, case, quotes, comments and lines that go on it has."""
    text, gpus = made
    conf = parse_gres_conf(text, "n1", NOWHERE)
    assert [files for record in conf.gpus for files in record.devices] == gpus


@FUZZ
@given(text_of("Name", "=", "gpu", " ", "\n", "File", "/dev/nvidia", "[0-3]", "[", "\\", "#", '"'))
def test_any_text_is_a_gres_conf_or_not_known(text: str) -> None:
    """Not a traceback."""
    try:
        parse_gres_conf(text, "n1", NOWHERE)
    except (NotKnownError, HostlistError):
        return


@FUZZ
@given(text_of("Gres Name=", "gpu", " Type=", "x", " Count=", "1", "3", " File=/dev/x[0-2]", "\n"))
def test_any_text_of_slurmd_is_read_or_not_known(text: str) -> None:
    """Not a traceback."""
    try:
        parse_slurmd(text)
    except NotKnownError:
        return


@FUZZ
@given(
    st.one_of(
        JSON,
        st.fixed_dictionaries(
            {},
            optional={
                "job_id": st.one_of(PLAIN, st.integers(), JSON),
                "gpus": st.one_of(st.lists(st.one_of(st.integers(), PLAIN)), PLAIN, JSON),
                **{key: st.one_of(PLAIN, JSON) for key in ("manager", "numbers", "user", "name")},
                **{key: st.one_of(st.floats(), st.integers(), JSON) for key in ("since", "until")},
            },
        ),
    )
)
def test_any_json_is_a_job_file_or_none(document: Any) -> None:
    """Not a traceback; a label is printable, and not long."""
    try:
        held = parse_job(json.dumps(document))
    except NotAJobError:
        return
    for word in (held.job.user, held.job.account, held.job.name, held.job.cluster, held.node):
        assert len(word) <= LONGEST_TEXT
        assert word.isprintable()


CGROUPS = text_of(
    "0::",
    "5:devices:",
    "\n",
    "/user.slice",
    "/user-7.slice",
    "/system.slice",
    "/slurmstepd.scope/job_12/step_0",
    "/slurm/uid_7/job_12/step_0",
    "/job_12",
    "/kubepods/pod" + "5a" * 16 + "/x",
    "/kubepods",
)


@FUZZ
@given(CGROUPS)
def test_no_cgroup_of_a_users_session_is_a_job_or_a_pod(text: str) -> None:
    """Below user.slice a user makes any; elsewhere what is found is a number, or a uid."""
    session = "0::/user.slice/user-7.slice/user@7.service/" + text.replace("\n", "")
    assert slurm_job(session) is None
    assert pod_of(session) is None
    assert re.fullmatch(r"\d{1,10}", slurm_job(text) or "0")
    assert re.fullmatch(r"[0-9a-f-]+", pod_of(text) or "0")


UUIDS = [f"GPU-0000000{n}-aaaa-bbbb-cccc-dddddddddddd" for n in range(3)]
MIG = "MIG-00000000-1111-2222-3333-444444444444"


def _node() -> list[GpuReading]:
    instance = MigReading(gpu=2, uuid=UUIDS[2], identity=MigIdentity(MIG, "1g.10gb", 7, 0))
    return [
        GpuReading(
            identity=GpuIdentity(index, uuid, minor_number=2 - index),
            state=GpuState.OK,
            mig=(instance,) if index == 2 else (),
        )
        for index, uuid in enumerate(UUIDS)
    ]


NAMES = st.one_of(
    st.sampled_from([*UUIDS, MIG, "0", "2", "7", "2:0", "nvidia1", "nvidia0/gi7", "gpu-1"]),
    st.sampled_from(UUIDS).map(lambda uuid: f"{uuid}::3"),
    text_of(*UUIDS, "::", "/", "GPU-", "MIG-", "nvidia", "0"),
)
RESOURCES = st.one_of(
    st.sampled_from(
        ["nvidia.com/gpu", "nvidia.com/gpu-a100.shared", "nvidia.com/mig-1g.10gb", "rdma/hca"]
    ),
    st.sampled_from(["nvidia.com/hostdev", "nvidia.com/x", "cpu", ""]),
    PLAIN,
)
PODS = st.builds(
    PodDevices,
    namespace=PLAIN,
    name=PLAIN,
    devices=st.lists(
        st.builds(PluginDevices, resource=RESOURCES, ids=st.lists(NAMES, max_size=3).map(tuple)),
        max_size=3,
    ).map(tuple),
    claimed=st.lists(
        st.builds(
            ClaimedDevice,
            driver=st.sampled_from(["gpu.nvidia.com", "other", ""]),
            device=NAMES,
            cdi_names=st.lists(PLAIN, max_size=2).map(tuple),
        ),
        max_size=1,
    ).map(tuple),
)


@FUZZ
@given(st.lists(PODS, max_size=3))
def test_a_pod_holds_no_gpu_that_its_devices_do_not_name(pods: list[PodDevices]) -> None:
    """By its UUID, or by a number in a resource of NVIDIA's plugin or a claim of its driver."""
    ids = [f"{pod.namespace}/{pod.name}" for pod in pods]
    assume(len(set(ids)) == len(ids))
    told = allocation(pods, _node())
    for job_id, pod in zip(ids, pods, strict=True):
        names = [
            name
            for devices in pod.devices
            if devices.resource.startswith("nvidia.com/")
            for name in devices.ids
        ]
        names += [name for one in pod.claimed for name in (one.device, *one.cdi_names)]
        for holding in (one for one in told.holdings if one.job_id == job_id):
            index = UUIDS.index(holding.uuid)
            signs = (holding.uuid, *holding.mig_uuids, str(index), f"nvidia{2 - index}")
            assert any(sign in name for sign in (*signs, f"gpu-{2 - index}") for name in names)


@pytest.mark.parametrize("count", [1, 3])
def test_made_up_resources_are_as_slurm_writes_them(count: int) -> None:
    """The making is right: a range is one, and so is a single number."""
    assert listed([0, 1, 2, 5][:count]) == {1: "0", 3: "0-2"}[count]
