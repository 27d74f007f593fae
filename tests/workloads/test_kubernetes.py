"""What is made of the answers of a kubelet: a real gRPC server, good, slow, gone and mad."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from gpumon.errors import UnavailableError
from gpumon.model import (
    Allocation,
    GpuIdentity,
    GpuProcess,
    GpuReading,
    GpuState,
    Holding,
    Job,
    MigIdentity,
    MigReading,
)
from gpumon.workloads import choose
from gpumon.workloads.kubernetes.kubernetes import Kubernetes, allocation, pod_of
from gpumon.workloads.kubernetes.podresources import list_pods

pytest.importorskip("grpc")
pytest.importorskip("google.protobuf")
from tests.support.exposition import Exposition
from tests.support.servers import Agent, run_agent, wait_for
from tests.workloads.kubelet import Kubelet, pod

GPU = "nvidia.com/gpu"
UUIDS = tuple(f"GPU-0000000{n}-aaaa-bbbb-cccc-dddddddddddd" for n in range(4))
MIGS = tuple(f"MIG-0000000{n}-1111-2222-3333-444444444444" for n in range(4))

PROFILES = ("3g.40gb", "1g.10gb+me", "1g.10gb", "1g.10gb")


def instance(n: int) -> MigReading:
    """Make the n-th instance of the GPU 3; the last two share a GPU instance."""
    identity = MigIdentity(MIGS[n], PROFILES[n], min(n, 2) + 7, n // 3)
    return MigReading(gpu=3, uuid=UUIDS[3], identity=identity)


def gpu(
    index: int, *instances: MigReading, state: GpuState = GpuState.OK, minor: int | None = None
) -> GpuReading:
    """Make a GPU; minor numbers run against the indices, so that a mix-up shows."""
    minor = 3 - index if minor is None else minor
    identity = GpuIdentity(index, UUIDS[index], minor_number=minor)
    return GpuReading(identity=identity, state=state, mig=instances)


NODE = (gpu(0), gpu(1), gpu(2), gpu(3, *(instance(n) for n in range(4))))


def holding(name: str, index: int, *migs: str) -> Holding:
    """Make the hold of a pod on a GPU."""
    return Holding(job_id=f"ml/{name}", uuid=UUIDS[index], mig_uuids=migs)


def answer(tmp_path: Path, *pods: dict, gpus: Sequence[GpuReading] = NODE) -> Allocation:
    """Return what is made of a kubelet that tells of these pods."""

    async def ask() -> Allocation:
        async with Kubelet(tmp_path / "kubelet.sock", *pods) as kubelet:
            return allocation(await list_pods(kubelet.socket), gpus)

    return asyncio.run(ask())


def test_a_pod_is_a_job_and_holds_whole_gpus(tmp_path: Path) -> None:
    """With all that a kubelet tells besides skipped; pods without GPUs are no jobs."""
    topology = {"nodes": [{"ID": -1}, {"ID": 1}]}
    main = {
        "name": "main",
        "cpu_ids": [0, 1, 127, -1],
        "memory": [{"memory_type": "hugepages-2Mi", "size": 2**40, "topology": topology}],
        "devices": [
            {"resource_name": GPU, "device_ids": [UUIDS[2]], "topology": topology},
            {"resource_name": "rdma/hca", "device_ids": ["mlx5_0"]},
        ],
    }
    side = {"name": "side", "devices": [{"resource_name": GPU, "device_ids": [UUIDS[0]]}]}
    train = {"name": "train-0", "namespace": "ml", "containers": [main, side]}
    told = answer(tmp_path, train, pod("web"), pod("net", ("rdma/hca", UUIDS[1])))
    job = Job(job_id="ml/train-0", partition="ml", name="train-0", manager="kubernetes")
    assert told.jobs == {"ml/train-0": job}
    assert told.holdings == (holding("train-0", 2), holding("train-0", 0))
    assert not told.stale


@pytest.mark.parametrize(
    "resource", [GPU, "nvidia.com/mig-1g.10gb", "nvidia.com/mig-3g.40gb.shared"]
)
def test_an_instance_is_found_in_its_gpu(tmp_path: Path, resource: str) -> None:
    """Under both strategies of the device plugin: resources of their own, or all ``gpu``."""
    told = answer(
        tmp_path,
        pod("two", (resource, MIGS[2]), (resource, MIGS[0])),
        pod("one", (resource, MIGS[1])),
        pod("all", (GPU, UUIDS[3])),
    )
    assert told.holdings == (
        holding("two", 3, MIGS[0], MIGS[2]),
        holding("one", 3, MIGS[1]),
        holding("all", 3),
    )


@pytest.mark.parametrize("resource", [GPU, "nvidia.com/gpu.shared"])
def test_pods_share_a_time_sliced_gpu(tmp_path: Path, resource: str) -> None:
    """Each has one hold on it, however many slices it has."""
    told = answer(
        tmp_path,
        pod("a", (resource, f"{UUIDS[1]}::0"), (resource, f"{UUIDS[1]}::3")),
        pod("b", (resource, f"{UUIDS[1]}::1")),
        pod("c", (resource, f"{MIGS[0]}::1")),
    )
    assert told.holdings == (holding("a", 1), holding("b", 1), holding("c", 3, MIGS[0]))


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("0", (0,)),
        ("2::1", (2,)),
        ("nvidia0", (3,)),
        ("nvidia3/vgpu1", (0,)),
        ("nvidia0/gi7", (3, MIGS[0])),
        ("nvidia0/gi9", (3, MIGS[2], MIGS[3])),
    ],
)
def test_numbers_mean_gpus(tmp_path: Path, name: str, held: tuple) -> None:
    """NVML's indices, and Google's device files, whose numbers are the minor ones."""
    assert answer(tmp_path, pod("a", (GPU, name))).holdings == (holding("a", *held),)


@pytest.mark.parametrize(
    ("resource", "name", "held"),
    [
        ("nvidia.com/gpu-a100.shared", f"{UUIDS[1]}::2", (1,)),
        ("nvidia.com/gpu-a100", UUIDS[1], (1,)),
        ("nvidia.com/gpu_h200", "2", (2,)),
        ("nvidia.com/mig-1g.10gb.shared", f"{MIGS[1]}::0", (3, MIGS[1])),
        ("nvidia.com/a100", UUIDS[1], (1,)),
        ("nvidia.com/training.shared", f"{UUIDS[1]}::0", (1,)),
        ("nvidia.com/gpu", f"MIG-{UUIDS[3]}/7/0", (3, MIGS[0])),
    ],
)
def test_a_resource_of_another_name_is_a_gpu_all_the_same(
    tmp_path: Path, resource: str, name: str, held: tuple
) -> None:
    """The device plugin's settings may rename it; a UUID says what it is, or a name with gpu."""
    assert answer(tmp_path, pod("a", (resource, name))).holdings == (holding("a", *held),)


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        ("nvidia.com/hostdev", "0"),
        ("nvidia.com/rdma_shared_device_a", "1"),
        ("nvidia.com/GA102GL_A10", "42"),
        ("nvidia.com/gpumem", "0"),
        ("aliyun.com/gpu-mem", UUIDS[0]),
    ],
)
def test_a_resource_that_may_be_none_is_passed_over_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, resource: str, name: str
) -> None:
    """A number of such a device may be that of a NIC; it is said once, and nobody is blamed."""
    path = tmp_path / "kubelet.sock"

    async def story() -> None:
        manager = Kubernetes(path)
        async with Kubelet(path, pod("a", (resource, name)), pod("b", (GPU, UUIDS[1]))):
            for _ in range(3):
                now = await told(manager)
        assert now.holdings == (holding("b", 1),)
        assert manager.unresolved == 0

    asyncio.run(story())
    assert [line.partition(",")[0] for line in caplog.messages if "devices of" in line] == [
        f"pods have devices of {resource}"
    ]


def test_a_nic_of_no_gpus_vendor_costs_no_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Most nodes have some."""
    path = tmp_path / "kubelet.sock"

    async def story() -> None:
        manager = Kubernetes(path)
        async with Kubelet(path, pod("a", ("rdma/hca", "mlx5_0"), ("intel.com/sriov", "0"))):
            await told(manager)

    asyncio.run(story())
    assert not [line for line in caplog.messages if "devices of" in line]


def test_an_instance_by_index_is_known_only_where_it_is_the_only_one(tmp_path: Path) -> None:
    """NVML's numbers of instances have gaps: to take the n-th would be to blame the wrong pod."""
    asks = pod("a", ("nvidia.com/mig-3g.40gb", "3:0"))
    alone = (gpu(3, instance(0)),)
    assert answer(tmp_path, asks, gpus=alone).holdings == (holding("a", 3, MIGS[0]),)
    assert answer(tmp_path, asks) == Allocation()


def test_what_is_unknown_is_left_out(tmp_path: Path) -> None:
    """And does not take the pod's other GPUs with it."""
    names = ["GPU-else", "MIG-else", "9", "9:0", "nvidia9", "nvidia0/gi1", "gpu-9", "", "::", "²"]
    assert answer(tmp_path, *(pod(name, (GPU, name)) for name in names)) == Allocation()
    both = pod("a", (GPU, "GPU-else"), (GPU, UUIDS[1]))
    assert answer(tmp_path, both).holdings == (holding("a", 1),)


def claim(*resources: dict) -> dict:
    """Describe what a container has by a resource claim."""
    return {
        "dynamic_resources": [
            {"claim_name": "c", "claim_namespace": "ml", "claim_resources": list(resources)}
        ]
    }


@pytest.mark.parametrize(
    ("resource", "held"),
    [
        ({"driver_name": "gpu.nvidia.com", "pool_name": "node", "device_name": "gpu-1"}, (2,)),
        ({"cdi_devices": [{"name": "nvidia.com/gpu=" + UUIDS[1]}]}, (1,)),
        ({"cdi_devices": [{"name": "nvidia.com/gpu=" + MIGS[1]}]}, (3, MIGS[1])),
        ({"cdi_devices": [{"name": "k8s.gpu.nvidia.com/device=gpu-3"}]}, (0,)),
        ({"cdi_devices": [{"name": "k8s.gpu.nvidia.com/claim=4f2c-9a-gpu-3"}]}, (0,)),
        (
            {"driver_name": "gpu.nvidia.com", "device_name": "gpu-0-mig-1g10gb-me-20-4"},
            (3, MIGS[1]),
        ),
    ],
)
def test_a_claimed_gpu_is_held(tmp_path: Path, resource: dict, held: tuple) -> None:
    """Dynamic Resource Allocation: by the driver's name for it, or by what the CDI name says."""
    told = answer(tmp_path, pod("a", **claim(resource, resource)))
    assert told.holdings == (holding("a", *held),)


@pytest.mark.parametrize(
    "resource",
    [
        {"driver_name": "compute-domain.nvidia.com", "device_name": "channel-0"},
        {"driver_name": "gpu.example.com", "device_name": "gpu-0"},
        {"cdi_devices": [{"name": "example.com/gpu=gpu-0"}]},
        {"driver_name": "gpu.nvidia.com", "device_name": "gpu-0-mig-1g10gb-19-4"},
        {"driver_name": "gpu.nvidia.com", "device_name": "gpu-vfio-0"},
    ],
)
def test_other_claims_hold_nothing_known(tmp_path: Path, resource: dict) -> None:
    """Neither another driver's devices, nor one of two instances of the same profile."""
    assert answer(tmp_path, pod("a", **claim(resource))) == Allocation()


def test_a_reply_of_many_megabytes_is_read(tmp_path: Path) -> None:
    """GRPC's own limit is 4 MiB, and a kubelet tells the CPUs of every container."""
    pods = [pod(f"p{n}", cpu_ids=[2**62] * 5000) for n in range(120)]
    big = Kubelet(tmp_path / "unused", *pods, pod("a", (GPU, UUIDS[0])))
    assert len(big.reply) > 5 * 2**20
    told = answer(tmp_path, *pods, pod("a", (GPU, UUIDS[0])))
    assert told.holdings == (holding("a", 0),)


def test_a_slow_kubelet_is_not_waited_for(tmp_path: Path) -> None:
    """The deadline ends it, with the reason and what to do."""

    async def ask() -> None:
        async with Kubelet(tmp_path / "kubelet.sock") as kubelet:
            kubelet.delay = 60.0
            await list_pods(kubelet.socket, 0.1)

    with pytest.raises(UnavailableError, match=r"DEADLINE_EXCEEDED.*kubelet\.sock"):
        asyncio.run(ask())


def test_a_listener_that_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    """Not even for the connection to come about."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "kubelet.sock"))
        listener.listen()
        with pytest.raises(UnavailableError, match="DEADLINE_EXCEEDED"):
            asyncio.run(list_pods(tmp_path / "kubelet.sock", 0.2))


@pytest.mark.parametrize("reply", [b"\x0a", b"\x0a\x05abc", b"\x0a\x03\x0a\x01\xff", b"\x0f" * 40])
def test_nonsense_is_an_error(tmp_path: Path, reply: bytes) -> None:
    """Not an empty node."""

    async def ask() -> None:
        async with Kubelet(tmp_path / "kubelet.sock") as kubelet:
            kubelet.reply = reply
            await list_pods(kubelet.socket)

    with pytest.raises(UnavailableError, match="makes no sense"):
        asyncio.run(ask())


def test_no_socket_is_an_error_that_says_what_to_mount(tmp_path: Path) -> None:
    """A socket that nobody listens on is another."""
    with pytest.raises(UnavailableError, match="mount its folder"):
        asyncio.run(list_pods(tmp_path / "kubelet.sock"))
    (tmp_path / "dead.sock").touch()
    with pytest.raises(UnavailableError, match="UNAVAILABLE"):
        asyncio.run(list_pods(tmp_path / "dead.sock"))


def test_without_grpcio_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package is an extra."""
    (tmp_path / "kubelet.sock").touch()
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(UnavailableError, match=r"\[kubernetes\]"):
        asyncio.run(list_pods(tmp_path / "kubelet.sock"))


async def told(manager: Kubernetes, gpus: Sequence[GpuReading] = NODE) -> Allocation:
    """Have the kubelet asked, and return who holds what."""
    await manager.ask()
    now = manager.allocation(gpus, {}, 0.0)
    assert now is not None
    return now


def test_a_kubelet_may_come_go_and_come_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was known stays, and says why it is not news; each turn is one line in the log."""
    caplog.set_level(logging.INFO, "gpumon")
    path = tmp_path / "kubelet.sock"

    async def story() -> None:
        manager = Kubernetes(path)
        assert manager.allocation(NODE, {}, 0.0) is None
        await manager.ask()
        assert manager.allocation(NODE, {}, 0.0) is None  # never known is not "nobody"
        assert not manager.success
        async with Kubelet(path, pod("a", (GPU, UUIDS[0]))):
            known = await told(manager)
            assert (known.holdings, known.stale) == ((holding("a", 0),), "")
            assert manager.success
        old = await told(manager)
        old = await told(manager)
        assert (old.jobs, old.holdings) == (known.jobs, known.holdings)
        assert str(path) in old.stale or "UNAVAILABLE" in old.stale
        assert not manager.success
        assert manager.errors == 3
        async with Kubelet(path, pod("b", (GPU, UUIDS[1]))):
            news = await told(manager)
            assert (news.holdings, news.stale) == ((holding("b", 1),), "")

    asyncio.run(story())
    levels = [record.levelname for record in caplog.records if record.name.startswith("gpumon")]
    assert levels == ["WARNING", "INFO", "WARNING", "INFO"]


def test_a_kubelet_that_turns_slow_makes_it_stale(tmp_path: Path) -> None:
    """And is asked again."""
    path = tmp_path / "kubelet.sock"

    async def story() -> None:
        manager = Kubernetes(path, deadline=0.3)
        async with Kubelet(path, pod("a", (GPU, UUIDS[0]))) as kubelet:
            await told(manager)
            kubelet.delay = 60.0
            old = await told(manager)
            assert "DEADLINE_EXCEEDED" in old.stale
            assert old.holdings == (holding("a", 0),)
            kubelet.delay = 0.0
            assert not (await told(manager)).stale

    asyncio.run(story())


def test_it_is_asked_again_and_again(tmp_path: Path) -> None:
    """Until cancelled."""
    path = tmp_path / "kubelet.sock"

    async def story() -> None:
        async with Kubelet(path) as kubelet:
            running = asyncio.create_task(Kubernetes(path, period=0.02).run())
            for _ in range(3):
                await kubelet.asked.get()
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    asyncio.run(asyncio.wait_for(story(), 30))


def test_devices_of_no_known_gpu_are_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By name, with how many."""
    path = tmp_path / "kubelet.sock"

    async def story() -> None:
        manager = Kubernetes(path)
        strange = pod("a", (GPU, "GPU-else"), (GPU, "17"))
        async with Kubelet(path, strange, pod("b", (GPU, UUIDS[0]))):
            for _ in range(3):
                now = await told(manager)
        assert now.holdings == (holding("b", 0),)
        assert manager.unknown == ("17", "GPU-else")
        assert manager.unresolved == 1

    asyncio.run(story())
    lines = [line for line in caplog.messages if "GPU-else" in line]
    assert lines == ["pods hold 2 devices that are not known as GPUs of this node: 17, GPU-else"]


def test_a_gpu_that_is_lost_is_still_held(tmp_path: Path) -> None:
    """So are its instances, of which it tells nothing any more, and so where no GPU is read."""
    path = tmp_path / "kubelet.sock"

    async def story() -> None:
        manager = Kubernetes(path)
        mine = (holding("a", 3, MIGS[0]),)
        async with Kubelet(path, pod("a", (GPU, MIGS[0]))):
            assert (await told(manager)).holdings == mine
            for later in ((*NODE[:3], gpu(3, state=GpuState.LOST)), ()):
                assert (await told(manager, later)).holdings == mine
            divided_anew = (*NODE[:3], gpu(3, instance(1)))
            assert (await told(manager, divided_anew)).holdings == ()
            assert manager.unknown == (MIGS[0],)

    asyncio.run(story())


def test_processes_on_a_shared_gpu_are_traced_to_their_pods(tmp_path: Path) -> None:
    """By cgroup to the pod's uid, and by the folder of its logs to its name."""
    path, proc, logs = tmp_path / "kubelet.sock", tmp_path / "proc", tmp_path / "pods"
    for pid, name, uid in ((11, "a", UID), (12, "b", UID.replace("7d", "8d"))):
        (logs / f"ml_{name}_{uid}").mkdir(parents=True)
        (proc / str(pid)).mkdir(parents=True)
        (proc / str(pid) / "cgroup").write_text(f"0::/kubepods/besteffort/pod{uid}/{'cd' * 32}\n")
    processes = tuple(GpuProcess(pid, "compute") for pid in (11, 12, 13))
    node = (dataclasses.replace(NODE[0], held_by=processes), *NODE[1:])

    async def story() -> None:
        manager = Kubernetes(path, logs=logs, proc=proc)
        shared = [pod(name, (GPU, f"{UUIDS[0]}::{n}")) for n, name in enumerate("ab")]
        async with Kubelet(path, *shared):
            assert (await told(manager, node)).pids == {11: "ml/a", 12: "ml/b"}

    asyncio.run(story())


def test_the_kubelets_socket_decides_where_the_gpus_are_real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm's hooks come first; a simulation is in no workload manager; without gRPC: users."""
    path, jobs = tmp_path / "kubelet.sock", tmp_path / "jobs"
    settings = {"jobs_dir": jobs, "kubelet_socket": path}
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/sbin/{name}")
    assert choose("auto", settings, real=True).name != "kubernetes"
    path.touch()
    assert choose("auto", settings, real=True).name == "kubernetes"
    assert choose("auto", settings, real=False).name == "processes"
    assert choose("kubernetes", settings, real=False).name == "kubernetes"
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        patch.setattr("shutil.which", lambda name: None)
        assert choose("auto", settings, real=True).name == "processes"
    jobs.mkdir()
    assert choose("auto", settings, real=True).name == "slurm"


UID = "7d3f2a1b-0c4d-4e5f-8a9b-0123456789ab"
LOW = UID.replace("-", "_")
CONTAINER = "cri-containerd-" + "ab" * 32 + ".scope"


@pytest.mark.parametrize(
    "text",
    [
        f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{LOW}.slice/{CONTAINER}",
        f"0::/kubepods.slice/kubepods-pod{LOW}.slice/{CONTAINER}\n",
        f"0::/kubepods/besteffort/pod{UID}/{'cd' * 32}\n",
        f"0::/kubepods/pod{UID}\n",
        f"0::/../../kubepods-besteffort-pod{LOW}.slice/{CONTAINER}\n",
        f"0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{LOW}.slice/crio-x.scope\n",
        f"12:pids:/\n4:devices:/kubepods/burstable/pod{UID}/{'cd' * 32}\n0::/system.slice\n",
        f"0::/kubepods/pod{UID}/{'cd' * 32}/kubepods/pod{'0' * 32}/x\n",
    ],
)
def test_a_process_is_traced_to_its_pod(text: str) -> None:
    """Both drivers, both versions of cgroups; what a pod makes below its own does not count."""
    assert pod_of(text) == UID


def test_a_static_pod_has_a_hash_for_a_uid() -> None:
    """Of the file it was read from."""
    assert pod_of(f"0::/kubepods/burstable/pod{'5a' * 16}/{'cd' * 32}\n") == "5a" * 16


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0::/\n",
        "0::/system.slice/slurmstepd.scope/job_5/step_0/user/task_0\n",
        f"0::/user.slice/pod{UID}/x\n",
        f"0::/machine.slice/libpod-{'ab' * 32}.scope\n",
        "0::/kubepods.slice/kubepods-burstable.slice\n",
        f"0::/kubepods.slice\n1:x:/pod{UID}\n",
        f"0::/user.slice/user-7.slice/user@7.service/kubepods/burstable/pod{UID}/x\n",
        f"0::/user-7.slice/kubepods-pod{LOW}.slice/x\n",
    ],
)
def test_other_processes_are_of_no_pod(text: str) -> None:
    """Slurm's, users', who may make a cgroup of any name, and the kubelet's own."""
    assert pod_of(text) is None


@pytest.mark.e2e
def test_the_agent_gives_pods_their_joules(tmp_path: Path) -> None:
    """Over the socket that its flag names."""
    path = tmp_path / "kubelet.sock"
    args = ("--workload-manager", "kubernetes", "--kubelet-socket", str(path))

    async def story() -> None:
        async with Kubelet(path, pod("a", (GPU, "0")), pod("b", (GPU, "1"))):
            with run_agent(tmp_path, "sim:2xH100", *args) as agent:
                await asyncio.to_thread(holders_are, agent, {("ml/a", "0"), ("ml/b", "1")})
                told = Exposition(agent.metrics())
                (facts,) = told.all("gpumon_job_info", job_id="ml/a")
                assert (dict(facts)["partition"], dict(facts)["manager"]) == ("ml", "kubernetes")
                await asyncio.to_thread(paid, agent)

    asyncio.run(story())


def holders_are(agent: Agent, wanted: set[tuple[str, str]]) -> None:
    """Wait until these jobs hold these GPUs."""

    def now() -> bool:
        shares = Exposition(agent.metrics()).all("gpumon_job_gpu_share")
        return {(dict(labels)["job_id"], dict(labels)["gpu"]) for labels in shares} == wanted

    wait_for(now, 15, f"the holders {wanted}")


def paid(agent: Agent) -> None:
    """Wait until each pod has paid something."""
    wait_for(
        lambda: all(Exposition(agent.metrics()).all("gpumon_job_gpu_energy_joules_total").values()),
        10,
        "joules of both pods",
    )
