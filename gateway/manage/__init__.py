"""What owners and admins look after: templates, senders, suppressions; for /v1 and for the inbox.

Each function works as the caller, under Row Level Security, and raises the `Problem` that the
caller is shown. But for `setup`, whose caller is the operator on a command line.
"""
