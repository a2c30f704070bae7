"""The table of all endpoints of /v1: the routes and the OpenAPI description are made from it."""

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
