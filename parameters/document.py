"""Write `docs/parameters.md` from the list of parameters: `python -m salon.parameters.document [--write]`."""

from __future__ import annotations

import sys
from pathlib import Path

from .kinds import Switch
from .known import parameters

PAGE = Path(__file__).parents[1] / "docs" / "parameters.md"

HEAD = """# Parameters

What a request can say beside its words. `salon imagine` takes the flags; the client library takes the names, as in
`client.imagine("a cat", aspect=(3, 2), style_references=[4093])`; on the wire they are `parameters` of
[`submit`](wire.md#submit). This page is written by `python -m salon.parameters.document --write`.

| flag | name | values | without it | |
|---|---|---|---|---|
"""

TAIL = """
## Styles

`--s` draws in the taste of the model itself, more or less; `--s 0` and `--raw` leave it out, to the bit. `--sref` draws
in the style of something else, and then the model's own stays out unless `--s` is given beside it:

- a picture (PNG, JPEG, WebP, GIF or BMP, up to 16 MiB): `--sref poster.png`. What is in it does not matter, only how it
  is drawn: its colours, its background, its lines. It is called by the SHA-256 of its file, in recipes too, so
  `--sref SHA256` finds it again where it was brought before;
- a number from 0 to 4,294,967,295: `--sref 4093`. Each is a fixed point of the model's style space, the same for ever;
  `--sref random` picks one and the recipe tells which. A file whose name is a number is written `./4093`.

![four things in the styles of twelve pictures](images/styles/references.webp)

![four things in twelve numbered styles](images/styles/numbers.webp)

Up to four share one picture, each perhaps with a weight: `--sref poster.png::2 4093`. `--sw` is how strongly they act
together: 100 is what the model was trained with, 0 is nothing, and towards 1000 the thing itself begins to give way.

![strengths from 0 to 1000 of the model's own style, of a picture, and of a number](images/styles/strength.webp)

What a picture carries, by eye: its background and colours nearly always, lines or areas mostly; related drawing sets
look alike, and a background of the thing's own may win (`python -m salon.models.mini.recipe.style_sheets` drew these).

In a program a picture is brought first, and then referred to by its digest:

```python
digest = client.add_reference("poster.png")  # or studio.add_reference, without a server
job = client.imagine("a cat", style_references=[digest, (4093, 0.5)], style_weight=150)
```

A server keeps what was brought to it for as long as something needs it and at least 30 days from its last use. A
request that refers to what is gone is refused, and says which digest to bring again.
"""


def page() -> str:
    """Return the text of the page."""
    rows = []
    for parameter in parameters().values():
        kind = parameter.kind
        flags = ", ".join(f"`{flag}`" for flag in parameter.flags)
        metavar = "" if isinstance(kind, Switch) or not flags else f" `{kind.metavar}`"
        allowed = "" if isinstance(kind, Switch) else kind.allowed
        rows.append(f"| {flags}{metavar} | `{parameter.name}` | {allowed} | {parameter.default} | {parameter.help} |")
    return HEAD + "\n".join(rows) + "\n" + TAIL


def main(words: list[str]) -> int:
    """Print the page, or write it with `--write`."""
    if words == ["--write"]:
        PAGE.write_text(page())
        print(f"written: {PAGE}")
    else:
        print(page(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
