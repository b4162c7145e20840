"""Share tab: an account on the Hub, push, pull, and a Space for others."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import gradio as gr

from autoseg.hub.push import PushOptions
from autoseg.hub.spaces import HARDWARE, TOKEN_SECRET, DeployOptions
from autoseg.licences import LICENCES
from autoseg.ui import share_actions, share_view
from autoseg.ui.access import Access
from autoseg.ui.share_actions import OnBytes, Session, Values
from autoseg.ui.style import html
from autoseg.ui.texts import both, label, tr
from autoseg.workspace import Workspace

Placed = dict[Any, Any]
"""Values by component, as Gradio takes them."""

State = Session | None
"""What the page keeps of who is signed in."""

_TEXT_OPTIONS = ("licence", "data_licence", "tag", "revision")
"""Options of a push that are texts."""

_EXAMPLES: dict[str, bool | None] = {"private": None, "always": True, "never": False}
"""What may be said of example pictures, as `PushOptions` has it."""


def not_here() -> str:
    """What stands in the place of the tab where the Hub may not be used."""
    title = both("Not on a page that others can open")
    advice = both(
        "Push, pull and Spaces work in the app on the computer that runs it, on a page that asks "
        "for a password, or by the commands autoseg push, pull and deploy."
    )
    return f'<div class="as-empty"><b>{title}</b>{advice}</div>'


_PROGRESS = gr.Progress()


@dataclass(frozen=True)
class ShareTab:
    """Components and functions that the page uses."""

    try_it: gr.Button
    pulled_name: gr.State
    outputs: list[Any]
    open_page: Callable[[], Placed]
    """For a page just opened or reloaded."""
    models: list[Any]
    list_models: Callable[..., Placed]
    """For when the tab is chosen: the run of a name is chosen, or the newest."""


def build(workspace: Workspace, access: Access) -> ShareTab:
    """Lay out the tab and connect it.

    Args:
        workspace: Where runs and pulled models are.
        access: Who opens the page. Others could push models that are not theirs, fill the disk,
            or see what somebody else's token gives.
    """
    if not access.sharing:
        html(not_here())
        return ShareTab(gr.Button(visible=False), gr.State(None), [], dict, [], dict)
    session, name = gr.State(None), gr.State(None)
    parts: dict[str, Any] = {"session": session, "pulled_name": name, **_account_row(access)}
    with gr.Tabs():
        with gr.Tab(label("Push")):
            parts |= _push_part()
        with gr.Tab(label("Pull")):
            parts |= _pull_part(access)
        with gr.Tab(label("Space")):
            parts |= _space_part()
    wiring = _Wiring(parts, workspace, access)
    wiring.connect_account()
    wiring.connect_push()
    wiring.connect_pull()
    wiring.connect_space()

    def open_page() -> Placed:
        return wiring.placed({**share_actions.opened(workspace), **share_view.empty_states()})

    def list_models(chosen: str | None = None) -> Placed:
        return wiring.placed(share_actions.opened(workspace, chosen))

    outputs = wiring.some("run", *share_view.empty_states())
    return ShareTab(parts["try_it"], name, outputs, open_page, [parts["run"]], list_models)


class _Wiring:
    """The tab's components and what they call."""

    private: ClassVar[dict[str, Any]] = {"api_visibility": "private"}

    def __init__(self, parts: dict[str, Any], workspace: Workspace, access: Access) -> None:
        self.parts = parts
        self.workspace = workspace
        self.access = access

    def placed(self, values: Values) -> Placed:
        """Values by component."""
        # An empty answer is an error to Gradio, or of a single component its value.
        return {self.parts[name]: value for name, value in values.items()} or dict(gr.skip())

    def some(self, *names: str) -> list[Any]:
        """Components by their names."""
        return [self.parts[name] for name in names]

    def session_of(self, state: Session | None, request: gr.Request | None) -> Session:
        """Who is signed in on a page; nobody, where another user has opened it."""
        user = request.username if request else None
        if state is None or state.user != user:
            return share_actions.begin(self.access, user)
        return state

    def connect_account(self) -> None:
        """Signing in and out."""

        def on_sign_in(state: State, token: str | None, request: gr.Request) -> Placed:
            return self.placed(share_actions.signed_in(self.session_of(state, request), token))

        def on_sign_out(state: State, request: gr.Request) -> Placed:
            return self.placed(share_actions.signed_out(self.session_of(state, request)))

        def on_run(state: State, run: str | None, request: gr.Request) -> Placed:
            return self.placed(share_actions.suggested(self.session_of(state, request), run))

        outputs = self.some("session", "account", "token", "own", "space_models", "sign_out")
        shown: dict[str, Any] = {"show_progress_on": self.parts["account"], **self.private}
        quiet: dict[str, Any] = {"show_progress": "hidden", **self.private}
        name = [self.some("session", "run"), self.parts["repo"]]
        for event in (self.parts["sign_in"].click, self.parts["token"].submit):
            event(on_sign_in, self.some("session", "token"), outputs, **shown).success(
                on_run, *name, queue=False, **quiet
            )
        self.parts["sign_out"].click(on_sign_out, self.parts["session"], outputs, **shown)
        self.parts["run"].input(on_run, *name, queue=False, **quiet)

    def connect_push(self) -> None:
        """Preview and push."""
        parts = self.parts

        def options_of(values: Placed) -> PushOptions:
            texts = {name: (values[parts[name]] or "").strip() or None for name in _TEXT_OPTIONS}
            examples = _EXAMPLES[values[parts["show_examples"]]]
            return PushOptions(public=values[parts["public"]], examples=examples, **texts)

        def asked(
            values: Placed, request: gr.Request
        ) -> tuple[Session, str | None, str | None, PushOptions]:
            session = self.session_of(values[parts["session"]], request)
            return session, values[parts["run"]], values[parts["repo"]], options_of(values)

        def on_preview(values: Placed, request: gr.Request) -> Placed:
            return self.placed(share_actions.planned(self.workspace, *asked(values, request)))

        def on_push(values: Placed, request: gr.Request, progress: Any = _PROGRESS) -> Placed:
            given = asked(values, request)
            return self.placed(share_actions.pushed(self.workspace, *given, _reporting(progress)))

        names = ("session", "run", "repo", "public", "show_examples", *_TEXT_OPTIONS)
        inputs, outputs = set(self.some(*names)), self.some("plan", "card")
        shown: dict[str, Any] = {"show_progress_on": parts["plan"], **self.private}
        parts["preview"].click(on_preview, inputs, outputs, **shown)
        parts["push"].click(on_push, inputs, outputs, **shown)

    def connect_pull(self) -> None:
        """Look for models and pull one."""

        def on_find(state: State, query: str | None, request: gr.Request) -> Placed:
            return self.placed(share_actions.found(self.session_of(state, request), query))

        def on_pull(state: State, text: str | None, request: gr.Request) -> Placed:
            session = self.session_of(state, request)
            return self.placed(share_actions.pulled(self.workspace, session, text))

        inputs = self.some("session", "pull_id")
        shown: dict[str, Any] = {"show_progress_on": self.parts["pulled"], **self.private}
        self.parts["find"].click(on_find, inputs, self.some("own", "pulled"), **shown)
        self.parts["own"].input(
            lambda name: name, self.parts["own"], self.parts["pull_id"], **self.private
        )
        outputs = self.some("pulled", "pulled_card", "try_it", "pulled_name")
        for event in (self.parts["pull"].click, self.parts["pull_id"].submit):
            event(on_pull, inputs, outputs, **shown)

    def connect_space(self) -> None:
        """Make a Space."""
        parts = self.parts

        def on_deploy(values: Placed, request: gr.Request, progress: Any = _PROGRESS) -> Placed:
            token = (values[parts["space_token"]] or "").strip()
            options = DeployOptions(
                space=(values[parts["space"]] or "").strip() or None,
                hardware=values[parts["hardware"]] or None,
                public=values[parts["space_public"]],
                secrets={TOKEN_SECRET: token} if token else {},
            )
            return self.placed(
                share_actions.deployed(
                    self.session_of(values[parts["session"]], request),
                    values[parts["space_models"]],
                    options,
                    lambda stage: progress(None, desc=stage),
                )
            )

        names = ("session", "space_models", "space", "hardware", "space_public", "space_token")
        outputs = self.some("space_state", "space_token")
        shown: dict[str, Any] = {"show_progress_on": parts["space_state"], **self.private}
        parts["deploy"].click(on_deploy, set(self.some(*names)), outputs, **shown)


def _reporting(progress: Any) -> OnBytes:
    """Gradio's progress bar as a transfer calls it."""
    return lambda done, total: progress((done, total), desc=tr("Uploading"), unit=tr("bytes"))


def _account_row(access: Access) -> dict[str, Any]:
    own = label("Empty: the login of this computer") if access.local else "hf_..."
    advice = label("Kept for this page only. Make one under Settings, Access Tokens, on the Hub.")
    with gr.Row(elem_classes="as-signing"):
        token = gr.Textbox(
            label=label("Access token of the Hugging Face Hub"), type="password", scale=3,
            min_width=260, placeholder=own, info=advice, elem_id="token",
        )  # fmt: skip
        sign_in = gr.Button(label("Sign in"), variant="primary", min_width=120, elem_id="sign-in")
        sign_out = gr.Button(
            label("Sign out"), min_width=120, interactive=False, elem_id="sign-out"
        )  # fmt: skip
    account = html(elem_id="account")
    return {"token": token, "sign_in": sign_in, "sign_out": sign_out, "account": account}


def _push_part() -> dict[str, Any]:
    licences = [(label("Chosen from its parts"), "")] + [(name, name) for name in LICENCES]
    with gr.Row():
        with gr.Column(scale=2, min_width=290):
            run = gr.Dropdown(label=label("Model of the run"), choices=[], elem_id="push-run")
            repo = gr.Textbox(
                label=label("Repository"), placeholder="owner/name", elem_id="push-repo",
                info=label("It is made if it does not exist, or updated if it does."),
            )  # fmt: skip
            public = gr.Checkbox(
                label=label("Everybody may see it"), value=False, elem_id="push-public"
            )
            examples = gr.Radio(
                _example_choices(), value="private", elem_id="push-examples",
                label=label("Show a few of my images on the card"),
            )  # fmt: skip
            with gr.Accordion(label("Licences, tag and branch"), open=False):
                licence = gr.Dropdown(licences, value="", label=label("Licence of the model"))
                data_licence = gr.Dropdown(
                    [(label("Not stated"), ""), *licences[1:]],
                    value="",
                    label=label("Licence of my images"),
                )
                tag = gr.Textbox(label=label("Tag"), placeholder="v1")
                revision = gr.Textbox(label=label("Branch"), placeholder="main")
            with gr.Row():
                preview = gr.Button(label("Preview"), min_width=120, elem_id="push-preview")
                push = gr.Button(label("Push"), variant="primary", min_width=120, elem_id="push")
        with gr.Column(scale=3, min_width=320):
            plan = html(elem_id="push-plan")
            card = gr.Markdown(elem_id="push-card", elem_classes="as-paper", container=False)
    return {
        "run": run, "repo": repo, "public": public, "show_examples": examples, "licence": licence,
        "data_licence": data_licence, "tag": tag, "revision": revision, "preview": preview,
        "push": push, "plan": plan, "card": card,
    }  # fmt: skip


def _example_choices() -> list[tuple[str, str]]:
    return [
        (label("Only while it is private"), "private"),
        (label("Always"), "always"),
        (label("Never"), "never"),
    ]


def _pull_part(access: Access) -> dict[str, Any]:
    with gr.Row():
        with gr.Column(scale=2, min_width=290):
            if not access.local:
                everybody = both("What is pulled is offered to everybody who opens this page.")
                html(f'<div class="as-note">{everybody}</div>')
            pull_id = gr.Textbox(
                label=label("Repository"), placeholder="owner/name", elem_id="pull-id",
                info=label("Models of autoseg, and others made with segmentation_models_pytorch."),
            )  # fmt: skip
            own = gr.Radio(
                label=label("Found on the Hub"),
                visible=False,
                elem_classes="as-list",
                elem_id="own",
            )
            with gr.Row():
                find = gr.Button(label("Look for it"), min_width=120, elem_id="find")
                pull = gr.Button(label("Pull"), variant="primary", min_width=120, elem_id="pull")
        with gr.Column(scale=3, min_width=320):
            pulled = html(elem_id="pulled")
            try_it = gr.Button(
                label("Try it"), variant="primary", visible=False, elem_id="pulled-try"
            )
            card = gr.Markdown(elem_classes="as-paper", container=False)
    return {
        "pull_id": pull_id, "own": own, "find": find, "pull": pull, "pulled": pulled,
        "try_it": try_it, "pulled_card": card,
    }  # fmt: skip


def _space_part() -> dict[str, Any]:
    with gr.Row():
        with gr.Column(scale=2, min_width=290):
            models = gr.Dropdown(
                label=label("Models on the Hub"), choices=[], multiselect=True,
                allow_custom_value=True,
                info=label("One, or several to compare on the same image."),
                elem_id="space-models",
            )  # fmt: skip
            space = gr.Textbox(
                label=label("Name of the Space"), elem_id="space-id",
                placeholder=label("Empty: made from the model's name"),
            )  # fmt: skip
            hardware = gr.Dropdown(
                [(label("As the Hub chooses"), ""), *((name, name) for name in HARDWARE)], value="",
                label=label("Hardware"), info=label("Most kinds cost money on the Hub."),
            )  # fmt: skip
            public = gr.Checkbox(label=label("Everybody may open it"), value=False)
            token = gr.Textbox(
                label=label("Token for a private model"), type="password",
                info=label("Goes to the Space as a secret. Give one that may only read."),
            )  # fmt: skip
            deploy = gr.Button(label("Make the Space"), variant="primary", elem_id="deploy")
        with gr.Column(scale=3, min_width=320):
            state = html(elem_id="space-state")
    return {
        "space_models": models, "space": space, "hardware": hardware, "space_public": public,
        "space_token": token, "deploy": deploy, "space_state": state,
    }  # fmt: skip
