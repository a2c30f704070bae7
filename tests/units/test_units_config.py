"""gateway/config.py: what the environment may say, and how it is refused."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Settings, SettingsError, decode_key, read_settings


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that says nothing about the gateway."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@given(key=st.binary(min_size=32, max_size=32), padded=st.booleans())
def test_keys_in_both_alphabets(key: bytes, *, padded: bool) -> None:
    """A key may be in plain or URL-safe base64, with its padding or without, in white space."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(key).decode()
        assert key == decode_key(f" {text if padded else text.rstrip('=')}\n")


@pytest.mark.parametrize("text", ["", "A", "AAAA", "!" * 43, "é" * 43, "A" * 42, "A" * 45])
def test_what_is_no_key(text: str) -> None:
    """Anything that is not 32 bytes in base64 is a ValueError that does not repeat it."""
    with pytest.raises(ValueError, match=r".") as caught:
        decode_key(text)
    assert len(text) < 4 or text not in str(caught.value)


def test_defaults() -> None:
    """Without any variable: the embedded server, port 8080, one web process, this machine."""
    settings = read_settings()

    assert settings.database_url is None
    assert (8080, 1) == (settings.port, settings.web_concurrency)
    assert "http://127.0.0.1:8080" == settings.base_url
    assert Path.home() / ".local/share/gateway" == settings.gateway_data
    assert () == settings.gateway_secret_keys
    assert {} == settings.provider_api_urls


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """`PORT= gateway web` means the default; other programs' empty variables stay."""
    for name in ("PORT", "DATABASE_URL", "GATEWAY_SECRET_KEYS", "PUBLIC_URL", "SOMEBODY_ELSES"):
        monkeypatch.setenv(name, "")

    settings = read_settings()

    assert (8080, None, ()) == (settings.port, settings.database_url, settings.gateway_secret_keys)
    assert "" == os.environ["SOMEBODY_ELSES"]


def test_everything_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each variable of the contract arrives in its setting, in the form that the code needs."""
    first, second = bytes(range(32)), bytes(range(1, 33))
    keys = ",".join(base64.b64encode(key).decode() for key in (first, second))
    for name, value in {
        "DATABASE_URL": "postgresql://u:p@host/db?sslmode=require",
        "DATABASE_OWNER_URL": "postgres:///db?host=/run/postgresql",
        "GATEWAY_DATA": str(tmp_path),
        "PUBLIC_URL": "https://msg.example.org/prefix/",
        "GATEWAY_SECRET_KEYS": f" {keys}, ",
        "SUPABASE_URL": "https://x.supabase.co/",
        "TWILIO_API_URL": "http://127.0.0.1:9090",
        "PORT": "5000",
        "LOG_LEVEL": "INFO",
        "LOG_FORMAT": "Console",
    }.items():
        monkeypatch.setenv(name, value)

    settings = read_settings()

    assert (first, second) == settings.gateway_secret_keys
    assert "https://msg.example.org/prefix" == settings.base_url
    assert "https://x.supabase.co" == settings.supabase_url
    assert "http://127.0.0.1:9090" == settings.provider_api_urls["twilio"]
    assert (5000, "info", "console") == (settings.port, settings.log_level, settings.log_format)
    assert tmp_path == settings.gateway_data


def test_a_folder_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tilde is the home folder, and a relative folder is made absolute."""
    monkeypatch.setenv("GATEWAY_DATA", "~/x")
    assert Path.home() / "x" == read_settings().gateway_data
    monkeypatch.setenv("GATEWAY_DATA", "x")
    assert Path.cwd() / "x" == read_settings().gateway_data


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://x"),
        ("DATABASE_URL", "postgresql://h:port/x"),
        ("PORT", "0"),
        ("PUBLIC_URL", "https://x/?a=b"),
        ("PUBLIC_URL", "https://x/#a"),
        ("PUBLIC_URL", " https://msg.example.org"),
        ("PUBLIC_URL", "https://msg.example.org\n"),
        ("PUBLIC_URL", "https://msg.example.org/a b"),
        ("PUBLIC_URL", "https://mön.example"),
        ("TWILIO_API_URL", "http://127.0.0.1:9090 "),
        ("GATEWAY_SECRET_KEYS", "AAAA"),
        ("GATEWAY_SECRET_KEYS", ","),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_the_error_is_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A malformed setting is one line that begins with its name."""
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as caught:
        read_settings()

    assert str(caught.value).startswith(f"{name}: ")
    assert 1 == len(str(caught.value).splitlines())


def test_a_public_name_that_providers_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """No provider calls a host with _ in its name; other servers may have one, and paths, too."""
    monkeypatch.setenv("PUBLIC_URL", "https://gw.example.org/a_b")
    monkeypatch.setenv("SUPABASE_URL", "http://supabase_kong:8000")
    assert "https://gw.example.org/a_b" == read_settings().base_url

    monkeypatch.setenv("PUBLIC_URL", "https://msg_gw.example.org")
    with pytest.raises(SettingsError, match=r"^PUBLIC_URL: .*certificate.*21609"):
        read_settings()


def test_secrets_are_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line about a wrong secret or password does not hold it."""
    for name, value in {
        "GATEWAY_SECRET_KEYS": "c2VjcmV0LXNlY3JldA==",
        "DATABASE_URL": "mysql://user:s3cret@host/db",
    }.items():
        monkeypatch.setenv(name, value)
        with pytest.raises(SettingsError) as caught:
            read_settings()
        assert "c2VjcmV0" not in str(caught.value)
        assert "s3cret" not in str(caught.value)
        monkeypatch.delenv(name)


def test_origins_of_subscriptions_in_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    """An origin is compared in small letters, however it was written."""
    monkeypatch.setenv(
        "GATEWAY_SUBSCRIPTION_ORIGINS", "HTTP://CRM.internal:8080, https://b.internal"
    )

    origins = read_settings().gateway_subscription_origins

    assert ("http://crm.internal:8080", "https://b.internal") == origins


@pytest.mark.parametrize(
    "value",
    [
        "postgresql://u:p@h1:5432,h2:5433/db",
        "postgresql://u:p@h1,h2/db?target_session_attrs=primary",
        "postgresql://u:p@[::1]:5432,[::2]:5432/db",
        "postgresql:///db?host=/a,/b&port=1,1",
        "postgresql://u@h/db?application_name=a@b",
        "postgresql://u:p@%2Frun%2Fpg:5432/db",
    ],
)
def test_addresses_of_databases(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """A database may have several servers, as libpq and asyncpg take them."""
    monkeypatch.setenv("DATABASE_URL", value)
    assert value == read_settings().database_url


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("postgresql://u:p@h1:5432,h2:x/db", "its port must be a number"),
        ("postgresql://u:p@h1:99999,h2/db", "its port must be a number"),
        *((f"postgresql://u:p{sign}x@h:1/db", "must be written as %23") for sign in "#/?"),
    ],
)
def test_addresses_of_no_database(monkeypatch: pytest.MonkeyPatch, value: str, why: str) -> None:
    """What is wrong is said: the port of one of several, or a sign that a password may not have."""
    monkeypatch.setenv("DATABASE_URL", value)
    with pytest.raises(SettingsError, match=why):
        read_settings()
