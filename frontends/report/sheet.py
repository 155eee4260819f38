"""Draw a report of a taste as one PNG: its verdict, and its rows of pictures with their labels."""

from __future__ import annotations

import io
from typing import Any, Final

from .data import ROWS, Pictures, ReportFields, share, sure, title_of, verdict_of, when

SIDE: Final = 128  # pixels of the longer side of a picture
GAP, LEFT, EDGE = 6, 120, 16
LEAST: Final = 720  # pixels across, so that there is room for the words
PAPER, INK, SOFT = (251, 250, 248), (29, 28, 26), (107, 104, 98)
TONES: Final = {"strong": (43, 122, 75), "weak": (154, 106, 18), "does nothing": (163, 59, 50)}


def png(report: ReportFields, pictures: Pictures) -> bytes:
    """Return a report as the file of a PNG.

    Args:
        report: its numbers and codes.
        pictures: row -> its pictures, as of `page.html`.

    Raises:
        OSError: a picture cannot be read.
    """
    from PIL import Image, ImageDraw, ImageFont

    rows = {name: [_small(file) for file in pictures[name]] for name in ROWS if pictures.get(name)}
    columns = max(map(len, rows.values()), default=0)
    width = max(LEAST, LEFT + 2 * EDGE + columns * (SIDE + GAP))
    large, usual, small = (ImageFont.load_default(size) for size in (24, 16, 13))

    texts: list[tuple[str, Any, tuple[int, int, int]]] = [(title_of(report), large, INK)]
    if report.verdict:
        texts.append((report.verdict, usual, TONES.get(report.verdict, SOFT)))
    for text, colour in ((verdict_of(report), INK), (_numbers(report), SOFT), (_liked(report), SOFT)):
        texts += [(line, small, colour) for line in _wrapped(text, small, width - 2 * EDGE)]
    codes = [
        f"{name} {code}" for name, code in (("--p", report.code), ("anti", report.anti_code)) if code
    ]  # the control's code is of no use to anybody who looks at a sheet
    codes += [part for part in (report.model_name, when(report.made_ms)) if part]

    heights = [font.getbbox("Ag")[3] + 6 for _, font, _ in texts]
    top = EDGE + int(sum(heights)) + GAP
    height = top + len(rows) * (SIDE + GAP) + EDGE + 18
    out = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(out)
    y = float(EDGE)
    for (text, font, colour), step in zip(texts, heights, strict=True):
        pen.text((EDGE, y), text, fill=colour, font=font)
        y += step
    for number, (name, row) in enumerate(rows.items()):
        upper = top + number * (SIDE + GAP)
        pen.text((EDGE, upper + SIDE // 2 - 9), ROWS[name][0], fill=INK, font=usual)
        for column, image in enumerate(row):
            left = LEFT + EDGE + column * (SIDE + GAP)
            out.paste(image, (left + (SIDE - image.width) // 2, upper + (SIDE - image.height) // 2))
    pen.text((EDGE, height - EDGE - 12), "   ".join(codes), fill=SOFT, font=small)
    buffer = io.BytesIO()
    out.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _numbers(report: ReportFields) -> str:
    held = report.held_out
    if not held.count:
        return ""
    return (
        f"{report.profile.events:,} answers; predicts {share(held)} of {held.count:,} choices that it was not told; "
        f"consistency {report.consistency:.0%}, effect {report.effect:.0%}, calibration {report.calibration:.0%}"
    )


def _liked(report: ReportFields) -> str:
    parts = [
        f"{word} {', '.join(each.name for each in rows)}"
        for word, rows in zip(("likes", "dislikes"), sure(report), strict=True)
        if rows
    ]
    return "; ".join(parts)


def _small(file: bytes) -> Any:
    """Return a picture in the size of a sheet."""
    from PIL import Image

    with Image.open(io.BytesIO(file)) as image:
        whole = image.convert("RGB")
    scale = SIDE / max(whole.size)
    size = (max(1, round(whole.width * scale)), max(1, round(whole.height * scale)))
    return whole if size == whole.size else whole.resize(size, Image.Resampling.LANCZOS)


def _wrapped(text: str, font: Any, width: float) -> list[str]:
    """Return a text in lines that are no wider than `width` pixels, unless a word is."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(word)
    return lines
