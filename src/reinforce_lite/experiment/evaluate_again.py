"""The stage that evaluates a policy before training a second time: the same work under the settings of its own job."""

from reinforce_lite.experiment.evaluate import run

__all__ = ["run"]
