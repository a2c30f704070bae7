"""What /v1 and the inbox have in common: templates, senders, suppressions, colleagues; and what
else is done with accounts and API keys.

Each function acts for the caller, under Row Level Security, and raises the `Problem` that the
caller is shown. The exceptions are `setup` and `resealing`, for the operator on a command line.
"""
