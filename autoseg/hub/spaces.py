"""Models on a Space of the Hub: `plan_deploy` checks and finds, `deploy` does and waits."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError

from autoseg.errors import HubAccessError
from autoseg.hub.connection import Connection
from autoseg.hub.failures import explained, patiently
from autoseg.hub.space_plan import (
    HARDWARE,
    TOKEN_SECRET,
    DeployOptions,
    DeployPlan,
    plan_deploy,
)
from autoseg.hub.space_runtime import (
    POLL_S,
    SETTLE_S,
    OnStage,
    explain_stage,
    follow,
    hide,
)
from autoseg.hub.space_state import PlannedModel
from autoseg.hub.waiting import status_of

__all__ = [
    "HARDWARE",
    "TOKEN_SECRET",
    "Deployed",
    "DeployOptions",
    "DeployPlan",
    "PlannedModel",
    "deploy",
    "plan_deploy",
]

WAIT_S = 1800.0
"""How long a Space is waited for; installing torch there takes minutes."""


@dataclass(frozen=True)
class Deployed:
    """A Space after a deploy."""

    repo_id: str
    """Name as owner/name."""
    url: str
    """Its page on the Hub."""
    stage: str
    """As the Hub calls it, e.g. "RUNNING"."""
    app_url: str | None
    """Address of the page itself, without the Hub around it."""
    changed: bool
    """Whether anything had to be done."""
    note: str
    """What the user should still know or do; "" if it runs."""


def deploy(
    plan: DeployPlan,
    connection: Connection,
    *,
    wait_s: float = WAIT_S,
    on_stage: OnStage | None = None,
    poll_s: float = POLL_S,
    settle_s: float = SETTLE_S,
) -> Deployed:
    """Make the Space or bring it up to date, and wait until it runs.

    What is there already is left alone: the same deploy again changes and builds nothing. Secrets
    are set every time, because the Hub never gives them back to be compared. A Space that is to
    become public is opened last, so that one that fails stays as private as it was.

    Args:
        plan: What `plan_deploy` found.
        connection: The same as for the plan.
        wait_s: Longest time to wait for the Space, in seconds; 0: do not wait.
        on_stage: Told in words what is done and each stage of the Space.
        poll_s: Time between two looks, in seconds.
        settle_s: How long the Space may still show its old stage, in seconds.

    Raises:
        HubAccessError: The Hub wants a paid plan, or the token may not do this.
        HubError: The Space was not built or does not run; the text ends with its log.
    """
    tell = on_stage or _ignore
    changed, commit = _apply(plan, connection, tell)
    found, settled = follow(
        plan.space,
        connection,
        changed=changed,
        commit=commit,
        wait_s=wait_s,
        on_stage=tell,
        poll_s=poll_s,
        settle_s=settle_s,
    )
    url = connection.page(plan.space, "space")
    if settled:
        stage = found.stage
        note = explain_stage(plan.space, found, connection, plan.options.secrets.values())
    else:
        stage = "BUILDING"
        note = f"The Hub is about to build {plan.space}; its page {url} shows when it runs."
    if plan.changes_visibility:
        tell("Making the Space public")
        _open(plan, connection)
        changed = True
    return Deployed(plan.space, url, stage, found.app_url, changed, note)


def _apply(plan: DeployPlan, connection: Connection, tell: OnStage) -> tuple[bool, str | None]:
    """Change what has to change: whether that was anything, and the new commit if there is one."""
    api, space, options = connection.api, plan.space, plan.options
    doing = f"Deploying {space}"
    changed, commit = not plan.found.exists, None
    hardware: Any = plan.hardware
    with (
        explained(connection, doing, space, repo_type="space"),
        _payable(plan, connection),
        _hiding(options.secrets.values()),
    ):
        if not plan.found.exists:
            tell("Making the Space")
            patiently(
                lambda: api.create_repo(
                    space, repo_type="space", space_sdk="gradio", private=not plan.public,
                    space_hardware=hardware, exist_ok=True,
                )
            )  # fmt: skip
            hardware = _still_wanted(plan, connection)
        for name, value in plan.variables.items():
            tell(f"Setting {name}")
            _call(api.add_space_variable, space, name, value)
            changed = True
        for name, value in options.secrets.items():
            tell(f"Setting the secret {name}")
            _call(api.add_space_secret, space, name, value)
            changed = True
        if hardware:
            tell(f"Asking for {hardware}")
            _call(api.request_space_hardware, space, hardware)
            changed = True
        if plan.changed_files:
            tell("Uploading")
            commit = _commit(plan, connection)
            changed = True
        elif options.restart:
            tell("Starting again")
            patiently(lambda: api.restart_space(space, factory_reboot=True))
            changed = True
    return changed, commit


def _open(plan: DeployPlan, connection: Connection) -> None:
    """Let everybody see a Space that was private."""
    api = connection.api
    with explained(connection, f"Making {plan.space} public", plan.space, repo_type="space"):
        patiently(lambda: api.update_repo_settings(plan.space, repo_type="space", private=False))


def _call(function: Any, *arguments: str) -> None:
    patiently(lambda: function(*arguments))


def _still_wanted(plan: DeployPlan, connection: Connection) -> str | None:
    """Hardware that a new Space was not given at once."""
    if plan.hardware is None:
        return None
    runtime = patiently(lambda: connection.api.get_space_runtime(plan.space))
    return None if runtime.requested_hardware == plan.hardware else plan.hardware


def _commit(plan: DeployPlan, connection: Connection) -> str:
    """Upload the files that changed, all or none; the new commit."""
    operations = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=plan.files[name].encode())
        for name in plan.changed_files
    ]
    names = ", ".join(model.repo_id for model in plan.models)
    answer = patiently(
        lambda: connection.api.create_commit(
            plan.space,
            operations,
            repo_type="space",
            commit_message=f"Show {names} with autoseg",
        )
    )
    return str(answer.oid)


@contextmanager
def _hiding(secrets: Collection[str]) -> Iterator[None]:
    """Take secrets out of what the Hub answers, before it is cut short for a sentence."""
    try:
        yield
    except HfHubHTTPError as error:
        words = error.server_message or error.response.headers.get("X-Error-Message") or ""
        error.server_message = hide(words, secrets) or None
        raise


@contextmanager
def _payable(plan: DeployPlan, connection: Connection) -> Iterator[None]:
    """Say what to do where the Hub wants a paid plan.

    Raises:
        HubAccessError: It wants one.
    """
    try:
        yield
    except HfHubHTTPError as error:
        if status_of(error) != 402:
            raise
        what = f"{plan.hardware} for {plan.space}" if plan.hardware else f"the Space {plan.space}"
        failure = HubAccessError(
            f"The Hub wants a paid plan for {what} (payment required): subscribe to PRO, or to "
            f"Team for an organisation, at {connection.endpoint}/pricing, or try the hardware "
            f"zero-a10g, which free accounts in good standing may use for two Spaces, or show the "
            f"model on your own computer with `autoseg app`."
        )
        try:
            raise failure from None
        finally:
            failure.__context__ = None  # The client's error may hold the token.


def _ignore(stage: str) -> None:
    pass
