"""The README's tour, typed into a shell while its demo runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# What the reader sees, in this order; one of the two where they look while it is being reported.
_SEEN = (
    '"variables":["day","name"]',
    '"ok":true',
    '"encoding":"UCS-2"',
    '"forced_by":"✓"',
    '"ok":false',
    '"field":"variables.day"',
    "HTTP/1.1 202",
    "HTTP/1.1 202",
    "Idempotent-Replayed: true",
    '"status":409',
    '"delivered"',
    '"accepted"',
    "<Response/>",
    '"body": "Can we make it 10:00?"',
    # an e-mail with a file, and its answer
    '"subject": "Your plan 🌿"',
    '"body": "Dear Ada,\\n\\nhere is your plan."',
    '"filename": "plan.txt"',
    '"status": "read"',
    '"body": "Thank you! My notes are attached."',
    '"filename": "notes.txt"',
    '"quoted_text": "On Monday Riverside Clinic wrote:',
    '"reply_to": "',
    "Walk more!",
    # WhatsApp, outside of the window and inside
    "WhatsApp accepts free text only within 24 hours",
    '"parameters":1',
    '"provider":"meta"',
    "status       delivered | status       read",
    "delivered | read",
    # a call
    '"status": "delivered"',
    '"digits": "1"',
    '"duration": "21"',
    # STOP, START, and by hand
    '"reason": "stop"',
    "has asked for no more messages on this channel (STOP)",
    '{"data":[],"next_cursor":null}',
    '"note":"asked on the phone"',
    # schedules, batches, faults
    '"status":"canceled"',
    '"status":202',
    '"status":422',
    # what is sent instead
    '"type":"fallback"',
    '"body": "Your results are here."',
    '"fallback_of": "',
    '"reset_after_accept"',
    '"status": "delivered"',
    # the answer was lost, and that was no failure
    '"status": "unknown"',
    '"type": "accepted"',
)

# A reader's second is enough; a machine with other tests on it takes as long as it takes.
_PATIENT = """
until_it_is() {
  for _ in $(seq 300); do
    [[ $(curl -s "$GATEWAY_URL/v1/messages/$2" -H "$key") =~ $1 ]] && return
    command sleep 0.1
  done
}
sleep() {
  until_it_is '"status":"(delivered|read|canceled)"' "$id"
  [[ -z ${mail-} ]] || until_it_is '"status":"read"' "$mail"
}
"""


@pytest.fixture
def demo() -> Iterator[dict[str, str]]:
    """The variables that a running demo tells the reader to export."""
    with tempfile.TemporaryDirectory(prefix="gwd-") as data:
        environment = {**os.environ, "GATEWAY_DATA": data}
        for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_DIRECT_URL"):
            environment.pop(name, None)
        with subprocess.Popen(
            [sys.executable, "-m", "gateway", "demo", "--port", "0"],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env=environment,
        ) as process:
            assert process.stdout
            printed = ""
            for line in process.stdout:
                printed += line
                if "Ctrl-C ends it." in line:
                    break
            exports = re.findall(r"\b((?:GATEWAY|SIMULATOR)_[A-Z_]+)=(\S+)", printed)
            try:
                yield {**environment, **dict(exports)}
            finally:
                process.terminate()


@pytest.mark.skipif(shutil.which("curl") is None, reason="the tour is typed with curl")
def test_the_tour_works(demo: dict[str, str], readme: str, root: Path) -> None:
    """Every command of the tour runs, and shows what the README says."""
    tour = re.search(r"<!-- tour -->(.*)<!-- end of tour -->", readme, re.DOTALL)
    assert tour
    commands = "".join(re.findall(r"^```sh\n(.*?)^```$", tour[1], re.DOTALL | re.MULTILINE))
    commands = commands.replace("python3 -", f"{sys.executable} -")
    commands = commands.replace(".venv/bin/gateway", f"{sys.executable} -m gateway")
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail"],
        input=_PATIENT + commands,
        capture_output=True,
        text=True,
        env=demo,
        cwd=root,
        timeout=180,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr.replace("Waiting for its delivery ...", ""))
    at = 0
    for seen in _SEEN:
        found = re.search("|".join(map(re.escape, seen.split(" | "))), done.stdout[at:])
        assert found, f"{seen} is not seen after:\n{done.stdout[:at][-500:]}"
        at += found.end()
