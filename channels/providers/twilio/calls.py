"""Phone calls: the Calls resource, with what is said on the phone in the request itself.

Docs: https://www.twilio.com/docs/voice/api/call-resource. Several events need the parameter
repeated; `answered` is told as CallStatus in-progress, and every end as `completed`'s callback.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from urllib.parse import urlencode

from channels.call import spoken_as, twiml
from channels.model import Account, CallPlan, Outbound
from channels.providers.twilio.answers import Record
from channels.providers.twilio.messages import Form
from channels.providers.twilio.transport import PAGE_SIZE, is_recent, resource

EVENTS: Final = ("initiated", "ringing", "answered", "completed")


def sibling(url: str, event: str, **query: str) -> str:
    """The webhook URL of another event: its last part replaced, and `query` added to its own."""
    bare, hash_mark, fragment = url.partition("#")
    path, question_mark, own = bare.partition("?")
    path = f"{path.rpartition('/')[0]}/{event}"
    asked = "&".join([*([own] if question_mark else []), *([urlencode(query)] if query else [])])
    return path + ("?" + asked if asked else "") + hash_mark + fragment


def build(outbound: Outbound, callback_url: str) -> Form:
    """The parameters of POST /Calls.json."""
    plan = outbound.content.call or CallPlan()
    # Whoever presses it is thanked in the voice of the call.
    asks = {"confirm": plan.confirm, **spoken_as(plan)} if plan.confirm is not None else {}
    form: Form = {
        "To": outbound.to_address,
        "From": outbound.from_address,
        "Twiml": twiml(outbound.content, gather_url=sibling(callback_url, "gather", **asks)),
        "StatusCallback": callback_url,
        "StatusCallbackEvent": list(EVENTS),
    }
    if plan.timeout is not None:
        form["Timeout"] = str(plan.timeout)
    if plan.detect_machine:
        # In the background: who answers is not kept waiting, and hears all of it.
        form |= {
            "MachineDetection": "Enable",
            "AsyncAmd": "true",
            "AsyncAmdStatusCallback": sibling(callback_url, "amd"),
        }
    return form


def list_url(account: Account, outbound: Outbound) -> str:
    """Where the calls from this sender to this recipient are listed.

    StartTime is no filter here: it is empty while a call is queued.
    """
    asked = {"To": outbound.to_address, "From": outbound.from_address, "PageSize": PAGE_SIZE}
    return resource(account, "Calls") + "?" + urlencode(asked)


def matches(record: Record, outbound: Outbound, since: datetime) -> bool:
    """Whether one of Twilio's records is this call, made since then; its text is not told."""
    return (
        record.get("direction") == "outbound-api"
        and record.get("from") == outbound.from_address
        and record.get("to") == outbound.to_address
        and is_recent(record, since)
    )
