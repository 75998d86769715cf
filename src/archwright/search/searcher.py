"""The contract of a search method, and what it is told."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError, unknown
from archwright.search.goal import Objectives, Scores
from archwright.search.space import Space

__all__ = ["BaseSearcher", "Proposals", "Searcher", "Trials", "isolated_rng", "make_searcher"]


@dataclass(frozen=True, kw_only=True)
class Proposals:
    """Designs with a fidelity or a parent each; a searcher that needs neither returns designs.

    Attributes:
        designs: a batch of designs.
        fidelity: name of the fidelity of each; None for the truest.
        parents: trial number that each inherits from, -1 for none.
    """

    designs: Any
    fidelity: tuple[str, ...] | None = None
    parents: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True, kw_only=True)
class Trials:
    """A batch of finished trials, in ask order, as a searcher is told of them.

    Attributes:
        numbers: trial numbers, shape (n,).
        designs: the designs.
        scores: losses, violations, feasibility (means over replicates).
        fidelity: fidelity of each.
        parents: parent of each, -1 for none.
        repeats: true where the design had been asked before and was not evaluated again.
    """

    numbers: npt.NDArray[np.int64]
    designs: Any
    scores: Scores
    fidelity: tuple[str, ...]
    parents: npt.NDArray[np.int64]
    repeats: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.numbers)


@runtime_checkable
class Searcher(Protocol):
    """A search method. Its life cycle:

    1. ``start`` once, before anything else (a continued study starts again, then restores).
    2. ``ask(n)`` returns 0 to n designs; 0 means that it waits for trials in flight.
    3. ``tell`` gets every trial exactly once, in ask order.
    4. ``step`` is called when ``ask`` gave nothing; it does one unit of the searcher's own work
       (at most about 10 s) and returns True, or False when there is none.
    5. The search is finished when ``ask`` gives nothing, nothing is in flight and ``step`` gives
       False.

    Given the same calls a searcher does the same under its seed. ``state`` returns plain data
    from which ``restore`` continues, or None: then a continued study replays its trials.

    A searcher may also have ``preferred_block`` and ``preferred_window`` (see
    :class:`BaseSearcher`; 1 and 8 without), and ``learn(trials)``, which takes trials that it did
    not ask for, with their results, before its first ask.
    """

    def start(
        self,
        space: Space,
        objectives: Objectives,
        *,
        seed: int,
        capabilities: Mapping[str, Any],
    ) -> None: ...

    def ask(self, n: int) -> Any: ...

    def tell(self, trials: Trials) -> None: ...

    def step(self) -> bool: ...

    def state(self) -> dict[str, Any] | None: ...

    def restore(self, state: dict[str, Any]) -> None: ...


class BaseSearcher:
    """Base of searchers, with what most of them do alike. No searcher needs it.

    Attributes:
        name: as messages name it.
        preferred_block: designs it likes to be asked for together.
        preferred_window: designs it likes to have in flight.
        adaptive: whether what it asks depends on what it was told.
    """

    name: ClassVar[str] = ""
    preferred_block: int = 1
    preferred_window: int = 4
    adaptive: ClassVar[bool] = True

    def step(self) -> bool:
        """There is no work of its own."""
        return False

    def state(self) -> dict[str, Any] | None:
        """Return None: there is no plain state to store, so trials are replayed."""
        return None

    def restore(self, state: dict[str, Any]) -> None:
        """Never called where there is no state."""
        raise AssertionError(state)


@contextlib.contextmanager
def isolated_rng(seed: int) -> Iterator[None]:
    """Run a library that knows only global randomness, without touching the caller's.

    The global states of ``random`` and ``numpy.random`` are set from the seed inside and put
    back outside. Each entry starts anew: pass a seed that changes with each call.
    """
    before, numpy_before = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)  # noqa: NPY002


def make_searcher(target: Any, options: Mapping[str, Any], *, name: str) -> Searcher:
    """Build a searcher from a registered class and the keys of a study's ``[searcher]`` table.

    Raises:
        SpecificationError: an unknown key, or an illegal value.
    """
    import inspect

    accepted = inspect.signature(target).parameters
    for key in options:
        if key not in accepted:
            raise SpecificationError(f"[searcher]: {unknown('key', key, accepted)}")
    try:
        made = target(**options)
    except SpecificationError as error:
        raise SpecificationError(f"[searcher]: {error}") from error
    except TypeError as error:
        raise SpecificationError(f"searcher {name!r}: {error}") from error
    if not isinstance(made, Searcher):
        raise SpecificationError(
            f"searcher {name!r} is a {type(made).__name__} and lacks part of the contract: "
            "start, ask, tell, step, state, restore"
        )
    return made
