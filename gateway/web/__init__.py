"""The web process around the verbs: its connections, the endpoints beside `/v1`, its stop."""
