"""Where a click leads: to a node, a job or a GPU, with what was clicked on chosen there."""

from __future__ import annotations

import dataclasses
from typing import Any

SELECTION = "var-datasource=${datasource}&${cluster:queryparam}&${__url_time_range}"
"""What every link carries: data source, clusters, and the time shown."""


@dataclasses.dataclass(frozen=True)
class Link:
    """A link to one of our dashboards, which sets its variable to what was clicked on.

    ``label`` is the label whose value that is; ``carries`` are further variables that both
    dashboards have.
    """

    title: str
    uid: str
    variable: str
    label: str
    carries: tuple[str, ...] = ()

    def of_a_series(self) -> dict[str, Any]:
        """Return it as Grafana wants it on a line or a bar."""
        return self._to(f"${{__field.labels.{self.label}}}")

    def of_a_cell(self) -> dict[str, Any]:
        """Return it as Grafana wants it on a cell of a table, whose value is chosen."""
        return self._to("${__value.raw}")

    def _to(self, value: str) -> dict[str, Any]:
        more = "".join(f"&${{{variable}:queryparam}}" for variable in self.carries)
        url = f"/d/{self.uid}?var-{self.variable}={value}{more}&{SELECTION}"
        return {"title": self.title, "url": url, "targetBlank": False}


NODE = Link("Open this node", "gpumon-node", "instance", "instance")
JOB = Link("Open this job", "gpumon-job", "job_id", "job_id")
GPU = Link("Open this GPU", "gpumon-gpu", "gpu", "gpu", carries=("instance",))
POWER = Link("Power of this hall", "gpumon-power", "hall", "hall")
