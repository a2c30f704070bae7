"""How to send with each provider: one module or folder per provider, which has its name."""

from pkgutil import iter_modules

NAMES = tuple(sorted(module.name for module in iter_modules(__path__)))
"""Every provider, without importing any; `gateway.registry` has what they are."""
