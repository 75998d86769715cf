"""Conformance suites for our parts and for users' own, and small environments to test with."""

from archwright.testing.toys import ToyEnvironment, toy_environment

__all__ = ["ToyEnvironment", "toy_environment"]
