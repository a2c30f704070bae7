"""How long the templates of one request may take, and what becomes of its other messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from channels.rendering.renderer import Renderer
from gateway.accept.drafting import Drafting
from gateway.ids import new_id
from gateway.shapes.messages import SendRequest
from gateway.store.database import ApiKey

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway

LOOP = "{% for each in names %}{{ each }}{% endfor %}"


async def test_templates_that_take_too_long_together(gateway: Gateway, ask: Ask) -> None:
    """Once a request's templates have taken their time, those of its messages that would take more
    are refused, each by name; one that is simple, or has a text, is not."""
    for name, source in (("slow", LOOP), ("simple", "Hi {{ name }}")):
        made = await ask("POST", "/v1/templates", {"name": name, "type": "sms", "content": source})
        assert 201 == made.status
    caller = ApiKey(id=new_id(), organization_id=gateway.a.organization_id, is_test=False)
    requests = [
        SendRequest.model_validate({"channel": "sms", "to": "+447700900123"} | said, strict=False)
        for said in (
            {"template": "slow", "variables": {"names": ["Ann"]}},
            {"template": "simple", "variables": {"name": "Ann"}},
            {"body": "Hello"},
        )
    ]
    async with Renderer() as renderer:
        await renderer.render("Hi {{ name }}", {"name": "Ann"})
        drafts = await Drafting(gateway.database, renderer, rendering=0).read(caller, requests)
        again = await Drafting(gateway.database, renderer).read(caller, requests)
    errors = [[(error.field, error.message) for error in draft.errors] for draft in drafts]
    text = (
        "was not rendered: the templates and styles of this request take more than 0 s; "
        "send fewer messages at once"
    )
    assert [[("template", text)], [], []] == errors
    assert ["Ann", "Hi Ann", "Hello"] == [each.content and each.content.body for each in again]
