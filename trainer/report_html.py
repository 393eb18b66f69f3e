"""The page of a report: one file, no script, and a policy that forbids it to load anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from math import isnan

from trainer.charts import percent

# The browser itself refuses whatever is not in the file (Content Security Policy Level 3).
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'"
SERIES = 6  # colours of Okabe and Ito, which the colour-blind can tell apart

STYLE = """
:root{color-scheme:light dark;--ink:#1d2329;--soft:#5b6570;--paper:#fff;--card:#f5f6f8;
--line:#dde1e6;--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#cc79a7;--c4:#b8860b;--c5:#56b4e9}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--soft:#9aa4af;--paper:#14171a;
--card:#1d2125;--line:#343a41;--c0:#4aa8e0;--c1:#f0803c;--c2:#2fc79a;--c3:#e39ac3;--c4:#e6b422;
--c5:#8fd0f5}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1120px;padding:24px 20px 64px;background:var(--paper);
color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:26px;margin:0 0 2px}h2{font-size:19px;margin:0 0 8px}
header p,.soft{color:var(--soft);margin:2px 0}
nav{margin:14px 0 4px;display:flex;flex-wrap:wrap;gap:4px 14px}
a{color:var(--c0);text-decoration:none}a:hover{text-decoration:underline}
section{border-top:1px solid var(--line);margin-top:28px;padding-top:18px}
.warn{border-left:4px solid var(--c1);background:var(--card);padding:8px 12px;margin:12px 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:12px;margin:16px 0}
.tile{background:var(--card);border-radius:8px;padding:12px 14px}
.tile b{display:block;font-size:26px;line-height:1.25;font-weight:650}
.tile span{color:var(--soft);font-size:13px;display:block}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:14px}
th,td{padding:5px 9px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--soft);font-weight:600}th:first-child,td:first-child,.left{text-align:left}
td small,th small{color:var(--soft)}
.matrix td,.matrix th{text-align:center;min-width:62px}.matrix th.left{text-align:right}
.matrix td{border:2px solid var(--paper);border-radius:4px}
.charts{display:flex;flex-wrap:wrap;gap:10px 26px;align-items:flex-start}
figure{margin:0}figcaption{color:var(--soft);font-size:13px;max-width:480px}
svg{max-width:100%;height:auto;font-size:12px}svg text{fill:var(--soft)}
.grid{stroke:var(--line)}.ideal{stroke:var(--soft);stroke-dasharray:5 4;fill:none}
.whisker{stroke:var(--ink);stroke-width:1.4;opacity:.65}
polyline{fill:none;stroke-width:2}.fill{stroke:none;opacity:.55}.hollow{fill:var(--paper)}
.legend{display:flex;flex-wrap:wrap;gap:2px 16px;list-style:none;margin:4px 0;padding:0;
font-size:13px;color:var(--soft)}
.legend i{display:inline-block;width:18px;height:0;border-top:3px solid;margin-right:6px;
vertical-align:middle}.legend i.dashed{border-top-style:dashed}
.dash{stroke-dasharray:6 4}
.mistakes{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,var(--wide,420px)),1fr));gap:14px}
.mistake{background:var(--card);border-radius:8px;padding:10px}
.mistake p{margin:0 0 8px;font-size:14px}.strip{display:flex;gap:6px}
.strip figure{flex:1 1 0;min-width:0}
.strip img{width:100%;height:auto;border-radius:4px;display:block}
.strip figcaption{font-size:12px;overflow-wrap:anywhere;line-height:1.3;margin-top:3px}
td img{height:64px;width:auto;display:block;border-radius:3px}
.flag{color:var(--c1);font-weight:600}
dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 16px;margin:0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
@media print{nav{display:none}.mistake,figure,.tile{break-inside:avoid}}
""" + "".join(
    f".s{i}{{stroke:var(--c{i})}}.s{i}.fill,.s{i}.solid{{fill:var(--c{i})}}"
    f".legend .s{i}{{border-color:var(--c{i})}}"
    for i in range(SERIES)
)


def page(title: str, lead: str, sections: Sequence[tuple[str, str, str]]) -> str:
    """The file. `sections` are (id, heading, HTML); `lead` is HTML under the title."""
    links = "".join(f'<a href="#{key}">{escape(head)}</a>' for key, head, _ in sections)
    body = "".join(
        f'<section id="{key}"><h2>{escape(head)}</h2>{html}</section>\n'
        for key, head, html in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>"
        f"<header><h1>{escape(title)}</h1>{lead}<nav>{links}</nav></header>\n{body}</body></html>\n"
    )


def paragraph(text: str, css: str = "") -> str:
    """Plain words, escaped."""
    return f'<p class="{css}">{escape(text)}</p>' if css else f"<p>{escape(text)}</p>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Cells are HTML already (see `cell`); the columns in `left` are words, the others numbers."""

    def css(i: int) -> str:
        return ' class="left"' if i in left else ""

    heads = "".join(f"<th{css(i)}>{escape(text)}</th>" for i, text in enumerate(head))
    lines = "".join(
        "<tr>" + "".join(f"<td{css(i)}>{html}</td>" for i, html in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><tr>{heads}</tr>{lines}</table></div>'


def cell(value: float, interval: tuple[float, float] | None = None) -> str:
    """A share 0..1 in percent, its 95 % interval small behind it; a dash where it is NaN."""
    if isnan(value):
        return "–"
    small = f" <small>{span(interval)}</small>" if interval else ""
    return f"{100 * value:.1f}{small}"


def span(interval: tuple[float, float]) -> str:
    """An interval in percent, without the sign."""
    return f"{100 * interval[0]:.1f}–{100 * interval[1]:.1f}"


def tile(value: str, *lines: str) -> str:
    """A large number and what it is."""
    words = "".join(f"<span>{escape(line)}</span>" for line in lines)
    return f'<div class="tile"><b>{escape(value)}</b>{words}</div>'


def figure(svg: str, caption: str = "", legend: Sequence[tuple[str, str]] = ()) -> str:
    """A chart, a legend of (CSS class, text) under it, and a caption."""
    items = "".join(
        f'<li><i class="{css.replace("dash", "dashed")}"></i>{escape(text)}</li>'
        for css, text in legend
    )
    listed = f'<ul class="legend">{items}</ul>' if items else ""
    return f"<figure>{svg}{listed}<figcaption>{escape(caption)}</figcaption></figure>"


def matrix(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Confusion matrix; a cell is as dark as its share of the row, right in blue, wrong in red."""
    head = "".join(f"<th>{escape(label)}</th>" for label in labels)
    rows = []
    for i, row in enumerate(counts):
        total = sum(row)
        cells = "".join(
            _shade(n, n / total if total else 0.0, i == j, labels[i], labels[j])
            for j, n in enumerate(row)
        )
        name = f'<th class="left">{escape(labels[i])}</th>'
        rows.append(f"<tr>{name}{cells}<th><small>{total}</small></th></tr>")
    first = '<th class="left"><small>label ↓ said →</small></th>'
    return (
        f'<div class="scroll"><table class="matrix"><tr>{first}{head}<th><small>n</small></th></tr>'
        f"{''.join(rows)}</table></div>"
    )


def _shade(n: int, share: float, right: bool, label: str, said: str) -> str:
    colour = "0,114,178" if right else "213,94,0"
    strength = 0.0 if n == 0 else min(0.85, 0.08 + (0.77 * share if right else 2.2 * share))
    ink = ";color:#fff" if strength > 0.55 else ""
    tip = escape(f"{label} said to be {said}: {n}, {percent(share)} of the {label}")
    text = str(n) if n else "<small>·</small>"
    return f'<td style="background:rgba({colour},{strength:.2f}){ink}" title="{tip}">{text}</td>'
