"""Who computes the batches of a run: this process, several of their own, or those of a Ray cluster. The
driver alone writes.
"""

from linksim.run.executors.batches import Executor, InProcess, Work, work_of
from linksim.run.executors.processes import Processes
from linksim.run.executors.ray_cluster import RayChoice
from linksim.run.executors.ray_workers import OnRay
from linksim.run.executors.scheduling import Schedule

__all__ = ["Executor", "InProcess", "OnRay", "Processes", "RayChoice", "Schedule", "Work", "work_of"]
