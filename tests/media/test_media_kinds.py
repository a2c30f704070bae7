"""A file is what its bytes say; its name is only a name."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.kinds import INLINE, UNKNOWN, clean_name, plain_type, type_of

JPEG = b"\xff\xd8\xff\xe0 rest"
PNG = b"\x89PNG\r\n\x1a\n rest"
MP4 = b"\x00\x00\x00\x18ftypisom rest"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
HTML = b"<html><script>alert(1)</script>"


@pytest.mark.parametrize(
    ("content", "said", "kind"),
    [
        (JPEG, "image/jpeg", "image/jpeg"),
        (JPEG, "image/jpg", "image/jpeg"),
        (JPEG, None, "image/jpeg"),
        (JPEG, "text/html", "image/jpeg"),
        (PNG, "image/jpeg", "image/png"),
        (b"GIF89a", "application/octet-stream", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", None, "image/webp"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "audio/x-wav", "audio/wav"),
        (b"%PDF-1.7", "application/pdf", "application/pdf"),
        (b"OggS\x00", "audio/ogg; codecs=opus", "audio/ogg"),
        (b"OggS\x00", None, "audio/ogg"),
        (MP4, "video/mp4", "video/mp4"),
        (MP4, "audio/mp4", "audio/mp4"),
        (MP4, None, "video/mp4"),
        (b"\x00\x00\x00\x18ftypM4A ", "audio/x-m4a", "audio/mp4"),
        (b"\x00\x00\x00\x18ftyp3gp4", "video/3gpp", "video/3gpp"),
        (b"\x00\x00\x00\x14ftyp3g2a", "audio/3gpp2", "audio/3gpp2"),
        (b"\x00\x00\x00\x18ftypheic", "image/heic", "image/heic"),
        (b"\x00\x00\x00\x18ftypheix", "image/heif", "image/heif"),
        (b"\x00\x00\x00\x18ftypmif1", None, "image/heif"),
        (b"\x00\x00\x00\x18ftypmif1", "image/heic", "image/heic"),
        (b"\x00\x00\x00\x18ftypmif1", "image/avif", "image/avif"),
        (b"\x00\x00\x00\x18ftypmsf1", "video/mp4", "image/heif-sequence"),
        (b"\x00\x00\x00\x18ftyphevc", None, "image/heic-sequence"),
        (b"\x00\x00\x00\x18ftyphevx", "image/heif", "image/heif"),
        (b"\x00\x00\x00\x18ftypavif", "application/octet-stream", "image/avif"),
        (b"\x00\x00\x00\x18ftypavis", "image/avif", "image/avif"),
        (b"BM\x9a\x00\x00\x00\x00\x00\x00\x00", "image/x-ms-bmp", "image/bmp"),
        (b"BMW and others", "image/bmp", UNKNOWN),
        (b"BMW and others", "text/plain", "text/plain"),
        (b"{\\rtf1\\ansi", "application/rtf", "text/rtf"),
        (b"PK\x03\x04", "application/vnd.apple.pkpass", "application/vnd.apple.pkpass"),
        (b"\x00\x00\x01\xba!", "video/mpeg", "video/mpeg"),
        (b".snd\x00", "audio/basic", "audio/basic"),
        (b"ID3\x04", "audio/mpeg", "audio/mpeg"),
        (b"\xff\xfb\x90", "audio/mp3", "audio/mpeg"),
        (b"\xff\xf1\x50", "audio/aac", "audio/aac"),
        (b"\xff\xfet\x00e\x00", "text/plain", UNKNOWN),
        (b"#!AMR\n", "audio/amr", "audio/amr"),
        (b"PK\x03\x04", DOCX, DOCX),
        (b"PK\x03\x04", None, "application/zip"),
        (b"BEGIN:VCARD", "text/vcard", "text/vcard"),
        (b"BEGIN:VCARD", "text/x-vcard; charset=utf-8", "text/vcard"),
        (b"a,b", "text/csv", "text/csv"),
        (b"a\x00b", "text/plain", UNKNOWN),
        (b"", "text/plain", "text/plain"),
        (b"", None, UNKNOWN),
        (HTML, "text/html", UNKNOWN),
        (HTML, "image/jpeg", UNKNOWN),
        (b"<svg onload=alert(1)>", "image/svg+xml", UNKNOWN),
        (b"<?xml", "application/xml", UNKNOWN),
        (b"alert(1)", "text/javascript", UNKNOWN),
        (b"MZ", "application/x-msdownload", UNKNOWN),
    ],
)
def test_types(content: bytes, said: str | None, kind: str) -> None:
    """What was said counts where the first bytes agree; what runs anywhere is unknown."""
    assert kind == type_of(content, said)


@given(st.text())
def test_any_said_type(said: str) -> None:
    """Whatever is said, what is shown inside of a page is one of a few types."""
    assert plain_type(said) == plain_type(f"{said}; charset=utf-8")
    assert type_of(HTML, said) not in INLINE


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        (None, None),
        ("", None),
        ("...", None),
        ("a.jpg", "a.jpg"),
        ("Grüße 👋.pdf", "Grüße 👋.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\a.doc", "a.doc"),
        ("a\r\nSet-Cookie: x", "a Set-Cookie_ x"),
        ('a"b;c', "a_b;c"),
        ("harm\u202egpj.exe", "harmgpj.exe"),
        ("a\x00\ud800b", "a b"),
        ("x" * 300 + ".jpeg", "x" * 139 + ".jpeg"),
        ("x" * 300, "x" * 150),
    ],
)
def test_names(name: str | None, clean: str | None) -> None:
    """A name has no folder, no control, nothing that turns text around, and an end."""
    assert clean == clean_name(name)


@given(st.text(max_size=400))
def test_any_name(name: str) -> None:
    """Whatever it was, a name fits into a header and is clean already when it is cleaned again."""
    clean = clean_name(name) or "x"

    assert len(clean) <= 150
    assert not set(clean) & set('\r\n\x00/\\"')
    assert not [c for c in clean if unicodedata.category(c) in ("Cc", "Cf", "Cs")]
    assert clean == clean_name(clean)
