"""What a caller may see: carried by every call into a repository."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model.identity import Identity

#: Every permission a credential can carry, with what it opens.
PERMISSIONS: dict[str, str] = {
    "events:write": "send events by mutation",
    "events:read": "read and watch events",
    "journeys:read": "read and watch users, sessions and journeys",
    "kpis:read": "read KPIs",
    "identities:write": "merge and split users",
    "privacy:write": "say what users consent to, erase users, and see what was erased",
    "pii:read": "see traits, identities and event properties of other people",
    "tokens:mint": "mint end-user tokens",
    "visitors:create": "mint tokens for new anonymous visitors",
    "workspace:read": "see what was quarantined, counted, imported and not delivered, and alerts",
    "workspace:write": "replay what was quarantined, and deliveries",
    "contract:read": "see lineage, versions and proposals of the contract, data requests and observations",
    "contract:propose": "propose changes of the contract, request data, report discrepancies, note observations",
    "contract:approve": "approve, reject and apply proposals, agree to and ship requested data",
}


@dataclass(frozen=True, slots=True)
class Scope:
    """One workspace, and either everybody in it or one subject.

    `subject` is the only identity an end user's token opens; `permissions` are those of PERMISSIONS.
    `visitor` marks a token that opens its subject only as long as nobody is known behind it.
    """

    workspace: str
    subject: Identity | None = None
    permissions: frozenset[str] = frozenset()
    visitor: bool = False

    @classmethod
    def system(cls, workspace: str) -> Scope:
        """The gateway's own work inside one workspace."""
        return cls(workspace, permissions=frozenset(PERMISSIONS))

    def may(self, permission: str) -> bool:
        return permission in self.permissions
