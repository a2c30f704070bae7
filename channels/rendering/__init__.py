"""Rendering of templates: sandboxed, and in child processes if it may be expensive.

Others call `renderer`; `child` is run by its path.
"""
