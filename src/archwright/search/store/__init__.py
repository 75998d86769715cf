"""The store: one folder a study, exact under kills, readable without Archwright."""

from archwright.search.store.disk import Disk
from archwright.search.store.durability import durability
from archwright.search.store.folder import Store
from archwright.search.store.reading import read_study, read_trials, stored_schema
from archwright.search.store.schema import TableSchema
from archwright.search.store.verify import Verification, verify

__all__ = [
    "Disk",
    "Store",
    "TableSchema",
    "Verification",
    "durability",
    "read_study",
    "read_trials",
    "stored_schema",
    "verify",
]
