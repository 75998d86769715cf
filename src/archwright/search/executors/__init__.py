"""Executors: where blocks of designs are measured. None changes what is asked."""

from archwright.search.executors.measure import Block, Executor, measure
from archwright.search.executors.named import make_executor
from archwright.search.executors.processes import Processes
from archwright.search.executors.serial import Serial

__all__ = ["Block", "Executor", "Processes", "Serial", "make_executor", "measure"]
