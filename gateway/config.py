"""Settings: the only reader of the environment."""

from __future__ import annotations

import base64
import binascii
import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from yarl import URL

from channels import providers

# Only those of our providers: other programs may have variables with this ending.
_API_URLS = {f"{name}_API_URL".upper(): name for name in providers.NAMES}
_SECRET = 32
_POSTGRES = (
    *("PGPASSWORD", "PGPASSFILE", "PGUSER", "PGDATABASE"),
    *("PGSSLMODE", "PGSSLCERT", "PGSSLKEY", "PGSSLROOTCERT"),
)


class SettingsError(Exception):
    """A setting is missing or malformed; the text is one line that names it."""


class Settings(BaseSettings):
    """The settings from the environment (`docs/operating.md` explains each)."""

    model_config = SettingsConfigDict(env_prefix="", extra="ignore", frozen=True)

    database_url: str | None = None
    database_owner_url: str | None = None
    database_direct_url: str | None = None
    gateway_data: Path = Path("~/.local/share/gateway")
    public_url: str | None = None
    gateway_secret_keys: Annotated[tuple[bytes, ...], NoDecode] = ()
    supabase_jwt_secret: str | None = None
    supabase_url: str | None = None
    supabase_anon_key: str | None = None
    gateway_media_url: str | None = None
    gateway_subscription_origins: Annotated[tuple[str, ...], NoDecode] = ()
    # Made from variables of their own, never read from one of this name.
    provider_api_urls: Annotated[dict[str, str], NoDecode] = Field(default_factory=dict)
    port: int = Field(default=8080, ge=1, le=65535)
    web_concurrency: int = Field(default=1, ge=1, le=256)
    worker_concurrency: int = Field(default=64, ge=1, le=10_000)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    gateway_url: str | None = None
    gateway_api_key: str | None = None

    @field_validator("database_url", "database_owner_url", "database_direct_url")
    @classmethod
    def _postgres_url(cls, value: str | None) -> str | None:
        if value is not None:
            if not value.startswith(("postgres://", "postgresql://")):
                raise ValueError("must begin with postgresql://")
            _check_servers(value)
        return value

    @field_validator("public_url", "supabase_url", "gateway_url")
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        return None if value is None else check_url(value)

    @field_validator("public_url")
    @classmethod
    def _callable(cls, value: str | None) -> str | None:
        # https://www.twilio.com/docs/api/errors/21609
        if value is not None and "_" in (urlsplit(value).hostname or ""):
            raise ValueError(
                "must have no _ in its host: no certificate authority issues for such a name, "
                "and Twilio refuses callbacks there (21609)"
            )
        return value

    @field_validator("supabase_jwt_secret")
    @classmethod
    def _long_enough(cls, value: str | None) -> str | None:
        # https://datatracker.ietf.org/doc/html/rfc7518#section-3.2
        if value is not None and len(value) < _SECRET:
            raise ValueError(f"must have at least {_SECRET} characters")
        return value

    @field_validator("gateway_data")
    @classmethod
    def _home(cls, value: Path) -> Path:
        try:
            return value.expanduser().absolute()
        except RuntimeError:
            raise ValueError(f"{value} has no home folder: give the whole path") from None

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("gateway_secret_keys", mode="before")
    @classmethod
    def _keys(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        keys = tuple(decode_key(part) for part in value.split(",") if part.strip())
        if not keys:
            raise ValueError("has no key: give one, or leave the variable out")
        return keys

    @field_validator("gateway_subscription_origins", mode="before")
    @classmethod
    def _origins(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(_origin(part.strip()) for part in value.split(",") if part.strip())

    @property
    def base_url(self) -> str:
        """The URL that providers call, without a slash at the end."""
        return self.public_url or f"http://127.0.0.1:{self.port}"

    @property
    def prefix(self) -> str:
        """The path of `base_url`, such as /prefix, or nothing; a proxy may strip it or leave it."""
        return urlsplit(self.base_url).path

    @property
    def starts(self) -> tuple[str, ...]:
        """What may precede each of our paths: nothing, and `prefix` if there is one."""
        return tuple(dict.fromkeys(("", self.prefix)))

    @property
    def is_pooled(self) -> bool:
        """Whether `database_url` is a transaction pooler, with `database_direct_url` around it."""
        return self.database_direct_url is not None


def check_url(value: str) -> str:
    """An http or https URL without a slash at its end; raises `ValueError`."""
    # urlsplit ignores spaces and line ends; the URLs that are compared and signed have none.
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(
            "must have no spaces, no line breaks and no characters beyond ASCII: "
            "write them as xn--... in the host and as %XX in the path"
        )
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be a complete http:// or https:// URL")
    _check_port(value)
    if parts.query or parts.fragment:
        raise ValueError("must have no query and no fragment")
    return value.rstrip("/")


def _origin(value: str) -> str:
    """An origin in the form in which origins are compared; raises `ValueError`."""
    url = URL(check_url(value), encoded=True)
    if url.raw_path != "/" or url.user is not None:
        raise ValueError("each must be an origin, as https://host:port, without path and user")
    return str(url.origin()).lower()


def _check_servers(url: str) -> None:
    """Check each server of a database: libpq and asyncpg accept host:port,host:port."""
    _, at, servers = urlsplit(url).netloc.rpartition("@")
    try:
        for server in servers.split(","):
            _check_port(f"//{server}")
    except ValueError:
        if at or "@" not in url:
            raise
    else:
        if "#" not in url:
            return
    # These characters end the part that urlsplit takes for the servers.
    raise ValueError("a #, / or ? in its password must be written as %23, %2F or %3F")


def _check_port(url: str) -> None:
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise ValueError("its port must be a number from 0 to 65535") from None


def decode_key(text: str) -> bytes:
    """32 bytes from plain or URL-safe base64; raises `ValueError` with what is wrong."""
    text = text.strip().replace("-", "+").replace("_", "/")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise ValueError("each key must be base64") from None
    if len(key) != 32:
        raise ValueError(f"each key must be 32 bytes in base64, one has {len(key)}")
    return key


def read_settings() -> Settings:
    """The settings of this process; raises `SettingsError` with one line."""
    # An empty variable counts as not set: `PORT= gateway web` means the default.
    empty = [name for name, value in os.environ.items() if not value]
    for name in empty:
        if name.lower() in Settings.model_fields or name in _API_URLS:
            del os.environ[name]
    found: dict[str, str] = {}
    for name, provider in _API_URLS.items():
        if (value := os.environ.get(name)) is not None:
            try:
                found[provider] = check_url(value)
            except ValueError as error:
                raise SettingsError(f"{name}: {error}") from None
    try:
        return Settings(provider_api_urls=found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0]).upper() if first["loc"] else "settings"
        raise SettingsError(f"{name}: {first['msg'].removeprefix('Value error, ')}") from None


def postgres_environment() -> dict[str, str]:
    """The variables that asyncpg reads besides a URL, for another program that needs them.

    HOME, because it contains .pgpass; a user without a name may have no home.
    """
    found = {name: value for name in _POSTGRES if (value := os.environ.get(name))}
    with suppress(RuntimeError):
        found["HOME"] = str(Path.home())
    return found


def use_metrics_folder(folder: Path) -> None:
    """Tell prometheus-client, before it is imported, where processes share their metrics."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)


def metrics_folder() -> Path | None:
    """The folder in which the processes of this machine share their metrics, if they do."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(folder) if folder else None
