"""Settings of the whole test suite."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile(
    "quick",
    max_examples=40,
    deadline=None,  # timings are benchmarks, never assertions
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("quick")
