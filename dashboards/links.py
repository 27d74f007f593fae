"""Where a click leads: to a node, a job or a GPU, with what was clicked on chosen there."""

from __future__ import annotations

import dataclasses
from typing import Any

SELECTION = "var-datasource=${datasource}&${cluster:queryparam}&${__url_time_range}"
"""What every link carries: data source, clusters, and the time shown."""


@dataclasses.dataclass(frozen=True)
class Beside:
    """A variable that a link sets too: from a label of the series, or a column of the row."""

    variable: str
    label: str
    heading: str


@dataclasses.dataclass(frozen=True)
class Link:
    """A link to one of our dashboards, which sets its variable to what was clicked on.

    ``label`` is the label whose value that is; ``carries`` are further variables that both
    dashboards have; ``also`` are others that it sets, from what stands beside the one clicked on.
    """

    title: str
    uid: str
    variable: str
    label: str
    carries: tuple[str, ...] = ()
    also: tuple[Beside, ...] = ()

    def of_a_series(self) -> dict[str, Any]:
        """Return it as Grafana wants it on a line or a bar."""
        also = {beside.variable: f"${{__field.labels.{beside.label}}}" for beside in self.also}
        return self._to({self.variable: f"${{__field.labels.{self.label}}}", **also})

    def of_a_cell(self) -> dict[str, Any]:
        """Return it as Grafana wants it on a cell of a table, whose value is chosen."""
        also = {beside.variable: f"${{__data.fields.{beside.heading}}}" for beside in self.also}
        return self._to({self.variable: "${__value.raw}", **also})

    def _to(self, chosen: dict[str, str]) -> dict[str, Any]:
        set_ = "&".join(f"var-{variable}={value}" for variable, value in chosen.items())
        more = "".join(f"&${{{variable}:queryparam}}" for variable in self.carries)
        url = f"/d/{self.uid}?{set_}{more}&{SELECTION}"
        return {"title": self.title, "url": url, "targetBlank": False}


NODE = Link("Open this node", "gpumon-node", "instance", "instance")
JOB = Link("Open this job", "gpumon-job", "job_id", "job_id")
GPU = Link("Open this GPU", "gpumon-gpu", "gpu", "gpu", carries=("instance",))
"""From a dashboard of one node."""

GPU_OF_A_NODE = Link(
    "Open this GPU", "gpumon-gpu", "gpu", "gpu", also=(Beside("instance", "instance", "Node"),)
)
"""From where GPUs of several nodes are shown; a table needs a column ``Node``."""

POWER = Link("Power of this hall", "gpumon-power", "hall", "hall")
