"""How many trials are asked together: what a study takes where its file does not say."""

from __future__ import annotations

from typing import Any

from archwright.errors import SpecificationError
from archwright.search.study.budget import Budget

__all__ = ["check_layout", "layout"]

_SHARE = 10  # a window is at most this part of the budget: else most of it is asked unlearned


def layout(
    searcher: Any,
    budget: Budget,
    *,
    window: int | None = None,
    chunk: int | None = None,
    replicates: int = 1,
    delivery: str = "in_order",
) -> tuple[int, int]:
    """Return window and chunk; what is None follows from the searcher and the budget.

    >>> layout(object(), Budget(evaluations=1000))  # it says nothing of what it prefers
    (8, 1)
    >>> layout(object(), Budget(evaluations=30))
    (3, 1)
    >>> layout(object(), Budget(evaluations=1000), window=64, chunk=16)
    (64, 16)

    A searcher that learns never has more than a tenth of the budget in flight, unless the file
    says so; one that does not learn (``adaptive = False``) asks the same whatever the window.
    """
    block = max(1, int(getattr(searcher, "preferred_block", 1)))
    wide = max(block, int(getattr(searcher, "preferred_window", 8)))
    if window is None:
        window = wide
        if budget.evaluations is not None and getattr(searcher, "adaptive", True):
            window = min(window, max(1, budget.evaluations // (_SHARE * replicates)))
        if chunk is not None:
            window = max(chunk, window // chunk * chunk)
    if chunk is None:
        most = 1 if delivery == "as_completed" else min(block, window)
        chunk = next(size for size in range(most, 0, -1) if window % size == 0)
    return window, chunk


def check_layout(window: int, chunk: int, delivery: str) -> None:
    """Refuse a window and a chunk that do not fit.

    Raises:
        SpecificationError: what is wrong, and what would be right.
    """
    if window % chunk:
        raise SpecificationError(f"[run]: window ({window}) must be a multiple of chunk ({chunk})")
    if delivery == "as_completed" and chunk != 1:
        raise SpecificationError(
            f"[run].chunk: delivery = 'as_completed' asks trials one by one, found {chunk}; "
            "leave it out"
        )
