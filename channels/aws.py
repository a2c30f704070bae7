"""AWS Signature Version 4, in the header `Authorization`.

Docs: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
Only for requests without a query. The token of temporary credentials is signed as one more header.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final
from urllib.parse import quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Signer:
    """Credentials for one service in one region."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    region: str
    service: str
    session_token: str | None = field(default=None, repr=False)

    def sign(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> dict[str, str]:
        """The headers to send: those given, Host, the time and the signature over all of them."""
        moment = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        sent = {**headers, "Host": _host(url), "X-Amz-Date": moment}
        if self.session_token:
            sent["X-Amz-Security-Token"] = self.session_token
        values = {name.lower(): " ".join(value.split()) for name, value in sent.items()}
        names = ";".join(sorted(values))
        path = quote(urlsplit(url).path or "/", safe="/~")
        lines = [method, path, "", *(f"{name}:{values[name]}" for name in sorted(values))]
        canonical = "\n".join([*lines, "", names, sha256(body).hexdigest()])
        scope = f"{moment[:8]}/{self.region}/{self.service}/aws4_request"
        hashed = sha256(canonical.encode()).hexdigest()
        to_sign = f"{ALGORITHM}\n{moment}\n{scope}\n{hashed}"
        signature = hmac.digest(self._key(moment[:8]), to_sign.encode(), "sha256").hex()
        sent["Authorization"] = (
            f"{ALGORITHM} Credential={self.access_key_id}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return sent

    def _key(self, day: str) -> bytes:
        key = f"AWS4{self.secret_access_key}".encode()
        for part in (day, self.region, self.service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        return key


def _host(url: str) -> str:
    """The header Host as HTTP clients send it: without the default port of its scheme."""
    parts = urlsplit(url)
    return parts.netloc.lower().removesuffix(DEFAULT_PORTS.get(parts.scheme, ""))
