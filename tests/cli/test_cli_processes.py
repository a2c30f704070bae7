"""web, worker, simulator and demo as processes: how they start, what they say, how they end."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import closing
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from gateway.serve import bind
from tests.cli.shell import ROOT, Shell, free_port, get, until, users_of
from tests.conftest import dsn_for


async def test_readiness(new_shell: Shell, empty_database: str, server_dsn: str) -> None:
    """/readyz is 503 until `migrate up` and when the database is gone; /healthz stays 200."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    words = ("web", "--host", "127.0.0.1")
    clerk = new_shell.clerk()
    async with new_shell.start(*words, PORT=str(port)) as web:
        await web.says("web is ready")
        before = await get(f"{base}/readyz")
        refused = await get(f"{base}/v1/messages", headers={"Authorization": "Bearer gw_live_x"})
        async with new_shell.start(*words, PORT=str(port)) as second:
            taken = await second.ended(20)
        await clerk.run("migrate", "up")
        ready = await get(f"{base}/readyz")
        admin = await asyncpg.connect(dsn_for(server_dsn, "postgres"))
        try:
            name = empty_database.partition("?")[0].rpartition("/")[2]
            await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        finally:
            await admin.close()
        gone = await get(f"{base}/readyz")
        healthy = await get(f"{base}/healthz")
        metrics = await get(f"{base}/metrics")
        code = await web.stop()

    assert (503, 503) == (before[0], before[1]["status"])
    assert "gateway migrate up" in before[1]["detail"]
    assert (503, 503) == (refused[0], refused[1]["status"])
    assert "lacks migrations" in refused[1]["detail"]
    assert (1, 1) == (taken, len(second.lines))
    assert second.lines[0].startswith(f"gateway: PORT: cannot listen on 127.0.0.1:{port}: ")
    assert 200 == ready[0]
    assert (503, 503) == (gone[0], gone[1]["status"])
    assert (200, {"status": "ok"}) == healthy
    assert 200 == metrics[0]
    assert 0 == code
    assert [] == [line for line in web.lines if "Traceback" in line]


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&-", "<&- >&- 2>&-"])
async def test_closed_streams(shell: Shell, closed: str) -> None:
    """Web works where whoever starts it has closed its standard streams, and ends as it should."""
    port = free_port()
    web = await asyncio.create_subprocess_shell(
        f"exec {sys.executable} -m gateway web --host 127.0.0.1 {closed}",
        env={**shell.environment, "PYTHONPATH": str(ROOT), "PORT": str(port)},
        cwd=shell.folder,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        await until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), 15)
        web.terminate()
        _, said = await asyncio.wait_for(web.communicate(), 15)
    finally:
        if web.returncode is None:
            web.kill()

    assert 0 == web.returncode
    assert ("2>&-" not in closed) == (b"web is ready" in said)
    assert b"rror" not in said


async def answers(url: str) -> bool:
    """Whether somebody listens there by now."""
    try:
        return (await get(url))[0] == 200
    except aiohttp.ClientConnectionError:
        return False


async def test_two_of_several_processes(shell: Shell) -> None:
    """Of two gateways that start at once on one port, each with several web processes, one has it;
    the other says so and ends, whichever was first."""
    port = str(free_port())
    words = ("web", "--host", "127.0.0.1")
    async with (
        shell.start(*words, PORT=port, WEB_CONCURRENCY="2") as one,
        shell.start(*words, PORT=port, WEB_CONCURRENCY="2") as other,
    ):
        ends = {asyncio.create_task(each.ended(20)): each for each in (one, other)}
        done, left = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        (over,), (on,) = done, left
        await ends[on].says("web is ready", 2)
        on.cancel()
        code = await ends[on].stop()

    assert (1, 0) == (over.result(), code)
    assert ends[over].lines[-1].startswith(f"gateway: PORT: cannot listen on 127.0.0.1:{port}: ")


async def test_simulator(lone_shell: Shell) -> None:
    """The simulator says where it is, stops with 0, and a port that is taken is one line."""
    port = free_port()
    async with lone_shell.start("simulator", "--port", str(port)) as simulator:
        await simulator.says(f"http://127.0.0.1:{port}")
        health = await get(f"http://127.0.0.1:{port}/_sim/health")
        second = await lone_shell.run("simulator", "--port", str(port))
        code = await simulator.stop(signal.SIGINT)

    assert (200, {"status": "ok"}) == health
    assert str(port) in second.complaint
    assert 0 == code


async def test_simulator_with_a_mail_server(lone_shell: Shell) -> None:
    """It says where its mail server is; that one answers there, and keeps strangers out."""
    port, mail_port = free_port(), free_port()
    words = ("simulator", "--port", str(port), "--smtp-port", str(mail_port))
    async with lone_shell.start(*words) as simulator:
        await simulator.says(f"Its mail server is at 127.0.0.1:{mail_port}")
        about = await get(f"http://127.0.0.1:{port}/_sim")
        reader, writer = await asyncio.open_connection("127.0.0.1", mail_port)
        greeting = await reader.readline()
        writer.write(b"EHLO here\r\nMAIL FROM:<ada@example.com>\r\nQUIT\r\n")
        answer = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
        taken = await lone_shell.run("simulator", "--port", "0", "--smtp-port", str(mail_port))
        code = await simulator.stop(signal.SIGINT)

    assert (200, f"127.0.0.1:{mail_port}") == (about[0], about[1]["smtp"])
    assert ["meta", "sendgrid", "smtp", "twilio"] == about[1]["providers"]
    assert greeting.startswith(b"220 ")
    assert "530 " in answer
    assert str(mail_port) in taken.complaint
    assert 0 == code


async def test_simulator_beside_another(lone_shell: Shell) -> None:
    """Without `--smtp-port` its mail server takes a free port where 9025 is taken."""
    async with (
        lone_shell.start("simulator", "--port", "0") as first,
        lone_shell.start("simulator", "--port", "0") as second,
    ):
        await asyncio.gather(*(one.says("Its mail server is at ") for one in (first, second)))
        where = {line for one in (first, second) for line in one.lines if "mail server" in line}
        codes = await asyncio.gather(first.stop(), second.stop())

    assert 2 == len(where)
    assert (0, 0) == (codes[0], codes[1])


async def test_simulator_cuts_connections(lone_shell: Shell) -> None:
    """The fault `reset` ends in a connection that is cut, also in the process of the command."""
    login = {"account_sid": "AC1", "auth_token": "secret"}
    headers = {"Authorization": aiohttp.encode_basic_auth(*login.values())}
    async with lone_shell.start("simulator", "--port", "0") as simulator:
        await simulator.says("The simulator is at ")
        (base,) = (line.split()[-1] for line in simulator.lines if "simulator is at" in line)
        async with aiohttp.ClientSession(base, headers=headers) as http:
            for path, body in (
                ("/_sim/accounts", {"provider": "twilio", **login}),
                ("/_sim/plan", {"faults": ["reset"]}),
            ):
                async with http.post(path, json=body) as made:
                    assert 201 == made.status
            form = {"From": "+15551230001", "To": "+15557654321", "Body": "Hello"}
            with pytest.raises(aiohttp.ClientConnectionError):
                await http.post("/2010-04-01/Accounts/AC1/Messages.json", data=form)
        await simulator.stop()


async def test_demo_twice(
    lone_shell: Shell, folder: Path, tmp_path: Path, empty_database: str
) -> None:
    """`gateway demo --once` prints the conversation over all four channels, twice, whatever the
    environment names, keeps its files to itself, and leaves no process."""
    first = await lone_shell.run("demo", "--once")
    second = await lone_shell.run(
        *("demo", "--once"),
        DATABASE_URL=empty_database,
        DATABASE_DIRECT_URL="postgresql://nobody@127.0.0.1:1/nothing",
        PUBLIC_URL="https://msg.example.org",
        TWILIO_API_URL="http://127.0.0.1:1",
        GATEWAY_MEDIA_URL=str(tmp_path / "elsewhere"),
    )

    assert not (tmp_path / "elsewhere").exists()
    for done in (first, second):
        assert (0, "") == (done.code, done.err), done
        for channel in ("e-mail", "SMS", "WhatsApp", "call"):
            for who in ("Riverside Clinic", "Ada Lovelace"):
                assert f"{who} ({channel})" in done.out
        for words in ("YES, see you then", "delivered", "read", "pressed 1", "recording.mp3"):
            assert words in done.out
    await until(lambda: not users_of(folder), 15)


async def test_demo_serves_on(lone_shell: Shell, folder: Path) -> None:
    """Without --once the demo serves, and no other one beside it, whose worker would take its
    messages: its invitation works as it stands, and Ctrl-C ends it."""
    port = free_port()
    async with lone_shell.start("demo", "--port", str(port)) as demo:
        await demo.says("Ctrl-C ends it.")
        second = await lone_shell.run("demo", "--once")
        (line,) = (line for line in demo.lines if "GATEWAY_API_KEY=" in line)
        told = dict(pair.split("=", 1) for pair in line.split() if "=" in pair)
        sent = await lone_shell.run(
            *("send", "--channel", "sms", "--to", "+15557654321", "--template", "appointment"),
            *("--var", "name=Ada", "--var", "day=Monday", "--var", "time=9:30", "--wait", "--json"),
            **told,
        )
        (invited,) = (line.strip() for line in demo.lines if " send --channel " in line)
        typed = await asyncio.create_subprocess_shell(
            invited, env={**lone_shell.environment, **told}, stdout=asyncio.subprocess.PIPE
        )
        answered, _ = await asyncio.wait_for(typed.communicate(), 60)
        (link,) = (line.strip() for line in demo.lines if "/inbox/link/" in line)
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
            async with browser.get(link) as asked:
                offered = await asked.text()
            async with browser.post(link) as shown:
                inbox, title = str(shown.url), await shown.text()
        code = await demo.stop(signal.SIGINT)

    assert "a demo runs in" in second.complaint
    assert "delivered" == sent.json["status"]
    assert "Hi Ada, your appointment is on Monday at 9:30." in sent.json["body"]
    assert (0, True) == (typed.returncode, b"delivered" in answered)
    assert "Riverside Clinic" in offered
    assert f"http://127.0.0.1:{port}/inbox" == inbox
    assert "Riverside Clinic" in title
    assert 0 == code
    await until(lambda: not users_of(folder), 15)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_demo_ended_early(lone_shell: Shell, folder: Path, number: signal.Signals) -> None:
    """Either signal ends the demo before its story is told, and that is no success."""
    port = free_port()
    async with lone_shell.start("demo", "--once") as demo:
        await until((folder / "demo" / "pgdata.new").exists)
        while_it_starts = await demo.stop(number, 10)
    async with lone_shell.start("demo", "--port", str(port)) as demo:
        await until(lambda: answers(f"http://127.0.0.1:{port}/healthz"))
        while_it_tells = await demo.stop(number, 10)

    assert 0 not in (while_it_starts, while_it_tells)
    assert [] == [line for line in demo.lines if "Traceback" in line or "Ada" in line]
    await until(lambda: not users_of(folder), 15)


async def test_demo_that_cannot_start(lone_shell: Shell, folder: Path) -> None:
    """What keeps web or worker from starting is told at once, in one line; of a port that is taken,
    which option names another."""
    (folder / "demo").mkdir()
    (folder / "demo" / "media").write_text("no folder")
    began = asyncio.get_running_loop().time()
    without_files = await lone_shell.run("demo", "--once")
    took = asyncio.get_running_loop().time() - began
    with closing(bind("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        taken = await lone_shell.run("demo", "--port", str(port), PORT="1")

    assert f"{folder}/demo/media cannot be written" in without_files.complaint
    assert took < 25
    assert f"--port: cannot listen on 127.0.0.1:{port}: Address already in use" == taken.complaint


async def test_embedded_web_and_worker(lone_shell: Shell, folder: Path) -> None:
    """Without DATABASE_URL web and worker share the embedded server; whichever signal stops them,
    they exit with 0, and the server goes with them."""
    port = free_port()
    async with (
        lone_shell.start("web", "--host", "127.0.0.1", PORT=str(port)) as web,
        lone_shell.start("worker", PORT=str(port)) as worker,
    ):
        await asyncio.gather(web.says("web is ready"), worker.says("worker is ready"))
        ready = await get(f"http://127.0.0.1:{port}/readyz")
        codes = await asyncio.gather(web.stop(), worker.stop(signal.SIGINT))

    assert 200 == ready[0]
    assert {0} == set(codes)
    await until(lambda: not users_of(folder), 15)
