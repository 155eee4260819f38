"""Write a report of a taste as one HTML file: pictures inside, no script, nothing that is fetched."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape
from typing import Final

from .data import ROWS, EventFields, LikedFields, Pictures, ReportFields, share, sure, title_of, told, verdict_of, when

_TYPES: Final = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"RIFF", "image/webp"))
_TONES: Final = {"strong": "good", "weak": "fair", "does nothing": "poor"}
_STYLE: Final = """
:root { color-scheme: light dark; --page: #fbfaf8; --card: #ffffff; --ink: #1d1c1a; --soft: #6b6862; --line: #e3e0da;
  --accent: #2f6f8f; --good: #2b7a4b; --fair: #9a6a12; --poor: #a33b32; }
@media (prefers-color-scheme: dark) { :root { --page: #171614; --card: #211f1d; --ink: #edeae4; --soft: #a39e95;
  --line: #36332f; --accent: #7fbad6; --good: #6cc491; --fair: #dcab54; --poor: #e58a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.25rem 1rem 3rem; max-width: 60rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0; }
h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p { margin: .35rem 0; }
.soft, figcaption, dt, th { color: var(--soft); font-size: .875rem; font-weight: normal; }
.verdict { display: inline-block; margin: .75rem 0 .25rem; padding: .2rem .8rem; border-radius: 1rem;
  border: 1px solid currentColor; font-weight: 600; }
.good { color: var(--good); } .fair { color: var(--fair); } .poor { color: var(--poor); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .6rem; margin: 1rem 0; }
dl div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .55rem .75rem; }
dd { margin: 0; font-size: 1.1rem; font-variant-numeric: tabular-nums; }
dd small { display: block; color: var(--soft); font-size: .8rem; }
.row { margin: 1rem 0; }
.row p { margin: 0 0 .35rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(8rem, 22%), 1fr)); gap: .4rem; }
.pictures img { width: 100%; height: auto; display: block; border-radius: .3rem; border: 1px solid var(--line); }
.tastes { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: .5rem 2rem; }
.tastes h3 { font-size: .95rem; margin: .25rem 0; font-weight: 600; }
.taste { display: grid; grid-template-columns: 1fr 6rem; gap: .75rem; align-items: center; padding: .15rem 0; }
.bar { height: .6rem; border-radius: .3rem; background: var(--line); overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--good); } .disliked .bar i { background: var(--poor); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); }
code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; }
"""


def html(report: ReportFields, pictures: Pictures) -> str:
    """Return a report as one self-contained HTML document.

    Args:
        report: its numbers and codes; what is not known of it is left out, or said.
        pictures: row -> its pictures, which are to be of the same prompts and seeds in every row. Rows that are not of
            `data.ROWS` are left out, and so are empty ones.

    Raises:
        ValueError: a picture is neither a PNG, a JPEG nor a WebP file.
    """
    title = escape(title_of(report))
    tone = _TONES.get(report.verdict, "fair")
    parts = [
        f'<h1>{title}</h1><p class="soft">{_facts(report)}</p>',
        report.verdict and f'<p class="verdict {tone}">{escape(report.verdict)}</p><p>{escape(verdict_of(report))}</p>',
        _numbers(report),
        _rows(pictures),
        _liked(report),
        _pulls(report.pulls),
        _codes(report),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body><main>\n"
        + "\n".join(filter(None, parts))
        + "\n</main></body></html>\n"
    )


def _facts(report: ReportFields) -> str:
    facts = [
        f"of {report.profile.account}" if report.profile.account else "",
        f"model {report.model_name}" if report.model_name else "",
        when(report.made_ms) and f"{when(report.made_ms)} UTC",
    ]
    return escape(", ".join(filter(None, facts)))


def _numbers(report: ReportFields) -> str:
    held = report.held_out
    if not held.count:
        return ""
    missing = f"; {report.missing:,} more say nothing to this model" if report.missing else ""
    known = [
        ("answers", f"{report.profile.events:,}", f"that teach it{missing}"),
        ("choices predicted", share(held), f"of {held.count:,} that it was not told; guessing is right in 50 %"),
        ("consistency", f"{report.consistency:.0%}", "of your choices agree with the profile of all of them"),
        ("effect", f"{report.effect:.0%}", "chance that a picture in this style is chosen before one of any style"),
        ("calibration", f"{report.calibration:.0%}", "how far stated chances are from what came of them"),
    ]
    cells = [
        f"<div><dt>{name}</dt><dd>{value.replace('%', ' %').replace('  ', ' ')}<small>{note}</small></dd></div>"
        for name, value, note in known
    ]
    return f"<dl>{''.join(cells)}</dl>"


def _rows(pictures: Pictures) -> str:
    parts = []
    for name, (label, what) in ROWS.items():
        if not pictures.get(name):
            continue
        images = "".join(
            f'<img src="{_uri(file)}" alt="{label}, picture {number}" loading="lazy">'
            for number, file in enumerate(pictures[name], 1)
        )
        text = f"<p><b>{label}</b> <span class='soft'>{what}</span></p>"
        parts.append(f'<div class="row">{text}<div class="pictures">{images}</div></div>')
    if not parts:
        return ""
    note = '<p class="soft">Every row has the same prompts and seeds; only the profile differs.</p>'
    return f"<section><h2>What it does to pictures</h2>{note}{''.join(parts)}</section>"


def _liked(report: ReportFields) -> str:
    """List what the profile goes by, as far as it is sure of it."""
    liked, disliked = sure(report)
    if not liked and not disliked:
        return ""
    most = max(abs(each.utility) for each in (*liked, *disliked))

    def listed(kind: str, rows: Iterable[LikedFields]) -> str:
        lines = [
            f'<div class="taste"><span>{escape(each.name)} <span class="soft">{escape(each.factor)}</span></span>'
            f'<span class="bar"><i style="width: {100 * abs(each.utility) / most:.0f}%"></i></span></div>'
            for each in rows
        ]
        return f'<div class="{kind}"><h3>{kind}</h3>{"".join(lines) or "nothing for sure"}</div>'

    text = "As far as the answers say it for sure; the longer, the more it counts."
    both = listed("liked", liked) + listed("disliked", disliked)
    return f"<section><h2>What it goes by</h2><p class='soft'>{text}</p><div class='tastes'>{both}</div></section>"


def _pulls(events: Iterable[EventFields]) -> str:
    rows = [
        f"<tr><td>{each.event}</td><td>{escape(told(each))}</td><td>{when(each.at_ms)}</td><td>{each.pull:.2f}</td></tr>"
        for each in events
    ]
    if not rows:
        return ""
    text = "How far the profile would move without each; one that was a mistake can be switched off."
    return (
        f"<section><h2>Answers that pull hardest</h2><p class='soft'>{text}</p><div class='wide'><table>"
        f"<tr><th>event</th><th>what</th><th>when (UTC)</th><th>pull</th></tr>{''.join(rows)}</table></div></section>"
    )


def _codes(report: ReportFields) -> str:
    named = (("profile", report.code), ("anti-profile", report.anti_code), ("random", report.random_code))
    rows = [f"<tr><td>{name}</td><td><code>--p {escape(code)}</code></td></tr>" for name, code in named if code]
    if not rows:
        return ""
    text = f"A code draws the same for ever, also once the profile has moved on (learner {report.algorithm})."
    return f"<section><h2>Codes</h2><p class='soft'>{escape(text)}</p><table>{''.join(rows)}</table></section>"


def _uri(file: bytes) -> str:
    """Return a picture's file as a data URI."""
    for mark, kind in _TYPES:
        if file.startswith(mark):
            return f"data:{kind};base64,{base64.b64encode(file).decode('ascii')}"
    raise ValueError("a picture of a report: got another format, want a PNG, JPEG or WebP file")
