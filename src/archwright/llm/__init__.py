"""Transformers: shapes, operator graphs, step costs, memory, quality in given formats.

The functions ``quality()`` and ``transformers()`` stand in the modules of the same names.
"""

from archwright.llm.architecture import Transformer, parameter_breakdown
from archwright.llm.batch import StepBatch
from archwright.llm.capacity import assumptions, free_kv_bytes, kv_capacity_tokens, supports
from archwright.llm.compiled import CompiledStepCost
from archwright.llm.engine import EngineLimits, EngineSpec, engine, engines
from archwright.llm.footprint import Footprint, memory
from archwright.llm.hugging_face import load_config, model_types
from archwright.llm.inference import Inference, InferenceSpecification, infer
from archwright.llm.operators import Operator, step_operators
from archwright.llm.parallel import ParallelPlan
from archwright.llm.quality import Quality, Score, benchmarks, own_scores, score
from archwright.llm.step_cost import StepCost, StepEstimate
from archwright.llm.step_costs import StackedSteps, step_costs
from archwright.llm.transformers import transformer

__all__ = [
    "CompiledStepCost",
    "EngineLimits",
    "EngineSpec",
    "Footprint",
    "Inference",
    "InferenceSpecification",
    "Operator",
    "ParallelPlan",
    "Quality",
    "Score",
    "StackedSteps",
    "StepBatch",
    "StepCost",
    "StepEstimate",
    "Transformer",
    "assumptions",
    "benchmarks",
    "engine",
    "engines",
    "free_kv_bytes",
    "infer",
    "kv_capacity_tokens",
    "load_config",
    "memory",
    "model_types",
    "own_scores",
    "parameter_breakdown",
    "score",
    "step_costs",
    "step_operators",
    "supports",
    "transformer",
]
