"""Parallel plans: over how many ranks a transformer is cut, and along what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from archwright.errors import SpecificationError
from archwright.llm.architecture import Transformer
from archwright.specification import option

__all__ = ["WHOLE", "ParallelPlan"]


@dataclass(frozen=True, kw_only=True)
class ParallelPlan:
    """Widths along which one replica of a model is cut.

    A pipeline stage has ``tensor × data_parallel_attention`` ranks. Attention and dense blocks
    are cut over the `tensor` ranks of one group; each group serves a batch of its own. Routed
    experts are cut over all ranks of the stage: over `expert` by whole experts, over what is
    left by their width.

    >>> ParallelPlan(tensor=8, expert=4).moe_tensor
    2

    Attributes:
        tensor: ranks that share each layer.
        pipeline: stages of equally many layers.
        expert: ranks, or groups of ranks, that hold different experts.
        data_parallel_attention: groups whose attention runs different requests.
    """

    tensor: int = option(1, doc="ranks that share each layer", low=1)
    pipeline: int = option(1, doc="stages of equally many layers", low=1)
    expert: int = option(1, doc="groups of ranks with different experts", low=1)
    data_parallel_attention: int = option(1, doc="groups with batches of their own", low=1)

    def __post_init__(self) -> None:
        for field in ("tensor", "pipeline", "expert", "data_parallel_attention"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SpecificationError(f"{field}: {value!r}, expected a whole number from 1 up")
        if self.stage_ranks % self.expert:
            can = _listed(_divisors(self.stage_ranks))
            raise SpecificationError(
                f"expert: {self.expert} does not divide the {self.stage_ranks} ranks of a stage "
                f"(tensor {self.tensor} x data_parallel_attention "
                f"{self.data_parallel_attention}); {can} can"
            )

    @property
    def stage_ranks(self) -> int:
        """Ranks of one pipeline stage."""
        return self.tensor * self.data_parallel_attention

    @property
    def ranks(self) -> int:
        """Ranks of one replica."""
        return self.stage_ranks * self.pipeline

    @property
    def moe_tensor(self) -> int:
        """Ranks that share each expert."""
        return self.stage_ranks // self.expert

    def reason(self, model: Transformer) -> str | None:
        """Return why a model cannot be cut so, None where it can.

        >>> from archwright.llm import transformer
        >>> ParallelPlan(tensor=8).reason(transformer("Qwen2.5-7B"))
        'the 28 heads of Qwen2.5-7B cannot be cut into 8; 1, 2, 4, 7, 14, 28 can'
        """
        t, dense = self.tensor, model.moe_layers < model.layers
        shared = model.shared_experts * model.moe_intermediate
        cuts = [("heads", model.heads, t), ("layers", model.layers, self.pipeline)]
        if dense:
            cuts.append(("columns of the feed-forward blocks", model.intermediate, t))
        if model.moe_layers:
            cuts.append(("experts", model.experts, self.expert))
            cuts.append(("columns of an expert", model.moe_intermediate, self.moe_tensor))
        elif self.expert > 1:
            return f"{model.name} has no experts to be cut into {self.expert}; 1 can"
        if shared:
            cuts.append(("columns of the shared experts", shared, t))
        for what, total, width in cuts:
            if total % width:
                return _cannot(f"the {total} {what} of {model.name}", width, _divisors(total))
        if model.mla_ranks is None and not _kv_cut(model)(t):
            what = f"the {model.kv_heads} KV heads of {model.name}, cut or copied,"
            return _cannot(what, t, [n for n in _divisors(model.heads) if _kv_cut(model)(n)])
        return None

    def check(self, model: Transformer) -> None:
        """Raise where a model cannot be cut so.

        Raises:
            SpecificationError: with the reason and the widths that are possible.
        """
        reason = self.reason(model)
        if reason is not None:
            raise SpecificationError(reason)

    def stage_layers(self, model: Transformer, stage: int | None = None) -> range:
        """Return the layers of a stage, of the whole model for None.

        >>> from archwright.llm import transformer
        >>> ParallelPlan(pipeline=4).stage_layers(transformer("Llama-3.1-8B"), 1)
        range(8, 16)

        Raises:
            SpecificationError: there is no such stage.
        """
        if stage is None:
            return range(model.layers)
        if not 0 <= stage < self.pipeline:
            raise SpecificationError(f"stage: {stage}, expected 0 to {self.pipeline - 1}")
        size = model.layers // self.pipeline
        return range(stage * size, (stage + 1) * size)


WHOLE = ParallelPlan()
"""The model on one device, not cut at all."""


def _kv_cut(model: Transformer) -> Callable[[int], bool]:
    """Return whether so many ranks each hold equally many KV heads, copies allowed."""
    return lambda t: model.kv_heads % t == 0 or t % model.kv_heads == 0


def _divisors(total: int) -> list[int]:
    return [n for n in range(1, total + 1) if total % n == 0]


def _listed(widths: list[int]) -> str:
    return ", ".join(map(str, widths[:12])) + (", …" if len(widths) > 12 else "")


def _cannot(what: str, width: int, can: list[int]) -> str:
    return f"{what} cannot be cut into {width}; {_listed(can)} can"
