"""/v1: the HTTP API for internal services and staff."""
