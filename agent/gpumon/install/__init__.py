"""Make a service of this gpumon, and undo it: ``gpumon install`` and ``gpumon uninstall``.

``machine`` looks at what there is, ``plan`` says in order what is to be done, without doing it,
and ``steps`` does it. The files are those of ``deploy/systemd``, as ``files`` completes them.
"""
