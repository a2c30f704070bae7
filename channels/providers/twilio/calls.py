"""Phone calls: the Calls resource, with the spoken text in the request itself.

Docs: https://www.twilio.com/docs/voice/api/call-resource. For several events the parameter is
repeated; the callback of `answered` has the CallStatus in-progress, and that of `completed` comes
however the call ends.
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
    """The webhook URL of another event: its last part is replaced, and `query` is added."""
    bare, hash_mark, fragment = url.partition("#")
    path, question_mark, own = bare.partition("?")
    path = f"{path.rpartition('/')[0]}/{event}"
    asked = "&".join([*([own] if question_mark else []), *([urlencode(query)] if query else [])])
    return path + ("?" + asked if asked else "") + hash_mark + fragment


def build(outbound: Outbound, callback_url: str) -> Form:
    """The parameters of POST /Calls.json."""
    plan = outbound.content.call or CallPlan()
    # Whoever presses the digit is thanked in the voice of the call.
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
        # In the background: whoever answers does not have to wait, and hears the whole text.
        form |= {
            "MachineDetection": "Enable",
            "AsyncAmd": "true",
            "AsyncAmdStatusCallback": sibling(callback_url, "amd"),
        }
    return form


def list_url(account: Account, outbound: Outbound) -> str:
    """The URL of the list of calls from this sender to this recipient.

    Not filtered by StartTime: it is empty while a call is queued.
    """
    asked = {"To": outbound.to_address, "From": outbound.from_address, "PageSize": PAGE_SIZE}
    return resource(account, "Calls") + "?" + urlencode(asked)


def matches(record: Record, outbound: Outbound, since: datetime) -> bool:
    """Whether a record may be this call, made since then; Twilio does not list the text."""
    return (
        record.get("direction") == "outbound-api"
        and record.get("from") == outbound.from_address
        and record.get("to") == outbound.to_address
        and is_recent(record, since)
    )
