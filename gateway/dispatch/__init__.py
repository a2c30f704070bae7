"""Dispatch: queue entry → provider → outcome."""
