"""How much the gateway carries on this machine, beside naive programs and PostgreSQL alone."""
