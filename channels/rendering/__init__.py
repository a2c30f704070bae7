"""Templates and variables in, text out: sandboxed, in child processes where it may be dear.

`renderer` is what others call; `child` is run by its path.
"""
