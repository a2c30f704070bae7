"""Pages for owners and admins: templates, senders, suppressions. Plain forms, with no script."""
