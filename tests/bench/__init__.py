"""The benchmark: ``python -m tests.bench`` measures the agent beside its peers.

``rules`` compares what rules cost with those of a release before.

``contenders`` starts them, ``measure`` and ``scrape`` look at them from outside, ``trial`` is the
procedure, ``ticks`` looks for repeated driver calls, ``budgets`` judges, ``report`` writes
``docs/performance.md``.
"""
