"""gateway/serve.py: listening."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gateway.serve import PortTakenError, bind, claim


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", "IPv4"), ("::1", "IPv6")])
def test_a_free_port(host: str, family: str) -> None:
    """Port 0 takes a free one, of the address's family."""
    with closing(bind(host, 0)) as bound:
        assert (host, True) == (bound.getsockname()[0], bound.getsockname()[1] > 0)
        assert (socket.AF_INET6 if family == "IPv6" else socket.AF_INET) == bound.family


def test_a_port_that_is_taken() -> None:
    """A port that was bound is taken from then on, also while its process has yet to begin: it is
    an error that names PORT, address and reason."""
    with closing(bind("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(PortTakenError) as caught:
            bind("127.0.0.1", port)

    assert f"PORT: cannot listen on 127.0.0.1:{port}: Address already in use" == str(caught.value)


def test_a_port_that_is_claimed() -> None:
    """A port that is kept for several processes of ours is theirs alone, before any of them listens
    and after, and free when it is given back."""
    with closing(bind("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with closing(claim("127.0.0.1", port)):
        for taking in (bind, claim):
            with pytest.raises(PortTakenError):
                taking("127.0.0.1", port)
        with (
            closing(bind("127.0.0.1", port, shared=True)) as one,
            closing(bind("127.0.0.1", port, shared=True)) as other,
        ):
            one.listen()
            other.listen()
            with socket.create_connection(("127.0.0.1", port)):
                pass
    with closing(bind("127.0.0.1", port)) as again:
        assert port == again.getsockname()[1]


def test_a_port_that_was_just_given_back() -> None:
    """A port can be taken again at once: a restart does not wait for old connections."""
    with closing(bind("127.0.0.1", 0)) as first:
        first.listen()
        port = first.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = first.accept()
            accepted.close()
            client.recv(1)
    with closing(bind("127.0.0.1", port)) as second:
        assert port == second.getsockname()[1]


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_a_host_that_is_not_here(host: str) -> None:
    """An address of another machine, or a name that nobody has, is the same kind of error."""
    with pytest.raises(PortTakenError, match=host):
        bind(host, 0)


WORKER = """
import asyncio, resource, sys
from pathlib import Path
from gateway.config import Settings
from gateway.serve import serve_worker

async def main():
    stop = asyncio.Event()
    stop.set()
    await serve_worker(Settings(
        database_url="postgresql://nobody@127.0.0.1:9/nothing",
        gateway_data=Path(sys.argv[1]), gateway_secret_keys=(b"k" * 32,)), stop)

resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
asyncio.run(main())
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def test_a_worker_has_as_many_connections_as_the_system_lets_it(tmp_path: Path) -> None:
    """Each message under way is a connection: what a login has without asking is soon used up."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ended = subprocess.run(
        [sys.executable, "-c", WORKER, str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    soft = int(ended.stdout.split()[-1])
    assert soft == (65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536))
