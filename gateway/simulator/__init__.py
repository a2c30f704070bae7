"""Simulated providers on this machine: for the demo, tests and users' own CI.

An independent implementation: nothing here imports `channels`, `webhooks` or the rest of `gateway`,
so that a mistake in the gateway is not repeated in its test.
"""

from __future__ import annotations

from gateway.simulator.app import build_simulator, run

__all__ = ["build_simulator", "run"]
