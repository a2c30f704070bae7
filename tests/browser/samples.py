"""Files that somebody could have sent."""

from __future__ import annotations

import io
import math
import struct
import wave
import zlib


def picture() -> bytes:
    """A small PNG."""
    size = 160
    lines = b"".join(
        b"\0" + bytes(
            part
            for x in range(size)
            for part in (40 + x, 90 + y // 2, 160 - x // 3)
        )
        for y in range(size)
    )  # fmt: skip

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


def sound() -> bytes:
    """Half a second of a tone."""
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        tone = (int(9000 * math.sin(n / 3)) for n in range(4000))
        file.writeframes(b"".join(struct.pack("<h", value) for value in tone))
    return held.getvalue()
