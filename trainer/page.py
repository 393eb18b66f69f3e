"""The demo page: drop a picture, see what the student says, why, and what was cut out.

Gradio serves it on loopback alone. Nothing is loaded from elsewhere: its analytics are off, and
the browser is told by a policy to refuse whatever does not come from this page.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

# onnxruntime 1.31 looks up a host of its maker's some seconds after it is loaded, and its own
# disable_telemetry_events() comes too late; this must stand before the import (seen with strace).
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from edge.bundle import load_bundle
from edge.errors import MissingExtraError, PictureError, SmartbinError, UsageError
from edge.pictures import read_picture
from trainer import page_words as words
from trainer.page_eye import Eye
from trainer.seer import seer_of

HOST = "127.0.0.1"
PICTURE_HEIGHT = 300  # px: with what is said below, the whole page fits a laptop's screen
NO_ITEM, NO_MAP = "#### Segmentation", "#### Evidence map"
STYLE = (
    "#looks table { width: 100% } "
    "#looks :is(table, th, td) { border-color: var(--border-color-primary) !important }"
)
SEGMENTERS = ("tiny", "none", "rembg")
INTRO = "Drop a picture of one item. It stays on this machine and is deleted when the page stops."
# Scripts and styles of Gradio's own stand inline in its page; nothing may come from elsewhere.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'self'"
)
QUIET_ENVIRONMENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
}
UPLOADS = "GRADIO_TEMP_DIR"  # the variable that tells Gradio where to keep what was dropped
Say = Callable[[str], object]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


def gradio() -> Any:
    """The library, told to be quiet before it is loaded."""
    os.environ.update(QUIET_ENVIRONMENT)
    try:
        import gradio as library
    except ImportError as error:
        raise MissingExtraError(
            "smartbin-train demo needs gradio: pip install 'gradio>=6.0'"
        ) from error
    return library


def build(eye: Eye) -> Any:
    """The page as Gradio Blocks, not yet served."""
    gr = gradio()
    shape = {"height": PICTURE_HEIGHT, "show_label": False}
    still = {**shape, "interactive": False, "buttons": []}
    with gr.Blocks(analytics_enabled=False, title=f"smartbin: {eye.bundle.model_id}") as blocks:
        gr.Markdown(f"# {eye.bundle.model_id}\n{INTRO}")
        with gr.Row():  # on a phone the columns stand one under the other, the verdict first
            with gr.Column():
                gr.Markdown("#### Picture")
                source = gr.Image(sources=["upload", "clipboard"], label="Picture", **shape)
                verdict = gr.Markdown(elem_id="verdict")
                top = gr.Label(num_top_classes=3, label="Top three", show_heading=False)
            with gr.Column(visible=eye.segmenter != "none"):
                item_title = gr.Markdown(NO_ITEM)
                item = gr.Image(label="Segmentation", elem_id="item", **still)
                cutting = gr.Markdown(words.segmenter_text(eye.segmenter), elem_id="segmentation")
                looks = gr.Markdown(elem_id="looks")
            with gr.Column():
                map_title = gr.Markdown(NO_MAP)
                evidence = gr.Image(label="Evidence map", elem_id="evidence", **still)
                spent = gr.Markdown(elem_id="milliseconds")
                if eye.segmenter == "none":
                    gr.Markdown(words.segmenter_text("none"), elem_id="off")
        answers = [verdict, top, item_title, item, cutting, looks, map_title, evidence, spent]
        # Not preprocessed: the file goes to the bin's own reader as it came.
        source.change(
            lambda dropped: answer(eye, dropped),
            [source],
            answers,
            preprocess=False,
            api_visibility="private",
        )
    return blocks


def answer(eye: Eye, dropped: dict[str, Any] | None) -> tuple[Any, ...]:
    """What the page shows of a dropped file, in the order of its `answers`."""
    if not dropped or not dropped.get("path"):
        return nothing(eye, "")
    path = Path(dropped["path"])
    if not was_dropped(path):
        return nothing(eye, "### not a picture that was dropped here\nDrop one on this page.")
    try:
        look = eye.look(read_picture(path))
    except PictureError as error:
        sentence = str(error).replace(str(path), path.name)
        return nothing(eye, f"### not a picture that can be judged\n{sentence}")
    return (
        words.verdict_text(look.decision),
        dict(look.decision.top),
        words.item_title(look),
        look.item_rgb,
        words.item_text(look),
        words.looks_text(look),
        words.map_title(look),
        look.map_rgb,
        words.time_text(look),
    )


def was_dropped(path: Path) -> bool:
    """Whether Gradio put the file where it keeps what was dropped: any other is not read.

    Unprocessed, Gradio hands on whatever path a request names, of another user's pictures too.
    """
    folder = os.environ.get(UPLOADS)
    return bool(folder) and path.resolve().is_relative_to(Path(folder or "").resolve())


def nothing(eye: Eye, why: str) -> tuple[Any, ...]:
    """The page without a picture, as it began but for a sentence."""
    return why, {}, NO_ITEM, None, words.segmenter_text(eye.segmenter), "", NO_MAP, None, ""


class OnlyFromHere:
    """ASGI middleware: the policy goes out with every answer."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", POLICY.encode())
                message = {**message, "headers": [*message.get("headers", []), policy]}
            await send(message)

        await self._app(scope, receive, with_policy)


def launch(blocks: Any, port: int) -> str:
    """Serve on loopback in a thread of Gradio's; returns the address."""
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    # A name of elsewhere that points here must not reach the page (DNS rebinding).
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    try:
        _, address, _ = blocks.launch(
            server_name=HOST,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            footer_links=[],
            css=STYLE,
            ssr_mode=False,
            mcp_server=False,
            enable_monitoring=False,
            max_file_size="64mb",
            app_kwargs={"middleware": [hosts, Middleware(OnlyFromHere)]},
        )
    except OSError as error:
        raise SmartbinError(
            f"--port {port}: cannot be listened on, another program may hold it; name another"
        ) from error
    return str(address)


def serve(
    bundle_path: Path,
    port: int,
    say: Say,
    *,
    segmenter: str = "tiny",
    model: Path | None = None,
    session: str = "u2netp",
) -> None:
    """Until Ctrl-C; the pictures dropped here are deleted with the page.

    `segmenter`, its `model` and `session` are those of `edge.segmenters.build_segmenter`.
    """
    check_segmenter(segmenter)
    bundle = load_bundle(bundle_path)
    with (
        seer_of(bundle, segmenter, model=model, session=session) as seer,
        tempfile.TemporaryDirectory(prefix="smartbin-demo-") as folder,
    ):
        os.environ[UPLOADS] = folder
        blocks = build(Eye(bundle, seer))
        # A plain kill, too, must delete what was dropped.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        say(f"{bundle.model_id}: {launch(blocks, port)} (Ctrl-C stops it)")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            say("stopped")
        finally:
            blocks.close(verbose=False)


def check_segmenter(kind: str) -> None:
    """Raise UsageError for a segmenter that pictures dropped one by one cannot have."""
    if kind == "difference":
        raise UsageError(
            "--segment difference: needs the empty tray of a fixed camera, which dropped pictures "
            "do not have; here allowed are tiny, none, rembg, or run: smartbin classify PICTURE "
            "--segment difference --tray tray.npz --explain why.png"
        )
    if kind not in SEGMENTERS:
        raise UsageError(f"--segment {kind!r}: allowed are {', '.join(SEGMENTERS)}")
