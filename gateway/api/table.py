"""/v1: what internal services and staff can ask. One table of endpoints, from which routes and
the OpenAPI description are made."""

from gateway.api import (
    accounts,
    contacts,
    conversations,
    events,
    export,
    keys,
    media,
    messages,
    senders,
    subscriptions,
    suppressions,
    templates,
    why,
)

ENDPOINTS = [
    *export.ENDPOINTS,  # before /v1/messages/{id}
    *messages.ENDPOINTS,
    *why.ENDPOINTS,
    *templates.ENDPOINTS,
    *media.ENDPOINTS,
    *contacts.ENDPOINTS,
    *conversations.ENDPOINTS,
    *events.ENDPOINTS,
    *suppressions.ENDPOINTS,
    *subscriptions.ENDPOINTS,
    *accounts.ENDPOINTS,
    *senders.ENDPOINTS,
    *keys.ENDPOINTS,
]
