"""What can be seen of a running process: its log lines, and its metrics for Prometheus."""
