"""Who may do what: tokens, their owners, and the namespaces these may see and write."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class User:
    """One token and the account it belongs to."""

    name: str
    """Of the account; of the token alone where `acts_as` names the account."""
    token: str
    role: Literal["read", "write", "fineGrained"] = "write"
    organisations: tuple[str, ...] = ()
    """Names; "lab:read" for a member who may not write there."""
    acts_as: str | None = None
    """The account, where this is a second token of it."""
    writable: tuple[str, ...] = ()
    """Namespaces that a fine-grained token may write; others write wherever the account may."""

    @property
    def account(self) -> str:
        return self.acts_as or self.name

    @property
    def roles(self) -> dict[str, str]:
        """The account's role in each organisation it belongs to."""
        return {
            name: role or "write"
            for name, _, role in (entry.partition(":") for entry in self.organisations)
        }

    def may_see(self, namespace: str) -> bool:
        """Whether private repositories of the namespace are there for this token."""
        return namespace == self.account or namespace in self.roles

    def may_write(self, namespace: str) -> bool:
        if self.role == "fineGrained":
            return namespace in self.writable
        owned = namespace == self.account or self.roles.get(namespace) in ("write", "admin")
        return self.role == "write" and owned

    def introduce(self) -> dict[str, Any]:
        """What the Hub answers to "who am I"."""
        token: dict[str, Any] = {"displayName": self.name, "role": self.role}
        if self.role == "fineGrained":
            token["fineGrained"] = {
                "canReadGatedRepos": True,
                "global": [],
                "scoped": [self._scope(namespace) for namespace in self.writable],
            }
        return {
            "type": "user",
            "id": _id_of(self.account),
            "name": self.account,
            "fullname": self.account.capitalize(),
            "isPro": False,
            "orgs": [
                {
                    "type": "org",
                    "id": _id_of(name),
                    "name": name,
                    "fullname": name.capitalize(),
                    "isEnterprise": False,
                    "roleInOrg": role,
                }
                for name, role in self.roles.items()
            ],
            "auth": {"type": "access_token", "accessToken": token},
        }

    def _scope(self, namespace: str) -> dict[str, Any]:
        kind = "user" if namespace == self.account else "org"
        return {
            "entity": {"_id": _id_of(namespace), "type": kind, "name": namespace},
            "permissions": ["repo.content.read", "repo.write"],
        }


def _id_of(name: str) -> str:
    """24 hexadecimal digits, as the Hub's ids have."""
    return name.encode().hex()[:24].ljust(24, "0")


class Accounts:
    """The tokens that are known."""

    def __init__(self, users: Iterable[User]) -> None:
        self._by_token = {user.token: user for user in users}

    def of_token(self, token: str) -> User | None:
        return self._by_token.get(token)
