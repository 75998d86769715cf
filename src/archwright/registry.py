"""Names to objects, by entry points, so that a user's package appears beside ours.

A package offers a searcher named ``mine`` with

    [project.entry-points."archwright.searchers"]
    mine = "my_package.search:Mine"

Nothing is imported before it is asked for. Two packages that claim one name are an error; an
entry that cannot be imported is named and skipped in lists, and fatal when asked for.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from archwright.errors import SpecificationError, unknown

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["GROUPS", "Entry", "Group", "entries", "resolve"]

Group = Literal[
    "environments", "searchers", "routers", "devices", "simulators", "formats", "executors"
]
GROUPS: tuple[Group, ...] = (
    "environments",
    "searchers",
    "routers",
    "devices",
    "simulators",
    "formats",
    "executors",
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One registered name.

    Attributes:
        name: the name, such as ``serving/fleet``.
        target: ``package.module:object``.
        package: the distribution that offers it.
    """

    name: str
    target: str
    package: str

    def load(self) -> Any:
        """Import the object; raises whatever its module raises."""
        return _import(self.target)


@cache
def _entry_points(group: Group) -> tuple[EntryPoint, ...]:
    from importlib.metadata import entry_points

    return tuple(entry_points(group=f"archwright.{group}"))


def entries(group: Group) -> dict[str, Entry]:
    """Return the registered names of a group, sorted, without importing them.

    Raises:
        SpecificationError: two packages register one name.
    """
    found: dict[str, Entry] = {}
    for point in _entry_points(group):
        package = point.dist.name if point.dist is not None else "?"
        entry = Entry(name=point.name, target=point.value, package=package)
        known = found.get(entry.name)
        if known is not None and known.target != entry.target:
            raise SpecificationError(
                f"two {group} are named {entry.name!r}: {known.target} of {known.package} and "
                f"{entry.target} of {entry.package}; uninstall or rename one"
            )
        found[entry.name] = entry
    return dict(sorted(found.items()))


def resolve(group: Group, name: str) -> Any:
    """Return the object behind a registered name or a ``package.module:object`` reference.

    >>> resolve("searchers", "random").__name__
    'RandomSearch'

    Raises:
        SpecificationError: the name is unknown, or its module cannot be imported.
    """
    if ":" in name:
        target = name
    else:
        known = entries(group)
        if name not in known:
            raise SpecificationError(
                unknown(group[:-1], name, known) + "; or give 'package.module:object'"
            )
        target = known[name].target
    try:
        return _import(target)
    except ImportError as error:
        raise SpecificationError(f"{group[:-1]} {name!r} cannot be imported: {error}") from error
    except AttributeError as error:
        raise SpecificationError(f"{group[:-1]} {name!r}: {error}") from error
    except (Exception, SystemExit) as error:  # whatever a module of a user's raises
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise SpecificationError(
            f"{group[:-1]} {name!r} cannot be imported, its module raised {said}"
        ) from error


def _import(target: str) -> Any:
    module, _, attribute = target.partition(":")
    value: Any = importlib.import_module(module)
    for part in filter(None, attribute.split(".")):
        value = getattr(value, part)
    return value
