"""PROVIDERS: one row per provider, the only place that names them all.

A row joins the two halves of a provider: how we send (`channels.providers.<name>`) and what it
tells us (`webhooks.<name>`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode
from uuid import UUID

import webhooks.mailgun
import webhooks.meta
import webhooks.postmark
import webhooks.resend
import webhooks.sendgrid
import webhooks.ses
import webhooks.smtp
import webhooks.twilio
from channels.errors import InvalidCredentials
from channels.model import Account, Channel, ProviderTemplate, SendHalf
from channels.providers import mailgun, meta, postmark, resend, sendgrid, ses, smtp, twilio
from gateway import addresses
from webhooks.model import WebhookHalf

_SENDERS = {
    Channel.SMS: "give a number as +15551230001, a short code, or a name of up to 11 letters and "
    "digits",
    Channel.WHATSAPP: "give its number as +15551230001",
    Channel.CALL: "give a number as +15551230001",
    Channel.EMAIL: "give a mailbox as support@example.com",
}


class NotPossibleError(ValueError):
    """The provider cannot do what was asked; `problems` are (field of the request, reason)."""

    def __init__(self, *problems: tuple[str, str]) -> None:
        super().__init__("; ".join(f"{field} {reason}" for field, reason in problems))
        self.problems = problems


def no_credentials(_account: Account, _url: str) -> Mapping[str, str]:
    """No headers: this provider hands out its files to everybody."""
    return {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Provider:
    """One row: what the provider carries, its halves, and its webhooks.

    - `title`: its name within a sentence, for people.
    - `events`: its webhooks; `status_event` is the one for reports about a channel's messages, if
      each message can name its URL; `large_events` may have bodies as large as mails.
    - `retry_suffix`: appended to every webhook URL that the provider is given.
    - `url_secrets`: the credential that an event's URL contains, if the provider does not sign.
    - `limits`: its own, where they are below ours: characters of a text, or bytes of a whole mail.
    - `can_be_asked`: whether `find` ever has an answer; `is_asked_by_sending`: only sending the
      request again, under its key, has. `identity`: the credentials that identify the account.
    - `more_seconds`: how much longer than others it may take to answer a send.
    - `file_url`: reads the URL of a file from the provider's answer for another URL: "" if it names
      none, None if that answer is the file; `authorize`: the headers to fetch a URL with, with
      credentials only for the provider's own hosts. `may_pass`: whether an error of such a host
      (4xx, the beginning of its body) may pass, if the status does not tell.
    - `sender_credential`: its own id of the account's sender. Events about another sender belong to
      another account of the organization, or are not ours. `app_secrets`: the credentials that sign
      its requests for all senders of one app.
    - `pool_credential`: its pool of senders: its list may not say which of them sent a message.
    - `template_names`: the options that name a template at the provider.
    - `reads_consent`: its half reads STOP and START itself; else `gateway.receive.reading` does.
    - `can_quote`: whether an id is that of a message of its own; None: it quotes no messages.
    - `close`: closes the connections that the send half keeps.
    """

    carries: tuple[Channel, ...]
    send: SendHalf
    webhook: WebhookHalf
    check_credentials: Callable[[Mapping[str, str]], dict[str, str]]
    events: tuple[str, ...]
    title: str = "the provider"
    status_event: Mapping[Channel, str] = field(default_factory=dict)
    retry_suffix: str = ""
    large_events: tuple[str, ...] = ()
    url_secrets: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[Channel, int] = field(default_factory=dict)
    identity: tuple[str, ...] = ()
    can_be_asked: bool = True
    is_asked_by_sending: bool = False
    more_seconds: float = 0.0
    file_url: Callable[[str, bytes], str | None] | None = None
    may_pass: Callable[[bytes], bool] | None = None
    sender_credential: str | None = None
    app_secrets: tuple[str, ...] = ()
    pool_credential: str = ""
    template_names: tuple[str, ...] = ()
    reads_consent: bool = False
    can_quote: Callable[[str], bool] | None = None
    close: Callable[[], Awaitable[None]] | None = None
    authorize: Callable[[Account, str], Mapping[str, str]] = no_credentials


PROVIDERS: dict[str, Provider] = {
    "twilio": Provider(
        title="Twilio",
        carries=(Channel.SMS, Channel.WHATSAPP, Channel.CALL),
        send=twilio.half,
        webhook=webhooks.twilio,
        check_credentials=twilio.validate_credentials,
        identity=twilio.IDENTITY,
        events=webhooks.twilio.EVENTS,
        status_event={
            Channel.SMS: "status",
            Channel.WHATSAPP: "status",
            Channel.CALL: "call-status",
        },
        retry_suffix=twilio.RETRIES,
        limits={Channel.WHATSAPP: 1600},  # https://www.twilio.com/docs/api/errors/21617
        pool_credential="messaging_service_sid",
        template_names=("content_sid",),
        reads_consent=True,
        authorize=twilio.authorize,
    ),
    "meta": Provider(
        title="Meta",
        carries=(Channel.WHATSAPP,),
        send=meta.half,
        can_be_asked=False,
        webhook=webhooks.meta,
        check_credentials=meta.validate_credentials,
        events=("events",),
        authorize=meta.authorize,
        file_url=meta.file_url,
        may_pass=meta.may_pass,
        sender_credential="phone_number_id",
        app_secrets=webhooks.meta.SECRETS,
        template_names=("name", "language"),
        reads_consent=True,
        can_quote=meta.is_message_id,
    ),
    "sendgrid": Provider(
        title="SendGrid",
        carries=(Channel.EMAIL,),
        send=sendgrid.half,
        can_be_asked=False,
        webhook=webhooks.sendgrid,
        check_credentials=sendgrid.validate_credentials,
        events=("events", "inbound"),
        large_events=("inbound",),
        url_secrets={"inbound": "inbound_secret"},
    ),
    "mailgun": Provider(
        title="Mailgun",
        carries=(Channel.EMAIL,),
        send=mailgun.half,
        webhook=webhooks.mailgun,
        check_credentials=mailgun.validate_credentials,
        limits={Channel.EMAIL: mailgun.MOST_BYTES},
        identity=mailgun.IDENTITY,
        events=("events", "inbound"),
        large_events=("inbound",),
        authorize=mailgun.authorize,
    ),
    "postmark": Provider(
        title="Postmark",
        carries=(Channel.EMAIL,),
        send=postmark.half,
        webhook=webhooks.postmark,
        check_credentials=postmark.validate_credentials,
        limits={Channel.EMAIL: postmark.MOST_BYTES},
        identity=postmark.IDENTITY,
        events=("events", "inbound"),
        large_events=("inbound",),
        url_secrets={"events": "webhook_secret", "inbound": "webhook_secret"},
    ),
    "resend": Provider(
        title="Resend",
        carries=(Channel.EMAIL,),
        send=resend.half,
        webhook=webhooks.resend,
        check_credentials=resend.validate_credentials,
        identity=resend.IDENTITY,
        is_asked_by_sending=True,
        events=("events",),
        authorize=resend.authorize,
    ),
    "ses": Provider(
        title="Amazon SES",
        carries=(Channel.EMAIL,),
        send=ses.half,
        can_be_asked=False,
        webhook=webhooks.ses,
        check_credentials=ses.validate_credentials,
        events=("events", "inbound"),
        large_events=("inbound",),
    ),
    "smtp": Provider(
        title="the mail server",
        carries=(Channel.EMAIL,),
        send=smtp.half,
        can_be_asked=False,
        more_seconds=smtp.MORE_SECONDS,
        webhook=webhooks.smtp,
        check_credentials=smtp.validate_credentials,
        events=("inbound",),
        large_events=("inbound",),
        url_secrets={"inbound": "webhook_secret"},
        close=smtp.half.close,
    ),
}

# By provider: the channels of the messages that its reports may be about.
CARRIED: Mapping[str, Sequence[str]] = {name: row.carries for name, row in PROVIDERS.items()}


def webhook_urls(
    base_url: str, provider: str, account_id: UUID, credentials: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The URLs to paste at the provider, by event; with secrets if the credentials are given.

    Empty for a provider that only another version of the gateway has.
    """
    row = PROVIDERS.get(provider)
    if row is None:
        return {}
    urls = {}
    for event in row.events:
        secret = (credentials or {}).get(row.url_secrets.get(event, ""))
        query = "?" + urlencode({"secret": secret}) if secret else ""
        path = f"/webhooks/{provider}/{account_id}/{event}"
        urls[event] = f"{base_url}{path}{query}{row.retry_suffix}"
    return urls


def missing_secrets(provider: str, credentials: Mapping[str, str]) -> dict[str, str]:
    """By event, the credential that its URL would contain, if the account does not have it."""
    named = PROVIDERS[provider].url_secrets
    return {event: name for event, name in named.items() if not credentials.get(name)}


def status_url(
    base_url: str, provider: str, account_id: UUID, channel: Channel, message_id: UUID
) -> str:
    """The URL for reports about one message, with our id, so that early reports find it.

    Empty if all reports of the provider go to one URL, and identify their message otherwise.
    """
    row = PROVIDERS[provider]
    if channel not in row.status_event:
        return ""
    path = f"/webhooks/{provider}/{account_id}/{row.status_event[channel]}"
    return f"{base_url}{path}?message_id={message_id}{row.retry_suffix}"


def limit(provider: str | None, channel: Channel) -> int | None:
    """The provider's own limit for a text or mail on a channel, if it has one."""
    row = PROVIDERS.get(provider or "")
    return row.limits.get(channel) if row else None


def unnamed(provider: str | None, template: ProviderTemplate | None) -> list[tuple[str, str]]:
    """The options that the provider needs to identify a template, and that are missing."""
    row = PROVIDERS.get(provider or "")
    if row is None or template is None:
        return []
    return [
        (f"options.{name}", f"is missing: {row.title} knows its templates by it")
        for name in row.template_names
        if not getattr(template, name)
    ]


def check_credentials(provider: str, given: Mapping[str, str]) -> dict[str, str]:
    """The credentials in their stored form; raises `NotPossibleError` with all problems."""
    row = _row(provider)
    try:
        return row.check_credentials(given)
    except InvalidCredentials as error:
        problems = [(f"credentials.{name}", reason) for name, reason in error.problems]
        raise NotPossibleError(*problems) from None


def sender_address(provider: str, channel: Channel, address: str) -> str:
    """A sender's address in its stored form; raises `NotPossibleError`."""
    row = _row(provider)
    if channel not in row.carries:
        carried = ", ".join(row.carries)
        raise NotPossibleError(("channel", f"{provider} carries {carried}, not {channel}"))
    stored = addresses.sender(channel, address)
    if stored is None:
        raise NotPossibleError(("address", f"is not a sender for {channel}: {_SENDERS[channel]}"))
    return stored


def _row(provider: str) -> Provider:
    if provider not in PROVIDERS:
        known = ", ".join(sorted(PROVIDERS))
        raise NotPossibleError(("provider", f"{provider!r} is not built yet; there are {known}"))
    return PROVIDERS[provider]
