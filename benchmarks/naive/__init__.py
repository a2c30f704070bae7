"""Programs as people write them first: short, honest, and measured on the gateway's own tables."""
