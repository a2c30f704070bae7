"""The whole way on real processes: from `migrate up` to a delivered message, a failed one, a reply
and a forged webhook; the numbers on /metrics and the words in the log that this leaves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.shell import Done, Running, Shell, free_port, get, until

SENDER = "+15551230001"
TO = "+15557654321"
FAILING = "+15557650000"
# Twilio refuses this one at once https://www.twilio.com/docs/iam/test-credentials
INVALID = "+15005550001"
BODY = "a-body-that-nobody-may-log"
REPLY = "a-reply-that-nobody-may-log"
TOKEN = secrets.token_hex(16)
SID = f"AC{secrets.token_hex(16)}"

Numbers = dict[tuple[str, tuple[str, ...]], float]


@dataclass(frozen=True, kw_only=True)
class Site:
    """Everything that runs, and what its callers know."""

    shell: Shell
    url: str
    simulator: str
    organization_id: str
    key: str
    webhooks: dict[str, str]
    web: Running
    worker: Running

    async def send(self, *words: str) -> Done:
        """`gateway send`, as an internal service would."""
        return await self.shell.run(
            *("send", "--channel", "sms", *words),
            GATEWAY_URL=self.url,
            GATEWAY_API_KEY=self.key,
        )

    async def numbers(self) -> Numbers:
        """What /metrics says: by name and the values of its labels in the order of their names."""
        status, text = await get(f"{self.url}/metrics")
        assert 200 == status
        return {
            (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
            if "le" not in sample.labels
        }


@asynccontextmanager
async def site(shell: Shell) -> AsyncIterator[Site]:
    """Set up by commands alone: two web processes, a worker and the simulator."""
    port, simulator_port = free_port(), free_port()
    url, simulator = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{simulator_port}"
    with_ports = {"PORT": str(port), "TWILIO_API_URL": simulator}
    async with AsyncExitStack() as stack:
        clerk = shell.clerk()
        await clerk.run("migrate", "up")
        processes = [
            await stack.enter_async_context(started)
            for started in (
                shell.start("simulator", "--port", str(simulator_port)),
                shell.start("web", "--host", "127.0.0.1", **with_ports, WEB_CONCURRENCY="2"),
                shell.start("worker", **with_ports),
            )
        ]
        org = (await clerk.run("org", "create", "Clinic", "--country", "US", "--json")).json["id"]
        key = (await clerk.run("key", "create", "--org", org, "--json")).json["key"]
        adding = ("account", "add", "--org", org, "--provider", "twilio", "--set")
        account = (
            await clerk.run(
                *(*adding, f"account_sid={SID}", f"auth_token={TOKEN}", "--json"), **with_ports
            )
        ).json
        words = ("sender", "add", "--account", account["id"], "--channel", "sms", "--default")
        assert 0 == (await clerk.run(*words, "--address", SENDER)).code
        await asyncio.gather(
            processes[0].says("The simulator is at"),
            processes[1].says("web is ready", times=2),
            processes[2].says("worker is ready"),
        )
        await post(
            f"{simulator}/_sim/accounts",
            {
                "provider": "twilio",
                "account_sid": SID,
                "auth_token": TOKEN,
                "webhooks": account["webhooks"],
            },
        )
        yield Site(
            shell=shell,
            url=url,
            simulator=simulator,
            organization_id=org,
            key=key,
            webhooks=account["webhooks"],
            web=processes[1],
            worker=processes[2],
        )


async def post(url: str, body: Any, **headers: str) -> tuple[int, Any]:
    """Post JSON; status and answer."""
    async with aiohttp.ClientSession() as http, http.post(url, json=body, headers=headers) as got:
        return got.status, await got.json(content_type=None)


async def test_the_whole_way(new_shell: Shell) -> None:
    """`gateway send --wait` ends delivered; the numbers of all processes are on web's page; the log
    has ids and no body, address or secret; everything ends with exit code 0."""
    async with site(new_shell) as it:
        before = await it.numbers()
        plan = {"match": {"to": FAILING}, "outcome": "failed", "error_code": "30003"}
        assert 201 == (await post(f"{it.simulator}/_sim/plan", plan))[0]
        delivered, failed, invalid = await asyncio.gather(
            it.send("--to", TO, "--body", BODY, "--wait", "--json"),
            it.send("--to", FAILING, "--body", BODY, "--wait"),
            it.send("--to", INVALID, "--body", BODY, "--wait"),
        )
        at_sim = {"channel": "sms", "from": TO, "to": SENDER, "body": REPLY}
        inbound = await post(f"{it.simulator}/_sim/inbound", at_sim)
        forged, _ = await post(
            it.webhooks["message"].partition("#")[0], {"Body": REPLY}, **{"X-Twilio-Signature": "x"}
        )
        refused = await it.send("--to", "nobody", "--template", "unknown")
        with contextlib.suppress(TimeoutError):
            await until(lambda: _has_grown(it, before))
        after = await it.numbers()
        await lose_a_child(it.web)
        after_loss = await get(f"{it.url}/readyz")
        codes = await asyncio.gather(it.web.stop(), it.worker.stop())

    assert "delivered" == delivered.json["status"]
    assert (it.organization_id, TO, BODY) == tuple(
        delivered.json[name] for name in ("organization_id", "to_address", "body")
    )
    assert (1, "", True) == (failed.code, failed.err, "30003" in failed.out)
    assert (1, "", True) == (invalid.code, invalid.err, "21211" in invalid.out)
    assert (200, 200, 403) == (inbound[0], inbound[1]["status"], forged)
    assert all(f"{field}: " in refused.complaint for field in ("422", "to", "template"))
    assert 200 == after_loss[0]
    assert {0} == set(codes)
    assert GROWN == grown(before, after)
    answered = sum(
        value for (name, _), value in after.items() if name == "gateway_webhook_requests_total"
    )
    assert answered == after["gateway_webhook_seconds_count", ("twilio",)]
    assert 0 < after["gateway_callback_delay_seconds_sum", BOTH] < 60
    _check_log(it, delivered_id=delivered.json["id"], refused_id=invalid.out.split()[1])


def serving_children(pid: int) -> list[int]:
    """The web processes that a process has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


async def lose_a_child(web: Running) -> None:
    """Kill one of two web processes, and wait until another takes its place."""
    lost, _ = serving_children(web.process.pid)
    os.kill(lost, signal.SIGKILL)
    await web.says("web is ready", times=3)


BOTH = ("sms", "twilio")
# One delivered, one failed by a report, one refused at once; a 422; a forged webhook.
GROWN: Numbers = {
    ("gateway_messages_accepted_total", BOTH): 3,
    ("gateway_messages_sent_total", BOTH): 2,
    ("gateway_messages_failed_total", BOTH): 2,
    ("gateway_messages_delivered_total", BOTH): 1,
    ("gateway_messages_received_total", BOTH): 1,
    ("gateway_accept_seconds_count", ()): 4,
    ("gateway_send_seconds_count", ("twilio",)): 3,
    ("gateway_callback_delay_seconds_count", BOTH): 1,
    ("gateway_webhook_requests_total", ("403", "twilio")): 1,
}


def grown(before: Numbers, after: Numbers) -> Numbers:
    """By how much the numbers of `GROWN` have grown."""
    return {name: after.get(name, 0) - before.get(name, 0) for name in GROWN}


async def _has_grown(it: Site, before: Numbers) -> bool:
    return grown(before, await it.numbers()) == GROWN


def _way_of(message_id: str, read: Sequence[Mapping[str, Any]]) -> set[str]:
    # Without an order: a report may be logged by web before the worker logs what it sent.
    return {line["event"] for line in read if line.get("message_id") == message_id}


def _check_log(it: Site, *, delivered_id: str, refused_id: str) -> None:
    lines = [*it.web.lines, *it.worker.lines]
    read = [orjson.loads(line) for line in lines]
    for line in read:
        assert {"event", "level", "timestamp"} <= line.keys(), line
    text = "\n".join(lines)
    for secret in (BODY, REPLY, TOKEN, it.key, TO[1:], FAILING[1:], INVALID[1:], SENDER[1:]):
        assert secret not in text
    for line in read:
        assert ("message_id" in line) <= (line.get("organization_id") == it.organization_id), line
    assert {"accepted", "message failed"} == _way_of(refused_id, read)
    assert {"accepted", "sent", "reported"} == _way_of(delivered_id, read)
    for event in ("webhook refused", "a web process ended, another is started"):
        assert 1 == sum(line["event"] == event for line in read), event
