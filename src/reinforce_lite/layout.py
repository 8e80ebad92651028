"""Moved to stages.py."""

from reinforce_lite.stages import FINISHED, Layout

__all__ = ["FINISHED", "Layout"]
