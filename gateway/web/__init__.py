"""The web process apart from the API: connections, the endpoints outside of `/v1`, stopping."""
