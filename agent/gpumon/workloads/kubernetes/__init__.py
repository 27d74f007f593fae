"""Kubernetes: what the kubelet reports of pods and their devices."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from gpumon.workloads.registration import Option, Registration, Settings

if TYPE_CHECKING:
    from gpumon.workloads.manager import Manager

log = logging.getLogger(__name__)

KUBELET_SOCKET = Option(
    flag="--kubelet-socket",
    default=Path("/var/lib/kubelet/pod-resources/kubelet.sock"),
    metavar="SOCKET",
    help="Socket on which the kubelet reports which pod has which GPU.",
)


def _make(settings: Settings) -> Manager:
    from gpumon.workloads.kubernetes.kubernetes import Kubernetes

    return Kubernetes(KUBELET_SOCKET.of(settings))


def _speaks(settings: Settings) -> bool:
    """Return whether a kubelet runs here and can be asked."""
    if not KUBELET_SOCKET.there(settings):
        return False
    if importlib.util.find_spec("grpc") is not None:
        return True
    log.warning(
        "a kubelet runs here, but without grpcio it cannot be asked: GPUs are held by users; "
        "pip install '.[kubernetes]' in gpumon's checkout"
    )
    return False


REGISTRATION = Registration(
    name="kubernetes",
    summary="the kubelet",
    options=(KUBELET_SOCKET,),
    speaks=_speaks,
    make=_make,
)
