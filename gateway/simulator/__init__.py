"""The providers' side, on this machine: for demos, tests and users' own CI.

An independent second implementation: nothing here imports `channels`, `webhooks` or the rest of
`gateway`, so that a mistake in the gateway is not repeated by what tests it.
"""

from __future__ import annotations

from gateway.simulator.app import build_simulator, run

__all__ = ["build_simulator", "run"]
