"""Is this installation right? What ``gpumon doctor`` looks at, one item each.

``here`` looks at this machine, ``servers`` at Prometheus and Grafana, ``examine`` makes all of them
at once and in time, and ``bundle`` packs what a bug report needs, without anybody's secrets.
"""

from gpumon.doctor.examine import Item, examine
from gpumon.doctor.finding import Finding

__all__ = ["Finding", "Item", "examine"]
