"""Transformers: shapes, step times from a roofline, quality in given formats.

The functions ``quality()`` and ``transformers()`` stand in the modules of the same names.
"""

from archwright.llm.quality import Quality, Score, benchmarks, own_scores, score
from archwright.llm.roofline import (
    assumptions,
    decode_step_s,
    free_kv_bytes,
    kv_capacity_tokens,
    prefill_s,
    shards,
    supports,
)
from archwright.llm.transformers import Transformer, transformer

__all__ = [
    "Quality",
    "Score",
    "Transformer",
    "assumptions",
    "benchmarks",
    "decode_step_s",
    "free_kv_bytes",
    "kv_capacity_tokens",
    "own_scores",
    "prefill_s",
    "score",
    "shards",
    "supports",
    "transformer",
]
