"""The log lines of a process, and its metrics for Prometheus."""
