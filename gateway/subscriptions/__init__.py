"""Events out to other services, as Standard Webhooks.

    message_events, conversation_changes ──plan──▶ deliveries ──send──▶ receivers

A worker plans deliveries of events to each subscription, and sends each until it is accepted.
Messages never wait for this: events are read after they were stored.
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""
