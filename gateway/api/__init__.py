"""/v1: what internal services and staff can ask."""
