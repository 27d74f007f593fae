"""Who used how many joules and GPU hours, and what they cost, over a span of time.

``hours`` reads the agent's memory, ``factors`` what a kilowatt-hour costs and emits at each hour,
``sums`` adds up, ``render`` writes. Prices are applied here and nowhere before, so that a bill can
be made again with others.
"""
