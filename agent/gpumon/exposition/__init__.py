"""Snapshots as Prometheus reads them; nothing else in gpumon speaks this format."""

from gpumon.exposition.encoder import Encoder, Labelled
from gpumon.exposition.negotiation import Format, content_type, negotiate

__all__ = ["Encoder", "Format", "Labelled", "content_type", "negotiate"]
