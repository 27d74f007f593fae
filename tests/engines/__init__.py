"""Engines that are built for it (``make engines``): the rules do there what they do elsewhere."""
