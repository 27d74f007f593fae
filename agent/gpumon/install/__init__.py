"""Make a service of this gpumon, and undo it: ``gpumon install`` and ``gpumon uninstall``.

``machine`` looks at what there is, ``plan`` lists the steps in order, without doing them,
and ``steps`` does them. The files are those of ``deploy/systemd``, as ``files`` completes them.
"""
