"""Memory: DRAM and its controller."""

from archwright.memory import dram
from archwright.memory.accuracy import DramAccuracyRow, dram_accuracy

__all__ = ["DramAccuracyRow", "dram", "dram_accuracy"]
