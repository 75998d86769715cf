"""Snapshots of a session, and going on from one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from archwright.search.searcher import Proposals
from archwright.search.space import designs_from, plain_designs
from archwright.search.study.blocks import marks

if TYPE_CHECKING:
    from archwright.search.study.session import Session

__all__ = ["restore", "snapshot"]


def snapshot(session: Session) -> None:
    """Keep the state of the searcher and of the session, so that continuing replays little."""
    session.snapshot_at, session.snapshot_told = time.monotonic(), session.told
    state = None
    if session.study.folder is not None and not session.as_completed:
        state = session.study.searcher.state()
    if state is None:
        session.recorder.note_elapsed(session.seconds)
        return
    flight = [
        {
            "first": block.first,
            "columns": plain_designs(session.space, block.designs),
            "fidelity": list(block.fidelity),
            "parents": block.parents.tolist(),
            "given": block.given,
        }
        for block in session.flight
    ]
    session.recorder.snapshot(
        {
            "told": session.told,
            "asks": session.asks,
            "cost": session.cost,
            "stale": session.stale,
            "stopped": session.stopped,
            "begun": 0 if session.begin is None else session.begin.given,
            "flight": flight,
            "searcher": state,
        },
        session.seconds,
    )


def restore(session: Session) -> None:
    """Go to the newest snapshot that the recorded trials reach; without one, to trial 0."""
    recorded = session.recorded
    found = None if session.as_completed else session.recorder.newest_snapshot(len(recorded))
    if found is None:
        return
    session.study.searcher.restore(found["searcher"])
    if session.begin is not None:
        session.begin.given = found["begun"]
    told = session.told = session.asked = session.snapshot_told = found["told"]
    session.asks = found.get("asks", 0)
    if told:
        session.known.add(0, recorded.measured(np.arange(told)))
    session.feasible = int(recorded.feasible[:told].sum())
    if session.memoize:
        fidelity, parents = recorded.inherited(told)
        marked = marks(fidelity, parents, session.truest)
        keys = recorded.keys[:told]
        for number, key in enumerate(map(bytes.__add__, keys, marked) if marked else keys):
            session.memo.setdefault(key, number)
        if len(session.costs) > 1:
            session.note_measured(keys, fidelity)
        session.evaluations = len(session.memo)
    else:
        session.evaluations = told * session.study.replicates
    for kept in found["flight"]:
        count = len(kept["fidelity"])
        block = session.number(
            Proposals(
                designs=designs_from(session.space, kept["columns"]),
                fidelity=tuple(kept["fidelity"]) or None,
                parents=np.array(kept["parents"], dtype=np.int64) if count else None,
            )
        )
        block.given = kept.get("given", False)
        session.submit(block)
    session.cost, session.stale = found["cost"], found["stale"]
