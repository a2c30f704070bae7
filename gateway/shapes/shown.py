"""Rows as the API shows them: in answers, in streams, and to subscriptions."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]


def shown(row: Row) -> Row:
    """A message as the API shows it."""
    # Rows from before the gateway may have null in columns that the gateway always fills.
    return {
        **row,
        "attachments": row["attachments"] or [],
        "metadata": row["metadata"] or {},
        "status": row["status"] or "pending",
    }


def shown_conversation(row: Row) -> Row:
    """A conversation as the API shows it."""
    contact = ("lead_id", "client_id", "name", "addresses")
    kept = {k: v for k, v in row.items() if k not in (*contact, "last_message_id")}
    last = row["last_message"]
    return {
        **kept,
        "contact": {name: row[name] for name in contact},
        "last_message": shown(last) if last else None,
    }
