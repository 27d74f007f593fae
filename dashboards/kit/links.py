"""Where a click leads: to a node, a job or a GPU, with what was clicked on chosen there."""

from __future__ import annotations

import dataclasses
from typing import Any

DATA = "var-datasource=${datasource}"
TIME = "${__url_time_range}"
"""What every link carries: data source and the time shown, and clusters in one way or another."""

ANY = "All"
"""What stands for the cluster, hall or site of a series that has none: Grafana's word for all.

Without a label or a column there would be no word, and Grafana would leave the link's own text.
"""

MAY_BE_ALL = ("cluster", "hall", "site")
"""Variables whose labels targets need not have."""


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
    A link that does not set the cluster carries those that are chosen.
    """

    title: str
    uid: str
    variable: str
    label: str
    carries: tuple[str, ...] = ()
    also: tuple[Beside, ...] = ()

    @property
    def sets_cluster(self) -> bool:
        """Whether it needs a cluster of the series, or of the row."""
        return "cluster" in self.needs

    @property
    def needs(self) -> tuple[str, ...]:
        """The variables that may be All, and that it sets from labels of the same names."""
        return tuple(one.variable for one in self.also if one.variable in MAY_BE_ALL)

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
        carried = self.carries if self.sets_cluster else (*self.carries, "cluster")
        more = "".join(f"&${{{variable}:queryparam}}" for variable in carried)
        url = f"/d/{self.uid}?{set_}{more}&{DATA}&{TIME}"
        return {"title": self.title, "url": url, "targetBlank": False}


_CLUSTER = Beside("cluster", "cluster", "Cluster")

NODE = Link("Open this node", "gpumon-node", "instance", "instance", also=(_CLUSTER,))
JOB = Link("Open this job", "gpumon-job", "job_id", "job_id", also=(_CLUSTER,))
"""From where several are shown; a table needs a column ``Cluster``."""

NODE_OF_THIS = dataclasses.replace(NODE, also=())
JOB_OF_THIS = dataclasses.replace(JOB, also=())
GPU = Link("Open this GPU", "gpumon-gpu", "gpu", "gpu", carries=("instance",))
"""From a dashboard of one node."""

GPU_OF_A_NODE = Link(
    "Open this GPU",
    "gpumon-gpu",
    "gpu",
    "gpu",
    also=(Beside("instance", "instance", "Node"), _CLUSTER),
)
"""From where GPUs of several nodes are shown; a table needs columns ``Node`` and ``Cluster``."""

POWER = Link("Power of this hall", "gpumon-power", "hall", "hall", carries=("site",))
