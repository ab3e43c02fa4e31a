"""Training of DiffJSCC's control module."""

from linksim.training.control.sitting import ControlSummary, train_control
from linksim.training.control.trainer import ControlTrainer

__all__ = ["ControlSummary", "ControlTrainer", "train_control"]
