"""An inbox as on a working day: people and conversations, in every odd shape."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from tests.browser.samples import picture, sound
from tests.browser.scene import Scene

if TYPE_CHECKING:
    from tests.browser.conftest import Stage

ADA = ("+447700900123", "ada@lovelace.example")
MAIL = """<div style="font-family:Georgia"><h1 style="color:#1c6b3c">Your check-up</h1>
<p>Dear Ada,</p><p>your check-up is on <b>Monday at 9:00</b>.</p>
<p><img src="https://pictures.example/logo.png" alt="Logo" width="120" height="40"></p>
<p><a href="https://clinic.example/visit">See your visit</a></p></div>"""


async def furnish(stage: Stage) -> dict[str, UUID]:
    """Fill the inbox; returns the conversations by name."""
    scene = Scene(stage)
    await scene.senders()
    await scene.template(
        "sms", "Reminder", "Hi {{ name }}, see you on {{ day }} at nine.", ["day", "name"]
    )
    await scene.template("email", "Welcome", "<p>Dear {{ name }}, welcome.</p>", ["name"])
    where: dict[str, UUID] = {}
    for number in range(24):
        where["many"] = await _small(scene, number)
    where["long"] = await _long(scene)
    where["failed"] = await _failed(scene)
    where["rtl"] = await _right_to_left(scene)
    where["unknown"] = await _unknown(scene)
    where["ada"] = await _ada(scene)
    return where


async def _small(scene: Scene, number: int) -> UUID:
    names = (
        "Grace Hopper",
        "Alan Turing",
        "Mary Seacole",
        "José Raúl",
        "Zoë Ünal",
        "Олена Шевченко",
    )
    first, _, last = names[number % len(names)].partition(" ")
    phone = f"+4477009003{number:02}"
    await scene.lead(first, last or None, phone)
    await scene.said("sms", phone, "Is there a place on Thursday?", minutes=3)
    said = await scene.said("sms", phone, "Yes, at ten.", ours=True, status="read", minutes=4)
    return await scene.conversation(said)


async def _long(scene: Scene) -> UUID:
    await scene.lead(
        "Wolfeschlegelsteinhausenbergerdorff-Maximiliana-Theodora",
        "von und zu Hohenlohe-Waldenburg-Schillingsfürst the Third",
        "+447700900800",
        email="an-extraordinarily-long-mailbox.that-goes-on-and-on@subdomain.of.a.long.example",
    )
    words = "Where does it hurt? " * 250
    said = await scene.said("email", ADA[1].replace("ada", "wolfe"), "short", minutes=1)
    said = await scene.said("sms", "+447700900800", words + "x" * 200, minutes=30)
    await scene.said("sms", "+447700900800", "https://example.com/" + "a" * 300, ours=True)
    return await scene.conversation(said)


async def _failed(scene: Scene) -> UUID:
    await scene.lead("Ben", "Nevis", "+447700900701", tags=["hot", "autumn"])
    await scene.said("sms", "+447700900701", "Please call me back.", minutes=5)
    said = await scene.said(
        "sms",
        "+447700900701",
        "We tried to reach you. When does it suit you?",
        ours=True,
        status="failed",
        error_code="30003",
        error_message="Unreachable destination handset",
    )
    await scene.said("call", "+447700900701", "This is the clinic.", ours=True, status="failed",
                     error_code="no-answer")  # fmt: skip
    return await scene.conversation(said)


async def _right_to_left(scene: Scene) -> UUID:
    await scene.lead("ليلى", "الحسن", "+447700900702")
    said = await scene.said("whatsapp", "+447700900702", "مرحبا، هل يمكنني الحضور غدا الساعة 9؟")
    await scene.said("whatsapp", "+447700900702", "שלום! 👋🏽 Yes — נתראה at 9:00.", ours=True)
    await scene.said("whatsapp", "+447700900702", "👍🏾🎉👨‍👩‍👧‍👦", told={"type": "reaction"})
    return await scene.conversation(said)


async def _unknown(scene: Scene) -> UUID:
    said = await scene.said(
        "sms", "+447700900999", "Who is this? I got a call from you.", unread=True
    )
    await scene.said("sms", "+447700900999", "Hello??", unread=True, minutes=1)
    return await scene.conversation(said)


async def _ada(scene: Scene) -> UUID:
    await scene.lead(
        "Ada", "Lovelace", ADA[0], email=ADA[1], source="website", notes="Prefers mornings."
    )
    await scene.said(
        "email", ADA[1], "Dear Ada,\n\nyour check-up is on Monday at 9:00.", ours=True,
        subject="Your check-up on Monday", html_body=MAIL, status="read", minutes=600,
    )  # fmt: skip
    said = await scene.said(
        "email", ADA[1], "9:00 is too early for me, could it be half past?\n\nAda",
        subject="Re: Your check-up on Monday", minutes=60,
        told={"quoted_text": "On Monday Alpha wrote:\n> your check-up is on Monday at 9:00."},
        files=(("plan.txt", "text/plain", b"Monday: walk"),),
    )  # fmt: skip
    await scene.said("sms", ADA[0], "Half past nine it is.", ours=True, minutes=900)
    await scene.said("whatsapp", ADA[0], "Here is the picture you asked for",
                     files=(("knee.png", "image/png", picture()),), minutes=200)  # fmt: skip
    await scene.said(
        "call", ADA[0], "Hello Ada, we look forward to seeing you. Press 1 if you are coming.",
        ours=True, told={"digits": "1", "duration": "21", "answered_by": "human"}, minutes=300,
    )  # fmt: skip
    await scene.said(
        "call", ADA[0], "This is Ada. I am on my way, five minutes late.",
        files=(("recording.wav", "audio/wav", sound()),), told={"duration": "7"}, unread=True,
    )  # fmt: skip
    await scene.said("sms", ADA[0], "See you soon!", ours=True, status="sent", minutes=2)
    return await scene.conversation(said)
