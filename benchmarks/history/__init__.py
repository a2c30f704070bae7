"""`make bench-history`: a history of millions of messages, read as staff read it.

    python -m benchmarks.history [--quick] [--sizes 200000,2000000] [--json FILE]

Builds each size in a database of its own (on the embedded PostgreSQL, or on the server of
DATABASE_URL, as a superuser), and makes the queries of the API and the inbox, through the store, as
`authenticated` under Row Level Security. Prints times, plans and how the times grow; exits with 1
if a limit is exceeded.
"""
