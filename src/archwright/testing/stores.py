"""The conformance suite of the store."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from archwright.errors import StoreError
from archwright.search.store import Disk, Store, TableSchema
from archwright.testing.conformance import Checks, ensure

__all__ = ["check_store"]

_STUDY = {"seed": 0, "goal": {"minimize": ["cost"]}}
_SCHEMA = TableSchema(
    {"layers": "int", "ratio": "float", "name": "str", "order": "json", "tied": "bool"},
    ["cost"],
    ["cost"],
    ["environment"],
)


class _Unsynced(Disk):
    """The same writes without waiting for the device: the suite opens thousands of folders."""

    def sync(self, handle: int) -> None:
        del handle


def check_store(store_class: type[Store] = Store, *, every: int = 1) -> None:
    """Check a store against its contract, in a temporary folder.

    A store keeps the layout of :class:`~archwright.search.store.Store` (``store.json``,
    ``tail.arrows``, ``trials/*.parquet``), so that the suite can damage it.

    >>> check_store(every=50)

    Args:
        store_class: the store, or one derived from it.
        every: tear and damage at each so-many-th byte; 1 tears at all and damages
            every third (some seconds).

    Raises:
        ConformanceError: the message lists every broken clause with the likely mistake.
    """
    checks = Checks(f"the store {store_class.__name__}")
    with tempfile.TemporaryDirectory() as name:
        suite = _Suite(checks, store_class, Path(name), every)
        suite.rows_come_back()
        suite.torn_tail_heals()
        suite.damage_is_never_read()
        suite.folders_are_guarded()
        suite.snapshots_come_back()
    checks.finish()


class _Suite:
    def __init__(self, checks: Checks, store_class: type[Store], root: Path, every: int) -> None:
        self.every = every
        self.checks = checks
        self.store_class = store_class
        self.root = root
        self.count = 0

    def new(self) -> Path:
        self.count += 1
        return self.root / f"study-{self.count}"

    def open(self, folder: Path, study: Mapping[str, Any] = _STUDY) -> Store:
        return self.store_class.open(folder, study, _SCHEMA, disk=_Unsynced())

    def filled(self, folder: Path, *, batches: int, seal: bool) -> str:
        """Make a store of some batches; return what it must hold."""
        store = self.open(folder)
        for i in range(batches):
            store.append(_rows(4 * i, 4))
        (store.close if seal else store.abandon)()
        return _expected(4 * batches)

    def held(self, folder: Path) -> str:
        store = self.open(folder)
        store.abandon()
        return _text(store.recorded)

    def rows_come_back(self) -> None:
        for sealed, name in ((True, "close"), (False, "abandon")):
            with self.checks.clause(
                f"flushed rows are there after {name}", "a buffer that is not written by append"
            ):
                folder = self.new()
                expected = self.filled(folder, batches=3, seal=sealed)
                ensure(self.held(folder) == expected, "other rows were read than were appended")
        with self.checks.clause(
            "a continued store appends behind its rows", "a tail written from its start again"
        ):
            folder = self.new()
            for i in range(4):
                store = self.open(folder)
                ensure(store.recorded.num_rows == 4 * i, f"opening {i} found other rows")
                store.append(_rows(4 * i, 4))
                if i % 2:
                    store.seal()
                    store.seal()  # with nothing to seal
                store.abandon()
            ensure(self.held(folder) == _expected(16), "the rows of four runs differ")

    def torn_tail_heals(self) -> None:
        with self.checks.clause(
            "a tail torn at any byte of its last batch loses that batch alone",
            "a length or checksum that is not looked at, or appending behind the torn bytes",
        ):
            folder = self.new()
            self.filled(folder, batches=1, seal=False)
            tail = folder / "tail.arrows"
            whole = tail.stat().st_size
            store = self.open(folder)
            store.append(_rows(4, 4))
            store.abandon()
            data = tail.read_bytes()
            first, second = _expected(4), _expected(8)
            for length in range(whole, len(data), self.every):
                tail.write_bytes(data[:length])
                store = self.open(folder)
                found = _text(store.recorded)
                if (length - whole) % (16 * self.every) == 0:  # go on from here, now and then
                    store.append(_rows(4, 4))
                    store.abandon()
                    again = self.held(folder) == second
                    ensure(again, f"cut to {length} bytes, what is appended then is lost")
                else:
                    store.abandon()
                ensure(found == first, f"cut to {length} bytes, other rows were read")

    def damage_is_never_read(self) -> None:
        with self.checks.clause(
            "a flipped bit in a part is refused", "the digest of the part is not compared"
        ):
            folder = self.new()
            self.filled(folder, batches=3, seal=True)
            parts = sorted((folder / "trials").glob("*.parquet"))
            ensure(parts, "close sealed no part")
            data = parts[0].read_bytes()
            for at in np.linspace(0, len(data) - 1, 48).astype(int):
                parts[0].write_bytes(_flipped(data, int(at)))
                self.refused(folder, f"byte {at} of a part flipped", "is damaged")
            parts[0].unlink()
            self.refused(folder, "a part deleted", "is missing")
        with self.checks.clause(
            "a flipped bit in the tail is never read as data",
            "no checksum, or not of every column",
        ):
            folder = self.new()
            self.filled(folder, batches=2, seal=False)
            tail = folder / "tail.arrows"
            data = tail.read_bytes()
            prefixes = [_expected(4 * i) for i in range(3)]
            for at in range(0, len(data), 3 * self.every):
                tail.write_bytes(_flipped(data, at))
                try:
                    found = self.held(folder)
                except StoreError:
                    same = tail.read_bytes() == _flipped(data, at)
                    ensure(same, f"byte {at} flipped, the refused tail was changed")
                    continue
                ensure(found in prefixes, f"byte {at} flipped, other rows were read")

    def folders_are_guarded(self) -> None:
        with self.checks.clause(
            "a second writer is refused", "the lock is not taken, or not held"
        ):
            folder = self.new()
            store = self.open(folder)
            store.append(_rows(0, 4))
            self.refused(folder, "a second writer", "is being run by")
            store.append(_rows(4, 4))
            store.abandon()
            ensure(self.held(folder) == _expected(8), "the refused writer changed the rows")
        with self.checks.clause(
            "another study is refused with the differences", "only the folder's name is compared"
        ):
            folder = self.new()
            expected = self.filled(folder, batches=1, seal=False)
            other = {"seed": 1, "goal": {"minimize": ["cost"]}}
            self.refused(folder, "another seed", "seed was 0, is 1", other)
            ensure(self.held(folder) == expected, "the refused study changed the rows")
        with self.checks.clause("a newer format is refused", "the format is not read"):
            record = json.loads((folder / "store.json").read_text())
            (folder / "store.json").write_text(json.dumps(record | {"format": 99}))
            self.refused(folder, "format 99", "has format 99")
        with self.checks.clause(
            "a foreign folder is refused and left alone", "mkdir(exist_ok=True)"
        ):
            folder = self.new()
            folder.mkdir()
            (folder / "thesis.tex").write_text("years of work")
            self.refused(folder, "a folder with thesis.tex", "is no study folder")
            names = [path.name for path in folder.iterdir()]
            ensure(names == ["thesis.tex"], f"the refused folder now holds {sorted(names)}")

    def snapshots_come_back(self) -> None:
        with self.checks.clause(
            "snapshots come back, the newest first", "sorted by name without leading zeros"
        ):
            folder = self.new()
            store = self.open(folder)
            for told in (8, 16, 100):
                store.snapshot({"told": told, "searcher": {"state": 2**70 + told}})
            store.abandon()
            store = self.open(folder)
            found = store.snapshots()
            store.abandon()
            order = [state["told"] for state in found]
            ensure(order[:1] == [100] and order == sorted(order)[::-1], f"they came as {order}")
            ensure(found[0]["searcher"] == {"state": 2**70 + 100}, "the newest has another state")
        with self.checks.clause(
            "a damaged snapshot is passed over", "the digest of the snapshot is not compared"
        ):
            newest = max((folder / "searcher").iterdir())
            newest.write_text(newest.read_text().replace('"told": 100', '"told": 101'))
            store = self.open(folder)
            found = store.snapshots()
            store.abandon()
            order = [state["told"] for state in found]
            ensure(101 not in order, "a damaged snapshot was read")
            ensure(order, "the snapshot before it is gone")

    def refused(
        self, folder: Path, what: str, says: str, study: Mapping[str, Any] = _STUDY
    ) -> None:
        try:
            store = self.open(folder, study)
        except StoreError as error:
            ensure(says in str(error), f"{what}: the message lacks {says!r}: {error}")
            return
        store.abandon()
        ensure(False, f"{what}: it was opened")


def _rows(first: int, n: int) -> dict[str, Any]:
    """Return n rows with every kind of column: nulls, NaN, texts, lists, large numbers."""
    numbers = np.arange(first, first + n)
    odd = numbers % 2 == 1
    return {
        "trial": numbers,
        "replicate": np.zeros(n, dtype=np.int32),
        "parent": np.ma.MaskedArray(numbers - 1, mask=numbers == 0),
        "state": np.where(odd, "infeasible", "complete").astype(object),
        "fidelity": ["full"] * n,
        "seed": np.uint64(2**64 - 1) - numbers.astype(np.uint64),
        "param.layers": np.ma.MaskedArray(numbers * 3, mask=odd),
        "param.ratio": numbers / 7,
        "param.name": [f"größe {number}" for number in numbers],
        "param.order": [None if number % 3 == 0 else (int(number), 0) for number in numbers],
        "param.tied": odd,
        "metric.cost": np.where(odd, np.nan, numbers / 3),
        "loss.cost": np.where(odd, np.nan, numbers / 3),
        "constraint.environment": np.where(odd, 0.5, 0.0),
        "feasible": ~odd,
        "reason": ["too large" if is_odd else None for is_odd in odd],
        "seconds": np.full(n, 0.25),
    }


def _expected(n: int) -> str:
    return _text(_SCHEMA.batch(_rows(0, n)))


def _text(table: Any) -> str:
    return repr(table.to_pydict())


def _flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1 << (at % 8)
    return bytes(changed)
