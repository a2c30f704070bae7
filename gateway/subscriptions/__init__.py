"""Events out to other services, as Standard Webhooks.

    message_events, conversation_changes ──plan──▶ deliveries ──send──▶ receivers

A worker plans what each subscription is to be told, and sends what is due, each until it is taken.
Nothing here is in the way of a message: events are read after they were stored.
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""
