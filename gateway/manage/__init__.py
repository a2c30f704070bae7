"""What /v1 and the inbox change alike: templates, senders, suppressions, whose a conversation is.

Each function works as the caller, under Row Level Security, and raises the `Problem` that the
caller is shown. But for `setup` and `resealing`, whose caller is the operator on a command line.
"""
