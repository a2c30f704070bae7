"""Accept: request → rendered row and queue entry → 202."""
