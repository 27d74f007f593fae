"""What the kubelet says of pods and their devices: gRPC over its socket, and the reply's bytes.

The numbers are those of k8s.io/kubelet/pkg/apis/podresources/v1/api.proto. Of them a few strings
are wanted; a decoder of our own for those spares the users a protobuf runtime, whose generated code
has to match its version.
"""

from __future__ import annotations

import asyncio
import dataclasses
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from gpumon.errors import UnavailableError

METHOD = "/v1.PodResourcesLister/List"

LARGEST_REPLY = 64 * 2**20
"""Bytes. gRPC's own limit of 4 MiB may be too little for a node with many CPUs and pods: the reply
lists each container's CPUs, memory and devices, GPUs or not."""

_OPTIONS = (
    ("grpc.max_receive_message_length", LARGEST_REPLY),
    ("grpc.enable_http_proxy", 0),
    # Channels share their connections and the back-off after a failure: after a restart of the
    # kubelet the next look would fail for want of trying.
    ("grpc.use_local_subchannel_pool", 1),
)

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types (protobuf.dev/programming-guides/encoding); groups (3, 4) proto3 does not have."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PluginDevices:
    """What a container was given of one resource by a device plugin."""

    resource: str
    ids: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedDevice:
    """A device that a container has by a resource claim (Dynamic Resource Allocation).

    ``driver`` and ``device`` are empty from a kubelet that reports the ``cdi_names`` only.
    """

    driver: str = ""
    device: str = ""
    cdi_names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PodDevices:
    """A pod and the devices of all its containers; most pods have none."""

    namespace: str
    name: str
    devices: tuple[PluginDevices, ...] = ()
    claimed: tuple[ClaimedDevice, ...] = ()


async def list_pods(socket: Path, deadline: float = 5.0) -> list[PodDevices]:
    """Ask the kubelet for the pods of this node and their devices.

    Raises UnavailableError if it does not answer within ``deadline`` seconds, or not sense.
    """
    _must_be_there(socket)
    try:
        import grpc
        import grpc.aio
    except ImportError:
        raise UnavailableError(
            "the package grpcio is missing, without which the kubelet cannot be asked",
            "pip install '.[kubernetes]' in gpumon's checkout",
        ) from None
    async with grpc.aio.insecure_channel(_target(socket), options=_OPTIONS) as channel:
        try:
            reply = await channel.unary_unary(METHOD)(b"", timeout=deadline)
        except grpc.aio.AioRpcError as error:
            raise UnavailableError(
                f"the kubelet did not say which pods hold GPUs ({error.code().name}: "
                f"{_first_line(error.details())})",
                f"is it running, and may this user open {socket}?",
            ) from None
    try:
        # In a thread: a reply of many megabytes takes seconds, and the loop has others to serve.
        return await asyncio.to_thread(decode, reply)
    except ValueError as error:
        raise UnavailableError(
            f"the kubelet's answer makes no sense ({error})", f"is it a kubelet's socket, {socket}?"
        ) from None


def _must_be_there(socket: Path) -> None:
    """Raise UnavailableError if there is no socket: gRPC need not be loaded to know."""
    try:
        there = socket.exists()
    except OSError as error:
        raise UnavailableError(
            f"{socket} cannot be looked at ({error.strerror})", "run as root, or grant its folder"
        ) from None
    if not there:
        # A restarted kubelet makes a new socket, and a mount of the old one stays dead.
        raise UnavailableError(
            f"there is no {socket}", "is the kubelet running? In a container, mount its folder"
        )


def _target(socket: Path) -> str:
    return f"unix://{urllib.parse.quote(str(socket.absolute()))}"


def _first_line(details: str | None) -> str:
    lines = (details or "").splitlines()
    return lines[0] if lines else "no details"


def decode(reply: bytes) -> list[PodDevices]:
    """Decode a ListPodResourcesResponse; ValueError if it is not one.

    What is not known is skipped, as protobuf wants it.
    """
    return [_pod(pod) for number, pod in _fields(memoryview(reply)) if number == 1]


def _pod(data: memoryview) -> PodDevices:
    name = namespace = ""
    devices: list[PluginDevices] = []
    claimed: list[ClaimedDevice] = []
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            namespace = _text(value)
        elif number == 3:
            for part, inner in _fields(value):
                if part == 2:
                    devices.append(_devices(inner))
                elif part == 5:
                    claimed.extend(_claimed(one) for nr, one in _fields(inner) if nr == 4)
    return PodDevices(
        namespace=namespace, name=name, devices=tuple(devices), claimed=tuple(claimed)
    )


def _devices(data: memoryview) -> PluginDevices:
    resource = ""
    ids = []
    for number, value in _fields(data):
        if number == 1:
            resource = _text(value)
        elif number == 2:
            ids.append(_text(value))
    return PluginDevices(resource=resource, ids=tuple(ids))


def _claimed(data: memoryview) -> ClaimedDevice:
    driver = device = ""
    names = []
    for number, value in _fields(data):
        if number == 1:
            name = ""
            for part, inner in _fields(value):
                if part == 1:
                    name = _text(inner)
            names.append(name)
        elif number == 2:
            driver = _text(value)
        elif number == 4:
            device = _text(value)
    return ClaimedDevice(driver=driver, device=device, cdi_names=tuple(names))


def _text(value: memoryview) -> str:
    return str(value, "utf-8")  # UnicodeDecodeError is a ValueError


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and content of a message's fields that have a length; the others are skipped."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if not number:
            raise ValueError("a field without a number")
        if kind == _VARINT:
            _, at = _varint(data, at)
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in {_FIXED64, _FIXED32}:
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if length > end - at:
            raise ValueError("a field longer than its message")
        if kind == _BYTES:
            yield number, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number that begins at a position, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):  # ten bytes at most
        if at >= len(data):
            raise ValueError("a number cut short")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")
