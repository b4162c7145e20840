"""What is refused before a push: names, accounts, cards."""

from typing import Any

from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from autoseg.bundle import CARD_FILE
from autoseg.errors import HubAccessError, HubError
from autoseg.hub.connection import Account, Connection, check_repo_id, is_revision
from autoseg.hub.failures import OnWait, explained, patiently

MAIN = "main"
"""The branch that every repository has."""


def check_names(repo_id: str, *, revision: str | None, tag: str | None) -> None:
    """Refuse names that the Hub cannot have.

    Raises:
        HubError: One is none.
    """
    check_repo_id(repo_id)
    for what, name in (("branch", revision), ("tag", tag)):
        if name is not None and (not is_revision(name) or name.startswith("refs/")):
            raise HubError(
                f"{name!r} is no name for a {what}: use letters, digits, '-', '_', '.' and '/', as "
                f"in 'v1.0'."
            )
    if tag is not None and tag in (MAIN, revision):
        raise HubError(
            f"{tag!r} is the name of the branch; give the tag one of its own, as 'v1.0'."
        )


def check_account(account: Account, repo_id: str, connection: Connection) -> None:
    """Refuse a token that cannot write, or a place that is another's.

    Raises:
        HubAccessError: It is so.
    """
    if not account.may_write:
        raise HubAccessError(
            f"Pushing to {repo_id} failed: the token of {account.name} may only read; make one "
            f"with the role 'write' at {connection.endpoint}/settings/tokens."
        )
    owner, _, name = repo_id.partition("/")
    if owner.lower() not in {namespace.lower() for namespace in account.namespaces}:
        raise HubAccessError(
            f"Pushing to {repo_id} failed: you are signed in as {account.name} and may not write "
            f"to {owner}; push to {' or '.join(f'{place}/{name}' for place in account.namespaces)}."
        )


def check_card(card: str, repo_id: str, connection: Connection, on_wait: OnWait | None) -> None:
    """Refuse a card that the Hub would refuse, before anything is uploaded.

    Raises:
        HubError: The Hub does not accept it; the text says why.
    """

    def ask() -> Any:
        response = get_session().post(
            f"{connection.endpoint}/api/validate-yaml",
            json={"content": card, "repoType": "model"},
            headers=build_hf_headers(token=connection.token or False),
        )
        if response.status_code != 400:
            hf_raise_for_status(response)
        return response.json()

    with explained(connection, f"Pushing to {repo_id}", repo_id):
        answer = patiently(ask, on_wait=on_wait)
    found = answer.get("errors") if isinstance(answer, dict) else None
    errors = [
        str(error.get("message") if isinstance(error, dict) else error) for error in found or ()
    ]
    if errors:
        raise HubError(
            f"Pushing to {repo_id} failed: the Hub does not accept the head of {CARD_FILE} "
            f"({errors[0].strip().partition(chr(10))[0][:200]}); correct the lines between the two "
            f"'---'."
        )
