"""Snapshots as Prometheus reads them; nothing else in gpumon speaks this format."""

from gpumon.exposition.encoder import Encoder, Labelled
from gpumon.exposition.negotiation import Format, negotiate

__all__ = ["Encoder", "Format", "Labelled", "negotiate"]
