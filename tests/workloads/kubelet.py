"""A kubelet to ask: a real gRPC server on a socket, whose replies protobuf's own runtime writes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

if TYPE_CHECKING:
    from typing_extensions import Self

_STRING, _MESSAGE, _INT64, _UINT64 = 9, 11, 3, 4

MESSAGES = {
    "ListPodResourcesRequest": [],
    "ListPodResourcesResponse": [("pod_resources", 1, "*PodResources")],
    "PodResources": [
        ("name", 1, "string"),
        ("namespace", 2, "string"),
        ("containers", 3, "*ContainerResources"),
    ],
    "ContainerResources": [
        ("name", 1, "string"),
        ("devices", 2, "*ContainerDevices"),
        ("cpu_ids", 3, "*int64"),
        ("memory", 4, "*ContainerMemory"),
        ("dynamic_resources", 5, "*DynamicResource"),
    ],
    "ContainerMemory": [
        ("memory_type", 1, "string"),
        ("size", 2, "uint64"),
        ("topology", 3, "TopologyInfo"),
    ],
    "ContainerDevices": [
        ("resource_name", 1, "string"),
        ("device_ids", 2, "*string"),
        ("topology", 3, "TopologyInfo"),
    ],
    "TopologyInfo": [("nodes", 1, "*NUMANode")],
    "NUMANode": [("ID", 1, "int64")],
    "DynamicResource": [
        ("class_name", 1, "string"),
        ("claim_name", 2, "string"),
        ("claim_namespace", 3, "string"),
        ("claim_resources", 4, "*ClaimResource"),
    ],
    "ClaimResource": [
        ("cdi_devices", 1, "*CDIDevice"),
        ("driver_name", 2, "string"),
        ("pool_name", 3, "string"),
        ("device_name", 4, "string"),
    ],
    "CDIDevice": [("name", 1, "string")],
}
"""The kubelet's api.proto (k8s.io/kubelet/pkg/apis/podresources/v1); ``*`` is repeated."""


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="podresources.proto", package="v1", syntax="proto3"
    )
    scalars = {"string": _STRING, "int64": _INT64, "uint64": _UINT64}
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            bare = kind.removeprefix("*")
            added = message.field.add(name=field, number=number, type=scalars.get(bare, _MESSAGE))
            added.label = 3 if kind.startswith("*") else 1
            if bare not in scalars:
                added.type_name = f".v1.{bare}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"v1.{name}"))
        for name in MESSAGES
    }


CLASSES = _classes()


def response(*pods: dict[str, Any]) -> Any:
    """Make a ListPodResourcesResponse of these pods, as dictionaries of api.proto's fields."""
    return CLASSES["ListPodResourcesResponse"](pod_resources=list(pods))


def pod(name: str, *devices: tuple[str, str], **container: Any) -> dict[str, Any]:
    """Describe a pod of the namespace ``ml`` with one container that has (resource, device id)s."""
    given = [{"resource_name": resource, "device_ids": [one]} for resource, one in devices]
    return {
        "name": name,
        "namespace": "ml",
        "containers": [{"name": "main", "devices": given, **container}],
    }


class Kubelet:
    """Answers List on a socket with ``reply``, after ``delay`` seconds."""

    def __init__(self, socket: Path, *pods: dict[str, Any]) -> None:
        """Prepare to answer with these pods."""
        self.socket = socket
        self.reply: bytes = response(*pods).SerializeToString()
        self.delay = 0.0
        self.asked: asyncio.Queue[Any] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        """Listen."""
        handler = grpc.unary_unary_rpc_method_handler(
            self._list,
            request_deserializer=CLASSES["ListPodResourcesRequest"].FromString,
            response_serializer=lambda reply: reply,
        )
        self._server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("v1.PodResourcesLister", {"List": handler})]
        )
        self._server.add_insecure_port(f"unix://{self.socket}")
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End, and leave no socket."""
        await self._server.stop(0)
        self.socket.unlink(missing_ok=True)

    async def _list(self, request: Any, context: Any) -> bytes:
        self.asked.put_nowait(request)
        await asyncio.sleep(self.delay)
        return self.reply
