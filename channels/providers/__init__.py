"""How to send with each provider: one module or folder for each, with its name."""

from pkgutil import iter_modules

NAMES = tuple(sorted(module.name for module in iter_modules(__path__)))
"""All providers, without importing any; `gateway.registry` describes them."""
