"""What the buttons of the Share tab do: sign in, push, pull, deploy; functions of plain values."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from autoseg.bundle import load_bundle
from autoseg.errors import AutosegError, HubAccessError, HubError
from autoseg.hub.connection import Account, Connection, connect, parse_repo, sign_in
from autoseg.hub.pull import list_models, pull_model
from autoseg.hub.push import PushOptions, PushPlan, draft_push, plan_push, push
from autoseg.hub.spaces import DeployOptions, deploy, plan_deploy
from autoseg.predictor import find_bundle
from autoseg.pulled_models import PulledModel
from autoseg.ui import share_view, views
from autoseg.ui.access import Access
from autoseg.ui.texts import tr
from autoseg.workspace import Workspace

Values = dict[str, Any]
"""What a callback changes, by the name of the component."""

OnBytes = Callable[[int, int], None]
"""Called with the bytes done and all bytes."""


@dataclass(frozen=True)
class Session:
    """Who is signed in on one page; kept on the server, gone with the page."""

    connection: Connection
    account: Account | None = None
    user: str | None = None
    """Who opened the page, where it asks for a password."""
    is_owner: bool = True
    """Whether it is this computer's own user, who has its login and its copies of models."""


def begin(access: Access, user: str | None = None) -> Session:
    """A page that nobody has signed in to yet."""
    return Session(connect(saved_login=False), user=user, is_owner=access.local)


def signed_in(session: Session, token: str | None) -> Values:
    """Sign in with a token; the owner of this computer else with its login."""
    try:
        given = (token or "").strip() or None
        if given is None and not session.is_owner:
            raise HubAccessError(
                "Give a token of your own: this page does not use the login of its computer."
            )
        connection = connect(
            given,
            endpoint=session.connection.endpoint,
            cache_dir=session.connection.cache_dir,
            saved_login=given is None,
        )
        account = sign_in(connection)
        models = _own_models(connection, account)
    except AutosegError as error:
        return {"account": views.error(error), "token": ""}
    return {
        "session": replace(session, connection=connection, account=account),
        "account": share_view.account(account),
        "token": "",  # What was typed does not stay in the page.
        "own": gr.update(choices=models, value=None, visible=bool(models)),
        "space_models": gr.update(choices=models),
        "sign_out": gr.update(interactive=True),
    }


def signed_out(session: Session) -> Values:
    """Forget the account and its token."""
    connection = replace(session.connection, token=None)
    return {
        "session": replace(session, connection=connection, account=None),
        "account": share_view.no_account(), "token": "",
        "own": gr.update(choices=[], value=None, visible=False),
        "space_models": gr.update(choices=[]),
        "sign_out": gr.update(interactive=False),
    }  # fmt: skip


def _own_models(connection: Connection, account: Account) -> list[str]:
    """Models that the account and its organisations have pushed, the newest first."""
    found = [
        entry
        for author in (account.name, *account.organisations)
        for entry in list_models(connection, author=author)
    ]
    return [m.repo_id for m in sorted(found, key=lambda m: m.updated_at, reverse=True)]


def opened(workspace: Workspace, chosen: str | None = None) -> Values:
    """The runs that can be pushed."""
    names = []
    for run in workspace.runs():
        try:
            find_bundle(run.path)
        except AutosegError:
            continue
        names.append(run.name)
    value = chosen if chosen in names else next(iter(names), None)
    return {"run": gr.update(choices=names, value=value)}


def suggested(session: Session, run: str | None) -> Values:
    """A repository's name for a run, once the account is known."""
    if session.account is None or not run:
        return {}
    return {"repo": f"{session.account.name}/{run.replace('--', '-')}"}


def planned(
    workspace: Workspace, session: Session, run: str | None, repo: str | None, options: PushOptions
) -> Values:
    """What a push would do, with the card as it would stand there; also before signing in."""
    try:
        if session.account is None:
            planned, missing = _draft(workspace, run, repo, options)
        else:
            planned, missing = _plan(workspace, session, run, repo, options), []
    except AutosegError as error:
        return {"plan": views.error(error), "card": ""}
    told = [*map(views.note, missing), share_view.plan(planned)]
    return {
        "plan": share_view.stacked(told), "card": share_view.card(planned.card, planned.folder)
    }  # fmt: skip


def _draft(
    workspace: Workspace, run: str | None, repo: str | None, options: PushOptions
) -> tuple[PushPlan, list[str]]:
    """What can be told of a push without an account, and what it still lacks."""
    missing = [
        tr(
            "A push needs an account: sign in at the top of this tab. Only then can be seen what "
            "the repository holds already, and whether others may read it and your data set."
        )
    ]
    name = (repo or "").strip()
    if not name:
        missing.append(tr("A push needs a repository: write it as owner/name."))
    folder = _bundle_of(workspace, run)
    return draft_push(folder, name or "owner/name", options), missing


def pushed(
    workspace: Workspace, session: Session, run: str | None, repo: str | None,
    options: PushOptions, on_progress: OnBytes,
) -> Values:  # fmt: skip
    """Push a run's model, or say why not."""
    try:
        plan = _plan(workspace, session, run, repo, options)
        done = push(plan, session.connection, on_progress=on_progress)
    except AutosegError as error:
        return {"plan": views.error(error), "card": ""}
    changed = tr("Pushed to"), tr("No file has changed since the last push to")
    said = changed[0] if done.changed else changed[1]
    after = tr(": it is public now.") if plan.opens else tr(": it is private.")
    after = after if plan.opens or plan.private else "."
    return {
        "plan": share_view.stacked(
            [share_view.link(said, done.url, after), *map(views.note, plan.notes)]
        ),
        "card": share_view.card(plan.card, plan.folder),
    }


def _plan(
    workspace: Workspace, session: Session, run: str | None, repo: str | None, options: PushOptions
) -> PushPlan:
    """Plan a push of a run's model by whoever is signed in on this page."""
    folder = _bundle_of(workspace, run)
    if session.account is None:
        raise HubAccessError("Nobody is signed in: do that first, at the top of this tab.")
    return plan_push(folder, (repo or "").strip(), session.connection, options)


def _bundle_of(workspace: Workspace, run: str | None) -> Path:
    if not run:
        raise HubError("There is no model to push: finish a search first, then choose its run.")
    return find_bundle(workspace.named_run(run).path)


def found(session: Session, query: str | None) -> Values:
    """Models on the Hub that autoseg trained and whose name has `query` in it."""
    try:
        entries = list_models(session.connection, query=(query or "").strip())
    except AutosegError as error:
        return {"pulled": views.error(error)}
    names = [entry.repo_id for entry in entries]
    if not names:
        return {"pulled": views.note(tr("No model of autoseg has such a name."))}
    return {"own": gr.update(choices=names, value=None, visible=True)}


def pulled(workspace: Workspace, session: Session, text: str | None) -> Values:
    """Fetch and check a model, and put it among those that the Predict tab offers."""
    try:
        repo = parse_repo(text or "")
        if repo is None:
            raise HubError(f"{text!r} is no repository on the Hub. Write it as owner/name.")
        got = pull_model(
            repo.repo_id, session.connection, revision=repo.revision, use_cache=session.is_owner
        )
        bundle = load_bundle(got.folder)
        workspace.pulled.add(PulledModel(got.repo_id, got.commit, str(got.folder)))
    except AutosegError as error:
        return {"pulled": views.error(error), "pulled_card": "", "try_it": gr.update(visible=False)}
    copy = tr("the copy on this computer")
    where = copy if got.from_cache else tr("commit {commit}", commit=got.commit[:7])
    readme = got.folder / "README.md"
    text = readme.read_text(encoding="utf-8", errors="replace") if readme.is_file() else ""
    return {
        "pulled": share_view.model(got.repo_id, where, bundle.info),
        "pulled_card": share_view.card(text, got.folder),
        "try_it": gr.update(visible=True),
        "pulled_name": got.repo_id,
    }


def deployed(
    session: Session, models: list[str] | None, options: DeployOptions,
    on_stage: Callable[[str], None],
) -> Values:  # fmt: skip
    """Create or update a Space for models and wait until it runs, or say why it does not."""
    seen: list[str] = []

    def tell(stage: str) -> None:
        seen.append(stage)
        on_stage(stage)

    try:
        if not models:
            raise HubError("No model is chosen. Write the name of one on the Hub, or push one.")
        if session.account is None:
            raise HubAccessError("Nobody is signed in: do that first, at the top of this tab.")
        plan = plan_deploy(models, session.connection, options)
        done = deploy(plan, session.connection, on_stage=tell)
    except AutosegError as error:
        return {"space_state": share_view.stages(seen) + views.error(error), "space_token": ""}
    said = share_view.link(tr("The Space is"), done.url, f" ({done.stage})")
    notes = [views.note(text) for text in (*plan.notes, done.note) if text]
    return {
        "space_state": share_view.stacked([share_view.stages(seen), said, *notes]),
        "space_token": "",
    }
