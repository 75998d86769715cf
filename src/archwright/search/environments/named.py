"""Environments as study files name them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from archwright.errors import SpecificationError, unknown
from archwright.search.environments.contract import Environment
from archwright.search.space import parameter

__all__ = ["digests", "make_environment"]


def make_environment(
    target: Any, options: Mapping[str, Any], *, vary: Mapping[str, Any], folder: Path, name: str
) -> Environment:
    """Build an environment from what a study names and the rest of its table.

    ``target`` is an object with ``configure(options, vary=, folder=)``, a class or function
    taking the options as keywords, or a finished environment (then without options).

    Raises:
        SpecificationError: an option the target does not take, or no environment.
    """
    varied = {path: parameter(item, where=f"vary.{path}") for path, item in vary.items()}
    if hasattr(target, "configure"):
        made = target.configure(options, vary=varied, folder=folder)
    elif callable(target) and not (
        isinstance(target, Environment) and not inspect.isclass(target)
    ):
        keywords = dict(options) | ({"vary": varied} if varied else {})
        accepted = inspect.signature(target).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
            for key in keywords:
                if key not in accepted:
                    raise SpecificationError(f"[environment]: {unknown('key', key, accepted)}")
        try:
            made = target(**keywords)
        except TypeError as error:
            raise SpecificationError(f"environment {name!r}: {error}") from error
    else:
        made = target
        if options or varied:
            key = next(iter([*options, *(f"vary.{path}" for path in varied)]))
            raise SpecificationError(f"environment {name!r} takes no options, found {key!r}")
    if not isinstance(made, Environment):
        raise SpecificationError(
            f"environment {name!r} is a {type(made).__name__} and lacks part of the contract: "
            "space, metrics, version, deterministic, fidelities, evaluate"
        )
    return made


def digests(files: Mapping[str, Path]) -> dict[str, str]:
    """Return name to SHA-256: what the identity of an environment says of the files it names."""
    return {name: sha256(path.read_bytes()).hexdigest() for name, path in sorted(files.items())}
