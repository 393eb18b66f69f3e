"""The audit as one HTML file that opens offline; it shows the pictures where they lie."""

from __future__ import annotations

import html
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import numpy as np

from trainer.audit import Finding, Picture
from trainer.audit_run import Audit
from trainer.twins import Pair

MOST_PAIRS, MOST_THUMBS, MOST_GROUPS = 60, 24, 12
AROUND = 12  # pairs shown on each side of a threshold, so that a reader may judge it
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em }
table { border-collapse: collapse } td, th { padding: .2em .8em; border: 1px solid #ccc;
text-align: left } .grid { display: flex; flex-wrap: wrap; gap: .7em }
figure { margin: 0; padding: .4em; background: #f2f2f2; border-radius: .3em }
figcaption { font-size: 12px; max-width: 25em; overflow-wrap: anywhere }
img { height: 108px; max-width: 220px; object-fit: contain } .grave { color: #a00000 }
.bar { display: inline-block; height: .8em; background: #4a78b0 }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd }
figure { background: #2a2a2a } .grave { color: #ff8a80 } td, th { border-color: #555 } }
"""


def as_html(found: Audit, folder: Path, leak: dict[str, int] | None = None) -> str:
    """A page to be written into `folder`; the pictures are linked relative to it."""
    page = _Page(found, folder)
    parts = [
        f"<h1>Audit of {len(found.pictures)} pictures</h1>",
        page.classes(),
        _leak(leak) if leak else "",
        "<h2>Findings</h2>",
        *(page.finding(finding) for finding in found.findings),
        "" if found.findings else "<p>Nothing to remark.</p>",
        f"<h2>Twins</h2><p>Near twins: {html.escape(found.near)}.</p>",
        page.twins(),
        page.groups(),
    ]
    head = f"<meta charset='utf-8'><title>Audit</title><style>{STYLE}</style>"
    body = "\n".join(part for part in parts if part)
    return f"<!doctype html><html lang='en'><head>{head}</head>\n<body>{body}</body></html>\n"


def _leak(leak: dict[str, int]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(key.replace('_', ' '))}</td><td>{value}</td></tr>"
        for key, value in leak.items()
    )
    return f"<h2>The two lists</h2><table>{rows}</table>"


class _Page:
    """Pieces of the page; knows where the pictures lie as seen from it."""

    def __init__(self, found: Audit, folder: Path) -> None:
        self.found, self.folder = found, folder.resolve()
        self.by_name = {picture.name: picture for picture in found.pictures}

    def image(self, picture: Picture) -> str:
        where = os.path.relpath(picture.path.resolve(), self.folder)
        title = html.escape(f"{picture.name} {picture.width_px}x{picture.height_px}")
        source = quote(Path(where).as_posix())
        return f"<img loading='lazy' src='{source}' title='{title}' alt='{title}'>"

    def classes(self) -> str:
        counts = Counter(picture.label for picture in self.found.pictures)
        widest = max(counts.values(), default=1)
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{n}</td>"
            f"<td><span class='bar' style='width:{200 * n / widest:.0f}px'></span></td></tr>"
            for name, n in sorted(counts.items())
        )
        return f"<table><tr><th>class</th><th>pictures</th><th></th></tr>{rows}</table>"

    def finding(self, finding: Finding) -> str:
        grave = " class='grave'" if finding.grave else ""
        shown = [self.by_name[name] for name in finding.names if name in self.by_name]
        figures = "".join(
            f"<figure>{self.image(p)}<figcaption>{html.escape(p.name)}</figcaption></figure>"
            for p in shown[:MOST_THUMBS]
        )
        more = len(finding.names) - min(len(shown), MOST_THUMBS)
        text = f"<p{grave}><b>{finding.kind}</b>: {html.escape(finding.sentence)}"
        text += f" ({more} more in audit.json)" if more > 0 and figures else ""
        return f"{text}</p><div class='grid'>{figures}</div>"

    def pair(self, pair: Pair) -> str:
        facts = [f"equal {pair.exact}"] if pair.exact else []
        facts += [f"cosine {pair.cosine:.3f}"] if pair.cosine is not None else []
        facts += [f"hash {pair.bits} bits apart"] if pair.bits is not None else []
        pictures = [self.found.pictures[i] for i in (pair.a, pair.b)]
        names = " and ".join(html.escape(picture.name) for picture in pictures)
        images = " ".join(self.image(picture) for picture in pictures)
        caption = f"<figcaption>{names}<br>{', '.join(facts)}</figcaption>"
        return f"<figure>{images}{caption}</figure>"

    def pairs(self, title: str, pairs: Iterable[Pair]) -> str:
        figures = "".join(self.pair(pair) for pair in pairs)
        return f"<h3>{html.escape(title)}</h3><div class='grid'>{figures}</div>" if figures else ""

    def twins(self) -> str:
        found, limits = self.found, self.found.limits
        twins = found.twins
        linked = len({i for pair in twins for i in (pair.a, pair.b)})
        share = linked / max(1, len(found.pictures))
        text = f"<p>{len(twins)} twins; {linked} pictures ({share:.1%}) have one.</p>"
        out = [text, self.pairs("The surest", twins[:MOST_PAIRS])]
        for name, bar in (("twins", limits.twin), ("groups", limits.group)):
            above = [p for p in found.pairs if p.cosine is not None and p.cosine >= bar]
            below = [p for p in found.pairs if p.cosine is not None and p.cosine < bar]
            out.append(self.pairs(f"Just above the bar of {name}, {bar}", above[-AROUND:]))
            out.append(self.pairs(f"Just below the bar of {name}, {bar}", below[:AROUND]))
        out.append(self.pairs("Twins by hash that the features call strangers", found.disputed))
        return "\n".join(out)

    def groups(self) -> str:
        ids, limits = self.found.groups.ids, self.found.limits
        sizes = np.bincount(ids) if len(ids) else np.zeros(0, np.int64)
        histogram = Counter(int(size) for size in sizes)
        rows = "".join(f"<tr><td>{k}</td><td>{v}</td></tr>" for k, v in sorted(histogram.items()))
        text = f"<h2>Groups</h2><p>Links from {limits.group} on, at most {limits.max_group} "
        text += f"pictures a group; {self.found.groups.cut} of {len(self.found.pairs)} links cut."
        table = f"<table><tr><th>pictures in a group</th><th>groups</th></tr>{rows}</table>"
        out = [f"{text}</p>{table}"]
        for number in np.argsort(-sizes, kind="stable")[:MOST_GROUPS]:
            if sizes[number] < 2:
                break
            members = [self.found.pictures[i] for i in np.flatnonzero(ids == number)]
            images = "".join(f"<figure>{self.image(p)}</figure>" for p in members)
            title = f"Group {number}: {sizes[number]} pictures"
            out.append(f"<h3>{title}</h3><div class='grid'>{images}</div>")
        return "\n".join(out)
