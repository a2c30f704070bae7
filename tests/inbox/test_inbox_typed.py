"""What forms and queries say, whatever is typed: the composer's request, the list's filters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict, MultiDictProxy

from gateway.inbox.admin import template_form
from gateway.inbox.talk.listing import STATUSES, Wanted
from gateway.inbox.talk.thread import by_day
from gateway.inbox.talk.typed import Typed
from gateway.problems import Problem

TOKYO = ZoneInfo("Asia/Tokyo")
LONDON = ZoneInfo("Europe/London")
ID = UUID("01234567-89ab-7def-8123-456789abcdef")
FIELDS = st.sampled_from(
    ("channel", "from", "to", "template", "subject", "body", "send_at", "key", "do",
     "variables.a", "variables.", "attachments", "csrf"),
)  # fmt: skip
TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=40) | st.text(
    alphabet="a \x00", max_size=300
)


@pytest.mark.parametrize(
    ("send_at", "zone", "moment"),
    [
        ("2090-01-01T09:00", TOKYO, "2090-01-01T00:00:00Z"),
        ("2026-07-01T09:00", LONDON, "2026-07-01T08:00:00Z"),
        ("2026-12-01T09:00", LONDON, "2026-12-01T09:00:00Z"),
        ("2026-03-29T01:30", LONDON, "2026-03-29T01:30:00Z"),  # a time that the clocks skip
        ("2026-10-25T01:30", LONDON, "2026-10-25T00:30:00Z"),  # one that they show twice
        ("2026-12-01T09:00+05:00", TOKYO, "2026-12-01T04:00:00Z"),
        (" 2026-12-01 ", timezone(timedelta(0)), "2026-12-01T00:00:00Z"),
    ],
)
@time_machine.travel(datetime(2026, 1, 1, tzinfo=UTC))
def test_later_is_in_the_viewers_zone(send_at: str, zone: Any, moment: str) -> None:
    """A browser sends a local time; a time with an offset of its own keeps it."""
    assert moment == Typed.of({"send_at": send_at}).as_json(zone)["send_at"]


@pytest.mark.parametrize(
    "send_at", ["tomorrow", "2026-02-30T09:00", "0001-01-01T00:00", "2026-12-01T25:00", "9"]
)
def test_times_that_there_are_not(send_at: str) -> None:
    """They are named at their field."""
    with pytest.raises(Problem) as raised:
        Typed.of({"send_at": send_at}).as_json(TOKYO)
    assert ["send_at"] == [error.field for error in raised.value.errors]


@time_machine.travel(datetime(2026, 7, 1, 12, 0, 30, tzinfo=UTC), tick=False)
def test_a_time_that_has_passed() -> None:
    """A mistyped year is said, not sent at once; this minute is, as a form takes a while."""
    for fine in ("", "2026-07-01T11:58", "2026-07-02"):
        Typed.of({"send_at": fine}).must_be_to_come(UTC)
    with pytest.raises(Problem) as raised:
        Typed.of({"send_at": "2020-07-01T13:00"}).must_be_to_come(LONDON)
    assert [("send_at", "has passed already")] == [
        (error.field, error.message) for error in raised.value.errors
    ]


@given(given_form=st.dictionaries(FIELDS, TEXT), zone=st.sampled_from((TOKYO, LONDON)))
def test_every_form_is_read(given_form: dict[str, str], zone: ZoneInfo) -> None:
    """It becomes a request, or its time is refused; no field is there that was left empty."""
    typed = Typed.of(given_form)
    assert typed.key == "" or UUID(typed.key)
    try:
        said = typed.as_json(zone)
    except Problem as problem:
        said, refused = {}, [error.field for error in problem.errors]
    else:
        refused = []
    assert refused in ([], ["send_at"])
    assert None not in said.values()
    assert not {"template", "body"} <= said.keys()
    for value in said.get("variables", {}).values():
        assert isinstance(value, list | dict) or value.strip()
    assert "subject" not in said or said["channel"] == "email"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('["tea", 1, null]', ["tea", 1, None]),
        (' {"name": "Ann"} ', {"name": "Ann"}),
        *((text, text) for text in ("007", "12.50", "true", "null", '"tea"', " a ", "[soon]", "{")),
        *((text, text) for text in ("[" * 300 + "]" * 300, f"[{10**30}]", '["\ud800"]', "[NaN]")),
    ],
)
def test_variables(written: str, read: object) -> None:
    """A list or an object in JSON is one; whatever else was typed is that text, a number, too. The
    same for who writes with a template and for who tries it."""
    typed = Typed.of({"template": "t", "variables.x": written})
    form: MultiDict[str] = MultiDict({"variables.x": written})
    assert {"x": read} == typed.as_json(TOKYO)["variables"]
    assert {"x": read} == template_form.values(MultiDictProxy(form))


def test_a_form() -> None:
    """Lines and spaces as they are meant; a template goes before a text; NUL is no character."""
    form = MultiDict(
        {
            "channel": "email", "from": " desk@a.example ", "to": " ann@c.example",
            "subject": " News ", "body": "a\r\nb", "variables.name": "Ann", "variables.day": " ",
            "key": str(ID), "attachments": "no file", "do": "send\x00",
        }
    )  # fmt: skip
    typed = Typed.of(form)
    assert ([], "send", str(ID)) == (typed.files, typed.do, typed.key)
    assert {
        "channel": "email", "from": "desk@a.example", "to": "ann@c.example", "body": "a\nb",
        "subject": "News",
    } == typed.as_json(TOKYO)  # fmt: skip
    form["template"] = "t"
    of_template = Typed.of(form).as_json(TOKYO)
    assert ("t", {"name": "Ann"}) == (of_template["template"], of_template["variables"])
    assert "body" not in of_template
    form["channel"] = "sms"
    assert "subject" not in Typed.of(form).as_json(TOKYO)
    assert "" == Typed.of({"key": "x"}).key


@given(
    query=st.dictionaries(st.sampled_from(("q", "channel", "status", "who", "unread", "x")), TEXT)
)
def test_every_query_is_read(query: dict[str, str]) -> None:
    """What is no choice counts as not chosen; a link with the filters leads to the same list."""
    wanted = Wanted.of(query)
    assert wanted.status in STATUSES
    assert len(wanted.q) <= 200
    assert "\x00" not in wanted.q
    assert wanted == Wanted.of(dict(parse_qsl(wanted.query.removeprefix("?"))))


def test_filters() -> None:
    """Each choice, as the store reads it and as a link keeps it."""
    query = {"q": " fox ", "channel": "sms", "status": "all", "who": "me", "unread": "1"}
    wanted = Wanted.of(query)
    assert "?q=fox&channel=sms&status=all&who=me&unread=1" == wanted.query
    assert wanted.is_narrow
    kept = wanted.filter(ID)
    assert ("sms", ID, None, True) == (kept.channel, kept.assigned_to, kept.status, kept.unread)
    plain = Wanted.of({"status": "x", "channel": "x", "who": "x", "unread": "0"})
    assert ("", False) == (plain.query, plain.is_narrow)
    kept = plain.filter(ID)
    assert (None, None, "open", None) == (
        kept.channel, kept.assigned_to, kept.status, kept.unread,
    )  # fmt: skip


def test_days_are_the_viewers() -> None:
    """Midnight is where the viewer is; days stay in order."""
    at = [datetime.fromisoformat(f"2026-01-31T{hour}:59:59+00:00") for hour in ("14", "15", "23")]
    said: Any = [SimpleNamespace(at=each) for each in at]
    assert [1, 2] == [len(day) for day in by_day(said, TOKYO)]
    assert [3] == [len(day) for day in by_day(said, LONDON)]
    assert [] == by_day([], LONDON)


def test_what_waits_for_another_form() -> None:
    """The subject that was written for an e-mail is not that of a template, nor of an SMS."""
    form = {"channel": "email", "subject": "News", "body": "a", "offered.subject": "Re: Old"}
    assert "News" == Typed.of(form).as_json(TOKYO)["subject"]
    assert "News" == Typed.of(form).chosen.subject
    for other in ({"template": "t"}, {"channel": "sms"}):
        assert "subject" not in Typed.of(form | other).as_json(TOKYO)
    left = Typed.of(form | {"subject": "Re: Old"})
    assert ("Re: Old", "") == (left.as_json(TOKYO)["subject"], left.chosen.subject)
