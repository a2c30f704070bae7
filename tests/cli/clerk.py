"""Runs the commands from its standard input, one after another, in one process.

Each line is `[[words ...], {environment}, folder]`; each answer is `[code, stdout, stderr]`. So
Python starts and imports only once for many commands: that is most of the time of a short one.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import traceback

from gateway.cli import run


def give(words: list[str], environment: dict[str, str], folder: str) -> tuple[int, str, str]:
    """Run one command in a folder; returns exit code, stdout and stderr."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["gateway", *words]
    out, err = io.StringIO(), io.StringIO()
    code: object = 1
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run()
    except SystemExit as end:
        code = end.code or 0
    except Exception:  # noqa: BLE001 - as the interpreter would
        err.write(traceback.format_exc())
    return int(str(code)), out.getvalue(), err.getvalue()


def main() -> None:
    """Work until the standard input ends."""
    for line in sys.stdin.buffer:
        answer = json.dumps(give(*json.loads(line))).encode()
        sys.stdout.buffer.write(answer + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
