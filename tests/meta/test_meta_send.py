"""Sending through Meta: what goes out, and what each answer means."""

import json
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from channels.errors import AnswerLost, CannotAsk, OptedOut, Refused, RefusedForNow, SendError
from channels.http import Answer
from channels.model import Attachment, Channel, Outbound, ProviderTemplate, Sent
from channels.providers.meta import build, explain, half, read
from tests.meta.conftest import FakeMeta
from tests.meta.values import ID, NUMBER_ID, WAMID, account, outbound

TAKEN = {
    "messaging_product": "whatsapp",
    "contacts": [{"input": "15550002222", "wa_id": "15550002223"}],
    "messages": [{"id": WAMID, "message_status": "accepted"}],
}
COMMON = {
    "messaging_product": "whatsapp",
    "recipient_type": "individual",
    "biz_opaque_callback_data": str(ID),
    "to": "15550002222",
}


def answer(status: int, payload: object, **headers: str) -> Answer:
    """An answer of Meta's."""
    return Answer(status=status, text=json.dumps(payload), headers=headers)


def error(status: int, code: object, details: str = "", **more: object) -> Answer:
    """An error of Meta's, in its own form."""
    data = {"error_data": {"messaging_product": "whatsapp", "details": details}} if details else {}
    body = {"message": f"(#{code}) Words", "type": "OAuthException", "code": code, **data, **more}
    return answer(status, {"error": body})


def refusal(given: Answer) -> SendError:
    """The error that an answer is read as."""
    with pytest.raises(SendError) as raised:
        read(given)
    return raised.value


async def test_a_message_that_is_taken(meta_api: FakeMeta, session: aiohttp.ClientSession) -> None:
    """A 2xx with an id is sent: one POST, with our id in it and what Meta told beside its own."""
    meta_api.text = json.dumps(TAKEN)
    sent = await half.send(account(meta_api.url), outbound("Hé 😀"), session, "")
    assert sent == Sent(
        external_id=WAMID, detail={"wa_id": "15550002223", "message_status": "accepted"}
    )
    [(asked, body)] = meta_api.asked
    assert (asked.method, asked.path) == ("POST", f"/v25.0/{NUMBER_ID}/messages")
    assert asked.headers["Authorization"] == "Bearer token"
    assert asked.headers["Content-Type"] == "application/json"
    assert body == COMMON | {"type": "text", "text": {"body": "Hé 😀", "preview_url": False}}


async def test_a_message_that_is_refused(
    meta_api: FakeMeta, session: aiohttp.ClientSession
) -> None:
    """A limit is for now, whatever the HTTP status, and Meta's wish is heard."""
    meta_api.status, meta_api.headers = 400, {"Retry-After": "7"}
    meta_api.text = error(400, 131056).text
    with pytest.raises(RefusedForNow) as raised:
        await half.send(account(meta_api.url + "/"), outbound(), session, "")
    assert (raised.value.code, raised.value.retry_after) == ("131056", 7.0)
    assert len(meta_api.asked) == 1


@pytest.mark.parametrize("missing", ["access_token", "phone_number_id"])
async def test_incomplete_credentials(session: aiohttp.ClientSession, missing: str) -> None:
    """Without a token or a number nothing goes out."""
    with pytest.raises(Refused) as raised:
        await half.send(account(**{missing: ""}), outbound(), session, "")
    assert raised.value.code == "credentials"


async def test_meta_cannot_be_asked(session: aiohttp.ClientSession) -> None:
    """What Meta took is told by its reports alone."""
    with pytest.raises(CannotAsk):
        await half.find(account(), outbound(), session, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (
            outbound("See https://example.org"),
            {"type": "text", "text": {"body": "See https://example.org", "preview_url": True}},
        ),
        (
            outbound("Look", Attachment(url="https://x/a.png")),
            {"type": "image", "image": {"link": "https://x/a.png", "caption": "Look"}},
        ),
        (
            outbound("", Attachment(url="https://x/a.mp4")),
            {"type": "video", "video": {"link": "https://x/a.mp4"}},
        ),
        (
            outbound("", Attachment(url="https://x/a", content_type="audio/ogg")),
            {"type": "audio", "audio": {"link": "https://x/a"}},
        ),
        (
            outbound("", Attachment(url="https://x/a", content_type="image/webp")),
            {"type": "sticker", "sticker": {"link": "https://x/a"}},
        ),
        (
            outbound("Two a day", Attachment(url="https://x/a", content_type="audio/ogg")),
            {"type": "document", "document": {"link": "https://x/a", "caption": "Two a day"}},
        ),
        (
            outbound("Bill", Attachment(url="http://x/1", filename="bill.pdf")),
            {
                "type": "document",
                "document": {"link": "http://x/1", "caption": "Bill", "filename": "bill.pdf"},
            },
        ),
        (
            outbound("", Attachment(url="https://x/1.pdf")),
            {"type": "document", "document": {"link": "https://x/1.pdf"}},
        ),
        (
            outbound("shown in our log", template=ProviderTemplate(name="hi", language="en")),
            {"type": "template", "template": {"name": "hi", "language": {"code": "en"}}},
        ),
    ],
)
def test_bodies(given: Outbound, part: dict[str, Any]) -> None:
    """Text, each kind of file by its address, and a template without variables."""
    assert build(given) == COMMON | part


def test_a_template_with_variables() -> None:
    """Numbers are put in their order, ten after nine; other components stand beside them."""
    header = {"type": "header", "parameters": [{"type": "text", "text": "Hi"}]}
    template = ProviderTemplate(
        name="order",
        language="en_US",
        variables={str(n): f"v{n}" for n in (10, 9, 8, 7, 6, 5, 4, 3, 2, 1)},
        components=(header,),
    )
    values = [{"type": "text", "text": f"v{n}"} for n in range(1, 11)]
    assert build(outbound(template=template))["template"] == {
        "name": "order",
        "language": {"code": "en_US"},
        "components": [header, {"type": "body", "parameters": values}],
    }


def test_a_template_with_named_variables() -> None:
    """Names go out as names."""
    template = ProviderTemplate(name="order", language="en", variables={"first_name": "Ann"})
    [component] = build(outbound(template=template))["template"]["components"]
    assert component["parameters"] == [
        {"type": "text", "parameter_name": "first_name", "text": "Ann"}
    ]


def test_a_user_id_and_a_quote() -> None:
    """A user id has a field of its own, and a reply names the message that it quotes."""
    built = build(outbound(to="US.1234", quotes="wamid.before"))
    assert (built["recipient"], "to" in built) == ("US.1234", False)
    assert built["context"] == {"message_id": "wamid.before"}


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (outbound(channel=Channel.SMS), "channel"),
        (outbound("", Attachment(url="https://x/1"), Attachment(url="https://x/2")), "attachments"),
        (outbound("", Attachment(content=b"x")), "attachments"),
        (outbound("", Attachment(url="file:///etc/passwd")), "attachments"),
        (outbound(template=ProviderTemplate(content_sid="HX1")), "template"),
        (outbound(template=ProviderTemplate(name="order")), "template"),
    ],
)
def test_what_meta_does_not_carry(given: Outbound, code: str) -> None:
    """What cannot be said to Meta is refused before anything goes out."""
    with pytest.raises(Refused) as raised:
        build(given)
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("given", "kind", "code"),
    [
        (error(400, 131056), RefusedForNow, "131056"),
        (error(403, 130429), RefusedForNow, "130429"),
        (error(400, 131048), RefusedForNow, "131048"),
        (error(400, 4), RefusedForNow, "4"),
        (error(400, 80007), RefusedForNow, "80007"),
        (error(400, 613), RefusedForNow, "613"),
        (error(500, 131000), RefusedForNow, "131000"),
        (error(500, 131016), RefusedForNow, "131016"),
        (error(500, 131057), RefusedForNow, "131057"),
        (error(503, 2), RefusedForNow, "2"),
        (error(400, 131053), RefusedForNow, "131053"),
        (error(400, 133004), RefusedForNow, "133004"),
        (error(400, 133016), RefusedForNow, "133016"),
        (error(400, 2494100), RefusedForNow, "2494100"),
        (error(503, 2494100), RefusedForNow, "2494100"),
        (error(503, 2388999), RefusedForNow, "2388999"),
        (error(500, 1), RefusedForNow, "1"),
        (error(400, 1, is_transient=True), RefusedForNow, "1"),
        (error(200, 131056), RefusedForNow, "131056"),
        (answer(429, {}), RefusedForNow, None),
        (error(429, 99999), RefusedForNow, "99999"),
        (error(400, 131050), OptedOut, "131050"),
        (error(400, 131047), Refused, "131047"),
        (error(400, "131026"), Refused, "131026"),
        (error(500, 3), Refused, "3"),
        (error(401, 190), Refused, "190"),
        (error(403, 0), Refused, "0"),
        (error(403, 253), Refused, "253"),
        (error(400, 1), Refused, "1"),
        (error(400, True), Refused, "http-400"),
        (error(400, "drop table"), Refused, "http-400"),
        (error(400, 2388999), Refused, "2388999"),
        (error(400, 10**10), Refused, "http-400"),
        (answer(404, {"error": "text"}), Refused, "http-404"),
        (Answer(status=302, text="", headers={}), Refused, "http-302"),
        (Answer(status=400, text="[" * 100_000, headers={}), Refused, "http-400"),
        (error(502, 99999), AnswerLost, "99999"),
        (error(500, None), AnswerLost, "http-500"),
        (Answer(status=502, text="<html>", headers={}), AnswerLost, "http-502"),
        (Answer(status=408, text="", headers={}), AnswerLost, "http-408"),
        (answer(200, {}), AnswerLost, "unreadable"),
        (answer(200, []), AnswerLost, "unreadable"),
        (answer(200, {"messages": []}), AnswerLost, "unreadable"),
        (answer(200, {"messages": [{"id": ""}]}), AnswerLost, "unreadable"),
        (answer(200, {"messages": [{"id": 1}]}), AnswerLost, "unreadable"),
        (answer(200, {"messages": ["x"]}), AnswerLost, "unreadable"),
        (Answer(status=200, text="not JSON", headers={}), AnswerLost, "unreadable"),
    ],
)
def test_every_other_answer(given: Answer, kind: type[SendError], code: str | None) -> None:
    """What is final, what is for now and what nobody knows, by the code and not by the status."""
    raised = refusal(given)
    assert (type(raised), raised.code) == (kind, code)
    assert raised.message.endswith((".", "Words"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            error(400, 132000, "body: number of params 1 \n does not match\0 2"),
            f"{explain('132000')} Meta says: body: number of params 1 does not match 2",
        ),
        (error(400, 131047), f"{explain('131047')} Meta says: (#131047) Words"),
        (error(400, 99999), "(#99999) Words"),
        (answer(400, {"error": {"code": 131047}}), explain("131047")),
        (answer(400, {"error": {"code": 1}}), "Meta answered with HTTP status 400."),
        (error(400, 1, "x" * 1000), "x" * 500),
    ],
)
def test_words(given: Answer, message: str) -> None:
    """Plain words of ours, and what Meta says of this very case."""
    assert refusal(given).message == message


def test_a_message_to_a_user_id() -> None:
    """Meta may answer with a user id and no number; what is no text is not kept."""
    told = {"contacts": [{"user_id": "US.1", "wa_id": 5}], "messages": [{"id": WAMID}]}
    assert read(answer(201, told)) == Sent(external_id=WAMID, detail={"user_id": "US.1"})


def test_explanations() -> None:
    """A code has plain words or none; all of 200 to 299 are permissions."""
    assert explain("131047") == (
        "More than 24 hours since the recipient last wrote: only a template can be sent."
    )
    assert explain("299") == explain("10")
    assert [explain(None), explain("99999")] == [None, None]
