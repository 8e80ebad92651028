"""Reinforce-Lite: the reproduction that the ten-dollar "aha moment" never had."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("reinforce-lite")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"
