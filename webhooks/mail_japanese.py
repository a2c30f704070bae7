"""Japanese as Windows writes it, with ①, ㈱ and the 髙 of many names, which Python does not read.

ISO-2022-JP and EUC-JP have the same table as Shift_JIS, whose codec knows what Windows added to it
(https://encoding.spec.whatwg.org/#iso-2022-jp-decoder and #euc-jp-decoder).
"""

from __future__ import annotations

import re
from typing import Final

_SHIFT = re.compile(rb"\x1b(\$[@B]|\([BIJ])")
_TO_JAPANESE = re.compile(rb"\x1b(?:\$[@B]|\(I)")
_CHARACTER = re.compile(rb"\x8e[\xa1-\xdf]|[\xa1-\xfe]{2}")
_HIGH: Final = bytes(byte | 0x80 if 0x20 < byte < 0x7F else byte for byte in range(256))


def is_iso_2022_jp(data: bytes) -> bool:
    """Whether bytes shift to Japanese characters, which no other text does."""
    return _TO_JAPANESE.search(data) is not None


def iso_2022_jp(data: bytes) -> str:
    """Text of seven bits, with shifts between alphabets."""
    first, *rest = _SHIFT.split(data)
    written = [first]
    for shift, piece in zip(rest[::2], rest[1::2], strict=True):
        if shift in {b"(B", b"(J"}:
            written.append(piece)
        else:
            high = piece.translate(_HIGH)
            written.append(high if shift == b"(I" else _CHARACTER.sub(_in_shift_jis, high))
    return b"".join(written).decode("cp932", "replace")


def euc_jp(data: bytes) -> str:
    """Text of eight bits, two bytes for each Japanese character."""
    return _CHARACTER.sub(_in_shift_jis, data).decode("cp932", "replace")


def _in_shift_jis(character: re.Match[bytes]) -> bytes:
    """One character of EUC-JP: two rows of its table are one there, and 0x7F is left out."""
    first, second = character[0]
    if first == 0x8E:
        return bytes([second])
    row, cell = first - 0xA1, second - 0xA1
    trail = cell + (0x9F if row % 2 else 0x40 if cell < 63 else 0x41)
    return bytes([row // 2 + (0x81 if row < 62 else 0xC1), trail])
