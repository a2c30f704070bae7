"""Events as they happen, for as many streams as a process may have.

    message_events, conversation_changes ──NOTIFY, the clock──▶ feed of an organization ──▶ streams

One connection of the process listens. A feed reads once for all streams of its organization, under
Row Level Security, and hands each event to each of them (`watcher`); a stream that was away
first reads what it has missed. `Live.watch` is what the API and the inbox use.
"""
