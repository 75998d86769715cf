"""Archwright: a workbench for designing AI systems."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("archwright")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
