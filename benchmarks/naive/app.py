"""FastAPI, SQLAlchemy and twilio's client: messages are sent within the request, and each report is
a transaction of its own, even if many come in one request.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import socket
from base64 import b64decode
from datetime import UTC, datetime
from typing import Annotated, Any

import jinja2
import uvicorn
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session as Db
from starlette.concurrency import run_in_threadpool
from twilio.request_validator import RequestValidator

from benchmarks.naive.models import SENDER, ApiKey, Event, Message, Session, Template, twilio_client

TOKEN = os.environ["TWILIO_TOKEN"]
app = FastAPI()
client = twilio_client()
validator = RequestValidator(TOKEN)


class SendRequest(BaseModel):
    """The body of a request to send."""

    channel: str
    to: str
    template: str
    variables: dict[str, Any] = {}


def session() -> Any:  # noqa: ANN401 - a generator, as FastAPI wants it
    """One session for one request."""
    with Session() as db:
        yield db


@app.post("/v1/messages", status_code=202)
def send(
    wanted: SendRequest,
    db: Annotated[Db, Depends(session)],
    authorization: Annotated[str, Header()],
) -> dict[str, Any]:
    """Render, store and send a message, and record that it was sent."""
    digest = hashlib.sha256(authorization.removeprefix("Bearer ").encode()).digest()
    key = db.scalar(select(ApiKey).where(ApiKey.hash == digest))
    if key is None:
        raise HTTPException(401)
    template = db.scalar(
        select(Template).where(
            Template.organization_id == key.organization_id,
            Template.name == wanted.template,
            Template.is_active,
        )
    )
    if template is None:
        raise HTTPException(422)
    message = Message(
        organization_id=key.organization_id,
        channel=wanted.channel,
        from_address=SENDER,
        to_address=wanted.to,
        body=jinja2.Template(template.content).render(wanted.variables),
        status="pending",
    )
    db.add(message)
    db.commit()
    callback = f"http://127.0.0.1:{os.environ['PORT']}/webhooks/twilio/1/status"
    sent = client.messages.create(
        to=message.to_address, from_=SENDER, body=message.body, status_callback=callback
    )
    message.status, message.external_id = "sent", sent.sid
    message.sent_at = datetime.now(UTC)
    db.commit()
    return {"id": str(message.id), "to": message.to_address, "status": message.status}


@app.post("/webhooks/twilio/{account}/status")
async def twilio_status(account: str, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """One status report of Twilio."""
    form = await request.form()
    signature = request.headers.get("X-Twilio-Signature", "")
    if not validator.validate(str(request.url), dict(form), signature):
        raise HTTPException(403)
    await run_in_threadpool(record, str(form["MessageSid"]), str(form["MessageStatus"]))
    return {}


@app.post("/webhooks/sendgrid/{account}/events")
async def sendgrid_events(account: str, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """Events of SendGrid."""
    body = await request.body()
    stamp = request.headers["X-Twilio-Email-Event-Webhook-Timestamp"].encode()
    signature = b64decode(request.headers["X-Twilio-Email-Event-Webhook-Signature"])
    key = load_der_public_key(b64decode(os.environ["SENDGRID_KEY"]))
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise HTTPException(500)
    key.verify(signature, stamp + body, ec.ECDSA(hashes.SHA256()))
    for event in json.loads(body):
        external_id = event["sg_message_id"].partition(".")[0]
        await run_in_threadpool(record, external_id, event["event"])
    return {}


@app.post("/webhooks/meta/{account}/events")
async def meta_events(account: str, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """Statuses of Meta."""
    body = await request.body()
    right = "sha256=" + hmac.digest(os.environ["META_SECRET"].encode(), body, "sha256").hex()
    if not hmac.compare_digest(right, request.headers["X-Hub-Signature-256"]):
        raise HTTPException(403)
    for entry in json.loads(body)["entry"]:
        for change in entry["changes"]:
            for status in change["value"]["statuses"]:
                await run_in_threadpool(record, status["id"], status["status"])
    return {}


def record(external_id: str, word: str) -> None:
    """Record a report, in a transaction of its own."""
    with Session() as db:
        message = db.scalar(
            select(Message).where(Message.external_id == external_id).with_for_update()
        )
        if message is None:
            return
        message.status = "delivered" if word == "delivered" else "sent"
        if word == "delivered":
            message.delivered_at = datetime.now(UTC)
        else:
            message.sent_at = datetime.now(UTC)
        db.add(
            Event(
                organization_id=message.organization_id,
                message_id=message.id,
                type=word,
                status=message.status,
                source="naive",
            )
        )
        db.commit()


@app.on_event("startup")
def ready() -> None:
    """Print that requests are answered."""
    print("naive is ready", flush=True)


if __name__ == "__main__":
    # Uvicorn would run `ready` before it listens, so the socket listens already.
    listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
    uvicorn.Server(uvicorn.Config(app, access_log=False)).run(sockets=[listener])
