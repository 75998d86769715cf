"""Number formats of weights and KV cache, and their effect on quality."""

from archwright.formats.quality import (
    KvFormat,
    Recovery,
    WeightFormat,
    kv_format,
    kv_formats,
    recovery,
    weight_format,
    weight_formats,
)

__all__ = [
    "KvFormat",
    "Recovery",
    "WeightFormat",
    "kv_format",
    "kv_formats",
    "recovery",
    "weight_format",
    "weight_formats",
]
