"""The demo page: drop a picture, see what the student says, why, and where it looks.

Gradio serves it on loopback alone. Nothing is loaded from elsewhere: its analytics are off, and
the browser is told by a policy to refuse whatever does not come from this page.
"""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# onnxruntime 1.31 looks up a host of its maker's some seconds after it is loaded, and its own
# disable_telemetry_events() comes too late; this must stand before the import (seen with strace).
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from edge.bundle import Bundle, load_bundle
from edge.classifier import Classifier
from edge.errors import MissingExtraError, PictureError, SmartbinError
from edge.pictures import read_picture
from edge.values import Decision, Pixels
from trainer.gradcam import Evidence, EvidenceError, overlay, scaled
from trainer.report_scores import decide_one

HOST = "127.0.0.1"
MAP_PX = 480
NO_MAP = "Evidence map"
TIMES = 5  # one call alone told 5 to 57 ms of the same picture on a busy machine
NO_SEGMENTER = "**Segmentation:** none. The whole frame goes to the network."
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
Say = Callable[[str], object]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Look:
    """What the page shows of one picture."""

    decision: Decision
    milliseconds: float  # crop, resize and network, median of TIMES, on this machine
    map_rgb: Pixels | None  # the evidence for the best class over what the network saw


class Eye:
    """A bundle opened for looking; ready, and warm, when the constructor returns."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._classifier = Classifier(bundle)
        try:
            self._evidence: Evidence | None = Evidence(bundle)
        except EvidenceError:  # the page is useful without a map, and says so
            self._evidence = None

    def look(self, pixels: Pixels) -> Look:
        """(H, W, 3) uint8 RGB to verdict, time and map."""
        spent_ms = []
        for _ in range(TIMES):
            started_s = time.perf_counter()
            prediction = self._classifier.classify(pixels)
            spent_ms.append(1000 * (time.perf_counter() - started_s))
        picture = None
        if self._evidence is not None:
            best = int(prediction.probs.argmax())
            heat = scaled(self._evidence.maps(pixels)[best : best + 1])[0]
            picture = overlay(pixels, heat, MAP_PX, self.bundle.preprocessing.max_aspect)
        return Look(decide_one(self.bundle, prediction), statistics.median(spent_ms), picture)


def verdict_text(decision: Decision) -> str:
    """Outcome and reason, as Markdown."""
    tail = "" if decision.outcome == "sorted" else " It goes the safe way."
    return f"### {decision.outcome}\n{decision.reason}.{tail}"


def time_text(look: Look) -> str:
    """Milliseconds, and of what."""
    return (
        f"**{look.milliseconds:.1f} ms** for crop, resize and network, the middle one of "
        f"{TIMES} calls on one thread of this machine."
    )


def map_title(look: Look) -> str:
    """What the map shows, or why there is none."""
    if look.map_rgb is None:
        return "Evidence map: none, for the network does not end in pooling and one linear layer"
    return f"Evidence for {look.decision.label}"


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

    def judge(dropped: dict[str, Any] | None) -> tuple[Any, ...]:
        nothing = gr.Image(value=None, label=NO_MAP)
        if not dropped or not dropped.get("path"):
            return {}, "", nothing, ""
        path = Path(dropped["path"])
        try:
            look = eye.look(read_picture(path))
        except PictureError as error:
            sentence = str(error).replace(str(path), path.name)
            return {}, f"### not a picture that can be judged\n{sentence}", nothing, ""
        picture = gr.Image(value=look.map_rgb, label=map_title(look))
        return dict(look.decision.top), verdict_text(look.decision), picture, time_text(look)

    name = eye.bundle.model_id
    with gr.Blocks(analytics_enabled=False, title=f"smartbin: {name}") as blocks:
        gr.Markdown(f"# {name}\n{INTRO}")
        with gr.Row():
            with gr.Column():
                source = gr.Image(sources=["upload", "clipboard"], label="Picture", height=380)
                gr.Markdown(NO_SEGMENTER, elem_id="segmentation")
            with gr.Column():
                verdict = gr.Markdown(elem_id="verdict")
                top = gr.Label(num_top_classes=3, label="Top three", show_heading=False)
                evidence = gr.Image(label=NO_MAP, height=380, interactive=False, buttons=[])
                spent = gr.Markdown(elem_id="milliseconds")
        answers = [top, verdict, evidence, spent]
        # Not preprocessed: the file goes to the bin's own reader as it came.
        source.change(judge, [source], answers, preprocess=False, api_visibility="private")
    return blocks


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


def serve(bundle_path: Path, port: int, say: Say) -> None:
    """Until Ctrl-C; the pictures dropped here are deleted with the page."""
    eye = Eye(load_bundle(bundle_path))
    with tempfile.TemporaryDirectory(prefix="smartbin-demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        blocks = build(eye)
        # A plain kill, too, must delete what was dropped.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        say(f"{eye.bundle.model_id}: {launch(blocks, port)} (Ctrl-C stops it)")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            say("stopped")
        finally:
            blocks.close(verbose=False)
