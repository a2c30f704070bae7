"""Threads, like those of Celery: each takes a message, sends it with twilio's client, and records
that.

The broker is a queue in memory, filled beforehand: the cost of a real one is not counted.
"""

from __future__ import annotations

import os
import queue
import threading
import uuid
from datetime import UTC, datetime

from sqlalchemy import select

from benchmarks.naive.models import Message, Session, twilio_client

THREADS = 16


def work(ids: queue.SimpleQueue[uuid.UUID]) -> None:
    """Send one message after another."""
    client = twilio_client()
    callback = f"http://127.0.0.1:{os.environ['PORT']}/webhooks/twilio/1/status"
    while True:
        with Session() as db:
            message = db.scalar(select(Message).where(Message.id == ids.get()).with_for_update())
            if message is None or message.status != "pending":
                continue
            sent = client.messages.create(
                to=message.to_address,
                from_=message.from_address,
                body=message.body,
                status_callback=callback,
            )
            message.status, message.external_id = "sent", sent.sid
            message.sent_at = datetime.now(UTC)
            db.commit()


def main() -> None:
    """Fill the queue and send until killed."""
    ids: queue.SimpleQueue[uuid.UUID] = queue.SimpleQueue()
    with Session() as db:
        for one in db.scalars(select(Message.id).where(Message.status == "pending")):
            ids.put(one)
    for _ in range(THREADS):
        threading.Thread(target=work, args=(ids,), daemon=True).start()
    print("naive is ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
