"""The energy ledger: every joule of a GPU has an owner.

``measure`` says what a GPU drew between two readings, ``shares`` whose it is, ``account`` keeps one
GPU's books, ``ledger`` those of the node. All sums are whole millijoules, so that they close.
"""

from gpumon.ledger.ledger import Ledger

__all__ = ["Ledger"]
