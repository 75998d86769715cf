"""The store: one folder a study, exact under kills, readable without Archwright."""

from archwright.search.store.disk import Disk
from archwright.search.store.folder import Store, read_study, read_trials
from archwright.search.store.schema import TableSchema

__all__ = ["Disk", "Store", "TableSchema", "read_study", "read_trials"]
