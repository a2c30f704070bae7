"""How `gateway demo` prints a conversation, for people to read."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.demo.organization import NAME
from gateway.demo.story import PERSON

_CHANNELS = {"email": "e-mail", "sms": "SMS", "whatsapp": "WhatsApp", "call": "call"}


def print_conversation(conversation: list[dict[str, Any]], out: Console) -> None:
    """Print each message with its time, author and channel, and its statuses below."""
    table = Table(box=None, padding=(0, 2), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    for message in conversation:
        at = datetime.fromisoformat(message["created_at"]).astimezone()
        who = PERSON if message["direction"] == "inbound" else NAME
        channel = _CHANNELS[message["channel"]]
        table.add_row(f"{at:%H:%M:%S}", f"{who} ({channel})", _text(message))
        table.add_row("", "", f"[dim]{escape(_way(message))}[/dim]")
        table.add_row()
    out.print()
    out.print(f"One conversation with {PERSON}, over four channels:\n")
    out.print(table)
    out.print(
        "All of this went over HTTP: through the API, three providers' APIs (simulated), and their "
        "signed webhooks."
    )


def _text(message: dict[str, Any]) -> str:
    lines = [escape(message["body"].strip())]
    if message["subject"]:
        lines.insert(0, f"[bold]{escape(message['subject'])}[/bold]")
    lines += [
        f"[italic]+ {escape(attachment.get('filename') or 'a file')}[/italic]"
        for attachment in message["attachments"]
    ]
    return "\n".join(lines)


def _way(message: dict[str, Any]) -> str:
    """`pending → sending → sent → delivered   in 0.30 s`: each status once, in order."""
    begun = datetime.fromisoformat(message["created_at"])
    steps: list[str] = []
    last = begun
    for event in message["events"]:
        if event["status"] and event["status"] not in steps:
            steps.append(event["status"])
            last = datetime.fromisoformat(event["recorded_at"])
    way = " → ".join(steps)
    if len(steps) > 1:
        way += f"   in {(last - begun).total_seconds():.2f} s"
    told = message["metadata"].get("provider", {})
    if message["channel"] == "call" and message["direction"] == "outbound" and "digits" in told:
        way += f", {told['duration']} s of talk, pressed {told['digits']}"
    return way
