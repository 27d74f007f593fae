"""``gpumon top``: the live view of a node in a terminal.

``looking`` reads the target in a thread and hands each snapshot to ``app``; ``history`` keeps what
``graph`` draws; ``tables`` puts rows into tables without losing the place; ``zoom`` is the screen
of one GPU. The rows themselves are those of ``gpumon.views``.
"""
