"""A tenant with everything it needs, and the processes that serve it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import secrets
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.postgres import Postgres
from benchmarks.processes import ROOT, Child, free_port
from benchmarks.traffic import SOURCE, TEMPLATE, Known, number
from channels.model import Channel
from gateway.ids import new_id
from gateway.manage import setup
from gateway.store.database import Database
from gateway.vault import Vault

SECRET_KEY = bytes(range(32))
SENDERS = {
    Channel.SMS: "+15551230001",
    Channel.EMAIL: "clinic@example.com",
    Channel.WHATSAPP: "+15551230001",
}


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """An organization, its API key, and the keys with which its providers sign."""

    organization_id: UUID
    key: str
    twilio: UUID
    token: str
    sendgrid: UUID
    mail_key: ec.EllipticCurvePrivateKey
    mail_public_key: str
    meta: UUID
    app_secret: str
    phone_number_id: str


@dataclass(kw_only=True)
class Stage:
    """The database, the tenant and the processes that paths are measured with."""

    postgres: Postgres
    tenant: Tenant
    folder: Path
    port: int
    provider_port: int
    contacts: int
    profiles: Path | None = None  # the folder for samples of web and worker, if they are profiled

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of the processes."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {
            **kept,
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": self.postgres.dsn,
            "GATEWAY_SECRET_KEYS": base64.b64encode(SECRET_KEY).decode(),
            "GATEWAY_DATA": str(self.folder / "gateway"),
            "PORT": str(self.port),
            "PUBLIC_URL": f"http://127.0.0.1:{self.port}",
            "TWILIO_API_URL": f"http://127.0.0.1:{self.provider_port}",
            **more,
        }

    @contextmanager
    def web(self, concurrency: int = 1) -> Iterator[Child]:
        """`gateway web`, when it is ready."""
        env = self.environment(WEB_CONCURRENCY=str(concurrency))
        words = self._gateway("web", "--host", "127.0.0.1")
        with running(Child("web", words, env, self.folder)) as child:
            child.wait_until("web is ready", concurrency)
            yield child

    @contextmanager
    def worker(self, concurrency: int = 256) -> Iterator[Child]:
        """`gateway worker`, when it is ready."""
        with self.workers(1, concurrency) as (child,):
            yield child

    @contextmanager
    def workers(self, count: int, concurrency: int) -> Iterator[list[Child]]:
        """Several workers, started together, when all are ready."""
        env = self.environment(WORKER_CONCURRENCY=str(concurrency))
        with ExitStack() as stack:
            children = [
                stack.enter_context(
                    running(Child(f"worker{n}", self._gateway("worker"), env, self.folder))
                )
                for n in range(count)
            ]
            for child in children:
                child.wait_until("worker is ready")
            yield children

    @contextmanager
    def provider(self, *words: str) -> Iterator[Child]:
        """The fake provider, when it is ready."""
        line = ["-m", "benchmarks.provider", str(self.provider_port), *words]
        with running(Child("provider", line, self.environment(), self.folder)) as child:
            child.wait_until("provider is ready")
            yield child

    @contextmanager
    def naive(self, module: str, *words: str, count: int = 1) -> Iterator[Child]:
        """A naive program, when so many of its processes are ready."""
        line = ["-m", f"benchmarks.naive.{module}", *words]
        env = self.environment(
            TWILIO_TOKEN=self.tenant.token,
            SENDGRID_KEY=self.tenant.mail_public_key,
            META_SECRET=self.tenant.app_secret,
        )
        with (
            self.postgres.plain(),
            running(Child(f"naive-{module}", line, env, self.folder)) as child,
        ):
            child.wait_until("is ready", count)
            yield child

    def skeleton(self, concurrency: int = 1) -> AbstractContextManager[Child]:
        """The program that does as little as possible, instead of `web`."""
        return self.naive("skeleton", str(concurrency), count=concurrency)

    def _gateway(self, name: str, *words: str) -> list[str]:
        if self.profiles is None:
            return ["-m", "gateway", name, *words]
        return ["-m", "benchmarks.profiled", str(self.profiles / name), name, *words]

    def stats(self) -> dict[str, Any]:
        """The counts of the fake provider."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.provider_port}/stats") as answer:
            found: dict[str, Any] = orjson.loads(answer.read())
            return found

    def hook(self, provider: str, account: UUID, event: str) -> str:
        """The URL that a provider calls."""
        return f"http://127.0.0.1:{self.port}/webhooks/{provider}/{account}/{event}"

    def sent(self, channel: Channel, count: int) -> list[Known]:
        """Store messages as if a provider had just taken them."""
        mark = {Channel.SMS: "SM", Channel.EMAIL: "sg", Channel.WHATSAPP: "wamid."}[channel]
        known = [
            Known(new_id(), mark + secrets.token_hex(16), n % self.contacts) for n in range(count)
        ]
        mine = str(self.tenant.organization_id)
        with (
            self.postgres.db.cursor() as cursor,
            cursor.copy(
                "COPY public.messages (id, organization_id, channel, direction, from_address,"
                " to_address, body, status, external_id, conversation_id) FROM STDIN"
            ) as copy,
        ):
            for one in known:
                is_mail, n = channel is Channel.EMAIL, one.contact
                to = f"person{n}@example.com" if is_mail else number(n)
                copy.write_row((
                    str(one.id), mine, channel.value, "outbound", SENDERS[channel], to,
                    "Hello, your appointment is on Tuesday at 10:30.", "sending", one.external_id,
                    conversation_of(self.tenant.organization_id, n),
                ))  # fmt: skip
        self.postgres.db.execute("ANALYZE public.messages")
        return known


def conversation_of(organization_id: UUID, contact: int) -> str:
    """The id of the conversation with a contact, as the database would make it."""
    seed = f"{organization_id}{number(contact)}".encode()
    return str(UUID(hashlib.md5(seed, usedforsecurity=False).hexdigest()))


@contextmanager
def running(child: Child) -> Iterator[Child]:
    """A child that is stopped at the end of the block."""
    try:
        yield child
    finally:
        child.stop()


def make_stage(dsn: str, folder: Path, contacts: int) -> Stage:
    """A stage on a migrated database."""
    postgres = Postgres(dsn)
    tenant = asyncio.run(_tenant(dsn))
    _fill(postgres, tenant, contacts)
    return Stage(
        postgres=postgres,
        tenant=tenant,
        folder=folder,
        port=free_port(),
        provider_port=free_port(),
        contacts=contacts,
    )


async def _tenant(dsn: str) -> Tenant:
    mail_key = ec.generate_private_key(ec.SECP256R1())
    public = mail_key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    mail_public_key = base64.b64encode(public).decode()
    token, app_secret = secrets.token_hex(16), secrets.token_hex(16)
    phone_number_id = str(10**14 + secrets.randbelow(10**14))
    credentials = {
        "twilio": {"account_sid": f"AC{secrets.token_hex(16)}", "auth_token": token},
        "sendgrid": {
            "api_key": f"SG.{secrets.token_urlsafe(16)}.{secrets.token_urlsafe(32)}",
            "webhook_public_key": mail_public_key,
        },
        "meta": {
            "access_token": f"EAA{secrets.token_hex(40)}",
            "phone_number_id": phone_number_id,
            "app_secret": app_secret,
            "verify_token": secrets.token_urlsafe(16),
        },
    }
    channels = {"twilio": Channel.SMS, "sendgrid": Channel.EMAIL, "meta": Channel.WHATSAPP}
    database = await Database.connect(dsn, size=2)
    try:
        organization_id = await setup.create_organization(database, "Clinic", country="US")
        made = await setup.create_key(database, organization_id, "bench", is_test=False)
        ids = {}
        for provider, given in credentials.items():
            ids[provider] = await setup.add_account(
                database, Vault((SECRET_KEY,)), organization_id, provider, given
            )
            channel = channels[provider]
            await setup.add_sender(
                database, ids[provider], channel, SENDERS[channel], is_default=True, rate=None
            )
    finally:
        await database.close()
    return Tenant(
        organization_id=organization_id,
        key=made.key,
        twilio=ids["twilio"],
        token=token,
        sendgrid=ids["sendgrid"],
        mail_key=mail_key,
        mail_public_key=mail_public_key,
        meta=ids["meta"],
        app_secret=app_secret,
        phone_number_id=phone_number_id,
    )


def _fill(postgres: Postgres, tenant: Tenant, contacts: int) -> None:
    """Store the template, and the conversations of known contacts; every fourth is a lead."""
    mine = tenant.organization_id
    postgres.db.execute(
        "INSERT INTO public.message_templates (organization_id, name, type, content, variables)"
        " VALUES (%s, %s, 'sms', %s, '{name,doctor,day,time,ticket}')",
        (mine, TEMPLATE, SOURCE),
    )
    with postgres.db.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO public.leads (organization_id, first_name, last_name, phone, email)"
            " VALUES (%s, 'Person', %s, %s, %s)",
            [(mine, str(n), number(n), f"person{n}@example.com") for n in range(0, contacts, 4)],
        )
        with cursor.copy(
            "COPY gateway.conversations (organization_id, id, channels) FROM STDIN"
        ) as copy:
            for n in range(contacts):
                copy.write_row((mine, conversation_of(mine, n), "{sms,email,whatsapp}"))
        with cursor.copy(
            "COPY gateway.conversation_addresses (organization_id, address, conversation_id,"
            " written) FROM STDIN"
        ) as copy:
            for n in range(contacts):
                copy.write_row((mine, number(n), conversation_of(mine, n), number(n)))
    postgres.db.execute(
        "UPDATE gateway.conversations c SET lead_id = l.id"
        " FROM gateway.conversation_addresses a JOIN public.leads l"
        " ON l.organization_id = a.organization_id AND l.phone = a.address"
        " WHERE c.organization_id = a.organization_id AND c.id = a.conversation_id"
    )
    postgres.db.execute("VACUUM ANALYZE")
