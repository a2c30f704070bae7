"""Receive: signed request → event → row."""
