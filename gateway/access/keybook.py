"""The book of keys: create, list, rotate, revoke. A value is shown once, when it is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.access.values import API_PREFIX, USER_HASH_PREFIX, WRITE_PREFIX, bytes_of_id, hash_of, id_of, shown_of
from gateway.clock import Clock, random_secret
from gateway.configuration.origins import read_origin
from gateway.errors import InvalidInput, NotFound
from gateway.model.scope import PERMISSIONS
from gateway.store.database import Document
from gateway.store.keys import Keys

#: How long a rotated key goes on to open unless something else is asked for.
OVERLAP_MS = 24 * 3_600_000

_LONGEST_TEXT = 255
_MOST_ORIGINS = 100
_MOST_TEAMS = 20
_FASTEST = 1_000_000.0
#: What a rotated key hands on to the one that takes its place.
_HANDED_ON = (
    "kind",
    "workspace",
    "source",
    "permissions",
    "teams",
    "origins",
    "rate",
    "burst",
    "userHashSecret",
    "label",
)

Status = Literal["active", "rotated", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: its id and, this once, its value and a new secret for `userHash`."""

    id: str
    value: str = field(repr=False)
    user_hash_secret: str | None = field(default=None, repr=False)
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """What may be shown of a key. Times are milliseconds, `last_used_at` is up to a minute late."""

    id: str
    kind: Literal["write", "api"]
    workspace: str
    shown: str | None
    label: str
    source: str | None
    permissions: tuple[str, ...]
    teams: tuple[str, ...]
    origins: tuple[str, ...]
    rate: float | None
    burst: float | None
    user_hash: bool
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None
    replaced_by: str | None

    def status(self, now: int) -> Status:
        """`rotated`: it still opens, until `expires_at`; another key has taken its place."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "active" if self.replaced_by is None else "rotated"


class KeyBook:
    """Makes keys and ends them."""

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    async def create_write_key(
        self,
        workspace: str,
        source: str,
        *,
        label: str = "",
        origins: Iterable[str] = (),
        rate: float | None = None,
        burst: float | None = None,
        user_hash: bool = False,
        expires_at: int | None = None,
    ) -> NewKey:
        """A new write key for a source; `user_hash` with a secret for secure mode. Raises InvalidInput."""
        listed = list(dict.fromkeys(read_origin(one) for one in origins))
        if len(listed) > _MOST_ORIGINS:
            raise InvalidInput(f"A key lists at most {_MOST_ORIGINS} origins.", hint="Use https://*.shop.example.")
        for name, number in (("rate", rate), ("burst", burst)):
            if number is not None and not 0 < number <= _FASTEST:
                raise InvalidInput(f"The {name} must be greater than 0 and at most {_FASTEST:,.0f}.")
        if burst is not None and rate is None:
            raise InvalidInput("A burst needs a rate.", hint="Give both, for example --rate 100 --burst 1000.")
        secret = USER_HASH_PREFIX + random_secret() if user_hash else None
        row = {
            "kind": "write",
            "source": checked_text("source", source, least=1),
            "origins": listed,
            "rate": rate,
            "burst": burst,
            # Not hashed: checking a `userHash` needs the secret itself.
            "userHashSecret": secret,
        }
        return await self._add(WRITE_PREFIX, workspace, label, expires_at, row, secret)

    async def create_api_key(
        self,
        workspace: str,
        permissions: Iterable[str],
        *,
        label: str = "",
        teams: Iterable[str] = (),
        expires_at: int | None = None,
    ) -> NewKey:
        """A new API key, which may speak for teams as files of the contract name them. InvalidInput for a permission
        that does not exist."""
        wanted = frozenset(permissions)
        unknown = wanted - PERMISSIONS.keys()
        if unknown:
            raise InvalidInput(
                f"There is no permission {', '.join(sorted(unknown))}.", hint=f"Use some of: {', '.join(PERMISSIONS)}."
            )
        named = sorted({checked_text("team", one, least=1) for one in teams})
        if len(named) > _MOST_TEAMS:
            raise InvalidInput(f"A key speaks for at most {_MOST_TEAMS} teams.")
        row: Document = {"kind": "api", "permissions": sorted(wanted), "teams": named}
        return await self._add(API_PREFIX, workspace, label, expires_at, row, None)

    async def entries(self, workspace: str) -> list[KeyEntry]:
        """The workspace's keys, the oldest first."""
        return [_entry(row) for row in await self._keys.of_workspace(workspace)]

    async def find(self, workspace: str, named: str) -> KeyEntry:
        """The key with this id, with this beginning of its value as `entries` show it, or with this very value.

        Raises NotFound.
        """
        found = [entry for entry in await self.entries(workspace) if _is_named(entry, named)]
        if len(found) != 1:
            raise NotFound(
                f"There is no such key in the workspace {workspace!r}."
                if not found
                else f"{named!r} begins several keys of the workspace {workspace!r}.",
                hint="`journey-gateway keys list --all` shows their ids.",
            )
        return found[0]

    async def rotate(
        self,
        entry: KeyEntry,
        *,
        overlap_ms: int = OVERLAP_MS,
        expires_at: int | None = None,
        new_user_hash: bool = False,
    ) -> NewKey:
        """A new value with all that the key has; the old one opens for `overlap_ms` more (0: no longer).

        A key that was made for a time is followed by one for as long, unless `expires_at` is given. InvalidInput for
        a key that no longer opens or was rotated before.
        """
        now = self._clock.now()
        if (status := entry.status(now)) != "active":
            hint = f"Rotate {entry.replaced_by}." if status == "rotated" else "Create a new one."
            raise InvalidInput(f"The key {entry.id} is {status}.", hint=hint)
        start = bytes_of_id(entry.id)
        row = None if start is None else await self._keys.find_by_id(entry.workspace, start)
        if row is None:
            raise NotFound(f"The key {entry.id} has gone.")
        handed_on = {key: row[key] for key in _HANDED_ON if row.get(key) is not None}
        if new_user_hash and entry.kind != "write":
            raise InvalidInput("Only write keys have a secret for `userHash`.", hint="Leave --new-user-hash out.")
        secret = USER_HASH_PREFIX + random_secret() if new_user_hash else None
        if secret is not None:
            handed_on["userHashSecret"] = secret
        if expires_at is None and entry.expires_at is not None:
            expires_at = now + entry.expires_at - entry.created_at
        prefix = WRITE_PREFIX if entry.kind == "write" else API_PREFIX
        value, hashed, fresh = self._made(prefix, expires_at, handed_on)
        end = now + overlap_ms if entry.expires_at is None else min(entry.expires_at, now + overlap_ms)
        ended: Document = {"expiresAt": end, "replacedBy": id_of(hashed)}
        if overlap_ms <= 0:
            ended["revokedAt"] = now
        await self._keys.replace(entry.workspace, bytes(row["_id"]), ended, hashed, fresh)
        return NewKey(id_of(hashed), value, secret, expires_at)

    async def revoke(self, entry: KeyEntry) -> None:
        """The key opens nothing from now on, and neither does any token it minted."""
        start = bytes_of_id(entry.id)
        row = None if start is None else await self._keys.find_by_id(entry.workspace, start)
        if row is not None and row.get("revokedAt") is None:
            await self._keys.change(entry.workspace, bytes(row["_id"]), {"revokedAt": self._clock.now()})

    async def _add(
        self,
        prefix: str,
        workspace: str,
        label: str,
        expires_at: int | None,
        row: Document,
        secret: str | None,
    ) -> NewKey:
        described = {"workspace": workspace, "label": checked_text("label", label), **row}
        value, hashed, fresh = self._made(prefix, expires_at, described)
        await self._keys.add(hashed, fresh)
        return NewKey(id_of(hashed), value, secret, expires_at)

    def _made(self, prefix: str, expires_at: int | None, described: Document) -> tuple[str, bytes, Document]:
        """A value, its hash, and the row to store. InvalidInput for an end that is past."""
        now = self._clock.now()
        if expires_at is not None and expires_at <= now:
            raise InvalidInput("The key would have expired already.", hint="Name a time to come.")
        value = prefix + random_secret()
        times = {"createdAt": now, "expiresAt": expires_at, "revokedAt": None, "lastUsedAt": None}
        return value, hash_of(value), {**described, "shown": shown_of(value), **times}


def checked_text(name: str, value: str, *, least: int = 0) -> str:
    """A label or a source without blanks around it. Raises InvalidInput."""
    if not least <= len(value.strip()) <= _LONGEST_TEXT or not value.isprintable():
        raise InvalidInput(f"The {name} must be {least} to {_LONGEST_TEXT} printable characters.")
    return value.strip()


def _is_named(entry: KeyEntry, named: str) -> bool:
    return named in (entry.id, entry.shown) or id_of(hash_of(named)) == entry.id


def _entry(row: Document) -> KeyEntry:
    """Rows of the first release have neither label nor end."""

    def value(key: str, otherwise: Any = None) -> Any:
        found = row.get(key)
        return otherwise if found is None else found

    return KeyEntry(
        id=id_of(bytes(row["_id"])),
        kind=row["kind"],
        workspace=row["workspace"],
        shown=value("shown"),
        label=value("label", ""),
        source=value("source"),
        permissions=tuple(value("permissions", ())),
        teams=tuple(value("teams", ())),
        origins=tuple(value("origins", ())),
        rate=value("rate"),
        burst=value("burst"),
        user_hash=value("userHashSecret") is not None,
        created_at=value("createdAt", 0),
        expires_at=value("expiresAt"),
        revoked_at=value("revokedAt"),
        last_used_at=value("lastUsedAt"),
        replaced_by=value("replacedBy"),
    )
