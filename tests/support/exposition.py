"""An exposition as a test looks at it."""

from __future__ import annotations

from prometheus_client.parser import (  # the oracle of the tests
    text_string_to_metric_families,
)


class Exposition:
    """Samples by name and labels, read by prometheus_client's own parser."""

    def __init__(self, text: str) -> None:
        """Parse a text exposition."""
        self._samples = [
            (sample.name, dict(sample.labels), sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]

    def all(self, name: str, **labels: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Return the values of a name by their other labels, where the given labels match."""
        return {
            tuple(sorted((k, v) for k, v in found.items() if k not in labels)): value
            for sample, found, value in self._samples
            if sample == name and all(found.get(k) == v for k, v in labels.items())
        }

    def value(self, name: str, **labels: str) -> float | None:
        """Return the one value of a name with these labels, or None where there is none."""
        found = self.all(name, **labels)
        assert len(found) <= 1, found
        return next(iter(found.values()), None)

    def names(self, **labels: str) -> list[str]:
        """Return the name of each sample with these labels."""
        return [
            name
            for name, found, _ in self._samples
            if all(found.get(k) == v for k, v in labels.items())
        ]
