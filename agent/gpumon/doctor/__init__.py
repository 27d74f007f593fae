"""Is this installation right? What ``gpumon doctor`` looks at, one item each.

``facts`` has the records; ``here``, ``agent`` and ``servers`` gather them, ``judge`` and
``judge_servers`` say what they mean, and ``examine`` does all of it at once and in time.
``bundle`` packs what a bug report needs, without anybody's secrets.
"""

from gpumon.doctor.examine import Question, examine
from gpumon.doctor.finding import Finding

__all__ = ["Finding", "Question", "examine"]
