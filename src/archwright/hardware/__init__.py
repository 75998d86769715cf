"""Devices, links, prices: the facts of hardware with their origin.

The lists ``devices()`` and ``prices()`` stand in the modules of the same names. How long a
kernel takes stands in ``archwright.hardware.timing``; how well that is known, in ``accuracy``;
how to fit it to measurements of one's own, in ``fitting``.
"""

from archwright.hardware.devices import (
    Device,
    Link,
    MatmulFraction,
    Tier,
    device,
    matmul_fraction,
)
from archwright.hardware.offers import Offer
from archwright.hardware.operators import Graph, Operator
from archwright.hardware.prices import Price, cheapest, load_offers, load_prices

__all__ = [
    "Device",
    "Graph",
    "Link",
    "MatmulFraction",
    "Offer",
    "Operator",
    "Price",
    "Tier",
    "cheapest",
    "device",
    "load_offers",
    "load_prices",
    "matmul_fraction",
]
