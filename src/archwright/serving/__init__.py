"""Serving: workloads and traces, what an instance can carry, and the fleet that is cheapest."""

from archwright.hardware.offers import Offer
from archwright.llm import EngineLimits
from archwright.serving.fleet_environment import (
    FleetEnvironment,
    FleetSpecification,
    fleet_environment,
)
from archwright.serving.limits import Limits, Rule
from archwright.serving.plan import CountLimit, FleetPlan, GpuProfile, Way, plan_fleet
from archwright.serving.profile import InstanceType, Profile, profile
from archwright.serving.queueing import erlang_c, p99_wait_s
from archwright.serving.trace import Trace, read_trace
from archwright.serving.workload import Workload, generate, workload

__all__ = [
    "CountLimit",
    "EngineLimits",
    "FleetEnvironment",
    "FleetPlan",
    "FleetSpecification",
    "GpuProfile",
    "InstanceType",
    "Limits",
    "Offer",
    "Profile",
    "Rule",
    "Trace",
    "Way",
    "Workload",
    "erlang_c",
    "fleet_environment",
    "generate",
    "p99_wait_s",
    "plan_fleet",
    "profile",
    "read_trace",
    "workload",
]
