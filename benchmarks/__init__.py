"""How much the gateway handles on this machine, beside naive programs and PostgreSQL alone."""
