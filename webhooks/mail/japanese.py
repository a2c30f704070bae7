"""Japanese as Windows writes it, with ①, ㈱ and the 髙 of many names, which Python's codecs lack.

ISO-2022-JP and EUC-JP have the same table as Shift_JIS, for which Python has a codec (cp932) with
the additions of Windows (https://encoding.spec.whatwg.org/#iso-2022-jp-decoder, #euc-jp-decoder).
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

_SHIFT = re.compile(rb"\x1b(\$[@B]|\([BIJ])")
_TO_JAPANESE = re.compile(rb"\x1b(?:\$[@B]|\(I)")
_TOKENS = re.compile(
    rb"\x8e[\xa1-\xdf]|\x8f[\xa1-\xfe]{2}|[\xa1-\xfe]{2}|[\x00-\x7f]+|.", re.DOTALL
)
_HIGH: Final = bytes(byte | 0x80 if 0x20 < byte < 0x7F else byte for byte in range(256))


def is_iso_2022_jp(data: bytes) -> bool:
    """Whether bytes shift to Japanese characters, which no other text does."""
    return _TO_JAPANESE.search(data) is not None


def iso_2022_jp(data: bytes) -> str:
    """Text of seven bits, with shifts between alphabets."""
    first, *rest = _SHIFT.split(data)
    read = [_others(first)]
    for shift, piece in zip(rest[::2], rest[1::2], strict=True):
        if shift in {b"(B", b"(J"}:
            read.append(_others(piece))
        else:
            high = piece.translate(_HIGH)
            read.append(_others(high) if shift == b"(I" else euc_jp(high))
    return "".join(read)


def euc_jp(data: bytes) -> str:
    """Text of eight bits, two bytes for each Japanese character, or three for a rare one."""
    table = _table()
    return "".join(
        [
            # Three bytes are of a table that Shift_JIS lacks, and that has no additions.
            token.decode("euc_jp", "replace")
            if token[0] == 0x8F
            else table.get(token) or _others(token)
            for token in _TOKENS.findall(data)
        ]
    )


def _others(data: bytes) -> str:
    return data.decode("cp932", "replace")


@cache
def _table() -> dict[bytes, str]:
    """The characters of EUC-JP: two rows of its table are one in Shift_JIS, which leaves out 0x7F;
    half-width ones follow 0x8E."""
    found = {bytes([0x8E, byte]): _others(bytes([byte])) for byte in range(0xA1, 0xE0)}
    for row in range(94):
        lead = row // 2 + (0x81 if row < 62 else 0xC1)
        for cell in range(94):
            trail = cell + (0x9F if row % 2 else 0x40 if cell < 63 else 0x41)
            found[bytes([0xA1 + row, 0xA1 + cell])] = _others(bytes([lead, trail]))
    return found
