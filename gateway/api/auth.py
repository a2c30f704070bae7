"""Authentication of callers: API keys of internal services, and Supabase JWTs of staff."""

from __future__ import annotations

import asyncio
import time
from uuid import UUID

import aiohttp
import jwt

from gateway.api.keyring import Keyring
from gateway.config import Settings
from gateway.observability.logs import logger
from gateway.problems import Problem
from gateway.store import accounts
from gateway.store.database import Caller, Database, Staff

_log = logger(__name__)

# Seconds for which fetched public keys are used, and between two attempts to fetch them.
_JWKS_SECONDS = 600
_JWKS_PAUSE = 10
_ASYMMETRIC = ("RS256", "ES256", "EdDSA")


def _unauthorized(detail: str) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": "Bearer"})


class Callers:
    """Recognises callers by their `Authorization` header."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        keyring: Keyring,
        session: aiohttp.ClientSession,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._secret = settings.supabase_jwt_secret
        self._issuer = f"{settings.supabase_url}/auth/v1" if settings.supabase_url else None
        self._keys = _KeySet(f"{self._issuer}/.well-known/jwks.json", session)

    async def recognise(self, authorization: str | None) -> Caller:
        """The caller; raises `Problem` 401, or 403 for somebody who is not active staff."""
        scheme, _, token = (authorization or "").strip().partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or not token.isascii():
            raise _unauthorized("Send an API key or a token as 'Authorization: Bearer ...'.")
        if token.startswith("gw_"):
            if found := await self._keyring.find(token):
                return found
            raise _unauthorized("This API key is not known, or it has been revoked.")
        return await self.by_token(token)

    @staticmethod
    def expiry(authorization: str | None) -> float | None:
        """When a caller's token expires (seconds since 1970); None for a key, which does not."""
        token = (authorization or "").strip().partition(" ")[2].strip()
        if token.startswith("gw_"):
            return None
        return float(jwt.decode(token, options={"verify_signature": False})["exp"])

    async def by_token(self, token: str) -> Staff:
        """The member of staff of a Supabase JWT; raises `Problem` 401, 403 or 503."""
        auth_id = await self._auth_id(token)
        async with self._database.as_claims(auth_id) as db:
            found = await accounts.staff_by_auth_id(db, auth_id)
        if found is None:
            raise Problem(403, "This user is not an active member of staff of an organization.")
        return found

    async def _auth_id(self, token: str) -> UUID:
        try:
            header = jwt.get_unverified_header(token)
            key, algorithms = await self._verification_key(header)
            claims = jwt.decode(
                token,
                key=key,
                algorithms=algorithms,
                audience="authenticated",
                issuer=self._issuer,
                options={
                    "require": ["exp", "sub", "aud"] + (["iss"] if self._issuer else []),
                    "verify_iss": self._issuer is not None,
                    # A token is never refused for its time of issue (RFC 7519, 4.1.6): if the
                    # issuer's clock is a second ahead of ours, it seems to be in the future.
                    "verify_iat": False,
                },
            )
            return UUID(claims["sub"])
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
            reason = str(error) if isinstance(error, jwt.PyJWTError) else "sub is not a UUID"
            raise _unauthorized(f"This token is not valid: {reason}.") from None

    async def _verification_key(
        self, header: dict[str, object]
    ) -> tuple[jwt.PyJWK | str, list[str]]:
        algorithm = header.get("alg")
        if algorithm == "HS256" and self._secret:
            return self._secret, ["HS256"]
        if algorithm in _ASYMMETRIC and self._issuer:
            return await self._keys.find(str(header.get("kid"))), list(_ASYMMETRIC)
        raise jwt.InvalidAlgorithmError(
            "it is signed in a way that SUPABASE_JWT_SECRET and SUPABASE_URL do not allow"
        )


class _KeySet:
    """The issuer's public keys, cached; fetched when they are old, or a token names another one."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session
        self._lock = asyncio.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._tried = self._fetched = -float("inf")

    async def find(self, key_id: str) -> jwt.PyJWK:
        now = time.monotonic()
        if key_id not in self._keys or now - self._fetched > _JWKS_SECONDS:
            async with self._lock:
                # Failed attempts count, too: not every request may wait for an issuer that is down.
                if time.monotonic() - self._tried > _JWKS_PAUSE:
                    self._tried = time.monotonic()
                    await self._fetch()
        if not self._keys:
            raise Problem(
                503,
                "The issuer's keys cannot be read: check SUPABASE_URL and try again.",
                headers={"Retry-After": str(_JWKS_PAUSE)},
            )
        if key_id not in self._keys:
            raise jwt.InvalidKeyError("it names a key that the issuer does not publish")
        return self._keys[key_id]

    async def _fetch(self) -> None:
        try:
            async with self._session.get(
                self._url, timeout=aiohttp.ClientTimeout(total=5), allow_redirects=False
            ) as response:
                response.raise_for_status()
                published = jwt.PyJWKSet.from_dict(await response.json(content_type=None))
        except (aiohttp.ClientError, TimeoutError, ValueError, jwt.PyJWTError) as error:
            _log.warning("the issuer's keys cannot be read", error=type(error).__name__)
            return  # the old keys are better than none
        self._keys = {key.key_id: key for key in published.keys if key.key_id}
        self._fetched = time.monotonic()
