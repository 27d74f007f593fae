"""Expositions of releases, as they were served: what rules must still be able to read."""
