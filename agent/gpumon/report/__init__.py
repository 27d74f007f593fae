"""Who used how many joules and GPU hours, and what they cost, over a span of time.

``gather`` gets the hours: ``memory`` from the agent's state file, ``prometheus`` (with ``asking``,
``quantities`` and ``counters``) from a server, ``recording`` from a file. ``sums`` adds them up,
``meter`` holds them against a meter, ``render`` and ``html`` write. Prices are applied here and
nowhere before, so that a bill can be made again with others.
"""
