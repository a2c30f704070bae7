"""What people write first: short, honest, and measured beside the gateway on the same tables."""
