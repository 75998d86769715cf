"""Transformers: shapes, operator graphs, step times from a roofline, quality in given formats.

The functions ``quality()`` and ``transformers()`` stand in the modules of the same names.
"""

from archwright.llm.architecture import Transformer, parameter_breakdown
from archwright.llm.batch import StepBatch
from archwright.llm.footprint import Footprint, memory
from archwright.llm.hugging_face import load_config, model_types
from archwright.llm.operators import Operator, step_operators
from archwright.llm.parallel import ParallelPlan
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
from archwright.llm.transformers import transformer

__all__ = [
    "Footprint",
    "Operator",
    "ParallelPlan",
    "Quality",
    "Score",
    "StepBatch",
    "Transformer",
    "assumptions",
    "benchmarks",
    "decode_step_s",
    "free_kv_bytes",
    "kv_capacity_tokens",
    "load_config",
    "memory",
    "model_types",
    "own_scores",
    "parameter_breakdown",
    "prefill_s",
    "score",
    "shards",
    "step_operators",
    "supports",
    "transformer",
]
