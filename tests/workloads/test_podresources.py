"""The decoder of the kubelet's replies against protobuf's own runtime."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpumon.workloads.kubernetes.podresources import (
    ClaimedDevice,
    PluginDevices,
    PodDevices,
    decode,
)

pytest.importorskip("google.protobuf")
from google.protobuf.message import DecodeError

from tests.workloads.kubelet import CLASSES, MESSAGES

SCALARS = {
    "string": st.text(max_size=20),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint64": st.integers(0, 2**64 - 1),
}


def messages(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    """Make any message of a kind, with any of its fields left out."""
    fields = {}
    for name, _, of in MESSAGES[kind]:
        bare = of.removeprefix("*")
        value = SCALARS[bare] if bare in SCALARS else messages(bare)
        fields[name] = st.lists(value, max_size=2) if of.startswith("*") else value
    return st.fixed_dictionaries({}, optional=fields)


SLOW = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
"""A reply is a large thing to make up, and the machine may have others to do."""


REPLIES = messages("ListPodResourcesResponse")


def as_runtime_reads(reply: bytes) -> list[PodDevices]:
    """Decode a reply by protobuf's runtime."""
    read = CLASSES["ListPodResourcesResponse"].FromString(reply)
    return [
        PodDevices(
            namespace=pod.namespace,
            name=pod.name,
            devices=tuple(
                PluginDevices(resource=devices.resource_name, ids=tuple(devices.device_ids))
                for container in pod.containers
                for devices in container.devices
            ),
            claimed=tuple(
                ClaimedDevice(
                    driver=claimed.driver_name,
                    device=claimed.device_name,
                    cdi_names=tuple(one.name for one in claimed.cdi_devices),
                )
                for container in pod.containers
                for dynamic in container.dynamic_resources
                for claimed in dynamic.claim_resources
            ),
        )
        for pod in read.pod_resources
    ]


@SLOW
@given(REPLIES)
def test_every_reply_is_read_as_protobuf_reads_it(reply: dict[str, Any]) -> None:
    """Whatever is in it that is not wanted."""
    data = CLASSES["ListPodResourcesResponse"](**reply).SerializeToString()
    assert decode(data) == as_runtime_reads(data)


NEWER = [
    b"\x50\x96\x01",  # field 10: a number
    b"\x51" + bytes(8),  # 64 bits
    b"\x55" + bytes(4),  # 32 bits
    b"\x52\x02hi",  # bytes
]


@SLOW
@given(REPLIES, st.lists(st.sampled_from(NEWER), max_size=4))
def test_fields_of_a_newer_kubelet_are_skipped(reply: dict[str, Any], newer: list[bytes]) -> None:
    """At every level: each message here is the content of the field 1 or 3 of the one around it."""
    extra = b"".join(newer)
    container = extra + b"\x12\x03\x0a\x01r" + extra
    pod = b"\x0a\x01p" + extra + b"\x1a" + bytes([len(container)]) + container
    head = CLASSES["ListPodResourcesResponse"](**reply).SerializeToString()
    data = head + extra + b"\x0a" + bytes([len(pod)]) + pod
    told = decode(data)
    assert told == as_runtime_reads(data)
    assert told[-1] == PodDevices(namespace="", name="p", devices=(PluginDevices(resource="r"),))


@SLOW
@given(REPLIES, st.data())
def test_a_damaged_reply_is_an_error_or_what_protobuf_reads(
    reply: dict[str, Any], data: st.DataObject
) -> None:
    """Never another exception, and never another pod than protobuf sees."""
    damaged = bytearray(CLASSES["ListPodResourcesResponse"](**reply).SerializeToString())
    for _ in range(data.draw(st.integers(0, 3))):
        if damaged:
            at = data.draw(st.integers(0, len(damaged) - 1))
            damaged[at] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(0, len(damaged))) :]
    both(bytes(damaged))


@SLOW
@given(st.binary(max_size=300))
def test_any_bytes_are_an_error_or_what_protobuf_reads(data: bytes) -> None:
    """The socket may be anybody's."""
    both(data)


def both(data: bytes) -> None:
    """Check that both decoders agree where both can read something."""
    try:
        told = decode(data)
    except ValueError:
        return
    try:
        expected = as_runtime_reads(data)
    except DecodeError:
        return
    assert told == expected
