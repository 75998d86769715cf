"""Archwright: a workbench for designing AI systems.

The rooms are imported when they are first touched, so that ``import archwright`` costs nothing:

    >>> import archwright
    >>> archwright.hardware.device("h100").name
    'H100-SXM'
"""

from __future__ import annotations

from typing import Any

__all__ = ["__version__"]

_ROOMS = (
    *("errors", "explain", "formats", "hardware", "llm", "memory", "papers", "provenance"),
    *("registry", "search", "serving", "solve", "specification", "testing"),
)


def __getattr__(name: str) -> Any:
    """Import a room, or look the version up, on first use."""
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version("archwright")
        except PackageNotFoundError:  # running from a source tree that was never installed
            found = "0+unknown"
        globals()["__version__"] = found
        return found
    if name in _ROOMS:
        from importlib import import_module

        return import_module(f"archwright.{name}")
    from archwright.errors import nearest

    raise AttributeError(f"module 'archwright' has no attribute {name!r}{nearest(name, _ROOMS)}")


def __dir__() -> list[str]:
    """List the rooms beside what is already here, for completion."""
    return sorted({*globals(), *__all__, *_ROOMS})
