"""Requests to URLs that others gave: bounded in size and time, and never to internal addresses.

`public` defines which addresses may be called, `heads` limits what a server sends before its
answer.
"""
