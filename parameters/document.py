"""Write `docs/parameters.md` from the list of parameters: `python -m salon.parameters.document [--write]`."""

from __future__ import annotations

import sys
from pathlib import Path

from .kinds import Switch
from .known import parameters

PAGE = Path(__file__).parents[1] / "docs" / "parameters.md"

HEAD = """# Parameters

What a request can say beside its words. Prompts and `salon imagine` take the flags, and it is all one whether they
stand in the prompt or beside it; the client library takes the names too, as in
`client.imagine("a cat --ar 3:2", style_references=[4093])`; on the wire they are `parameters` of
[`submit`](wire.md#submit) and [`imagine`](wire.md#imagine), and [`parameters`](wire.md#parameters) lists them for who
draws controls. This page is written by `python -m salon.parameters.document --write`.

| flag | name | values | without it | |
|---|---|---|---|---|
"""
LATER = """
These have their names, and are refused until there is what they need:

| flag | name | needs |
|---|---|---|
"""
PROMPTS = """
## Prompts

    salon imagine 'a robot on a sailboat --ar 2:1 --s 250'

Words come first, then parameters: white space, `--` and a name right behind it, then its value (`--ar 2:1` or
`--ar=2:1`). An em dash or an en dash does for `--`, except before names of one letter. Names are lower-case. Each may
be said once; what is unknown, out of range, repeated, contradictory, or not for this model or job is refused, with the
place, the range and what to do:

    $ salon imagine 'a cat --ar 99:1'
    salon: error: --ar: got '99:1', allowed whole numbers W:H from 1:14 to 14:1; write it like 16:9
    a cat --ar 99:1
               ^

Nothing is ignored, changed or guessed. Dashes between words are words (`a road — fast and wet`); what is nearly a
parameter is refused with the correction (`a cat — ar 2:1`).

| in a prompt | means |
|---|---|
| `"quoted text"` | one piece: nothing in it is a parameter, a weight or a choice |
| `\\` before a character | that character, and nothing else: `\\--ar`, `\\{`, `\\"` |
| `hot:: dog::2` | two prompts with weights (1 unless written, also below 0); their sum is above 0 |
| `a {red, green} apple` | two prompts; choices may be nested and hold parameters: `{--s 0, --s 500}` |
| `--repeat 3` | three jobs of the prompt, each with a seed of its own |
| `__colour__` | a word from the list of that name, the same one for the same seed |
| `https://…`, `cat.png`, a SHA-256, `JOB:2` before the words | pictures that belong to the prompt |

`__colour__` takes its words from a text file `colour.txt` with a word on each line and `#` before remarks: without a
server in `~/.config/salon/wildcards` (or the folder that `SALON_WILDCARDS` names), on a server in the folder
`wildcards` of its data. `salon wildcards` lists them, `salon wildcards colour` the words of one. Which word is drawn
follows from the seed, the list and its place among the words of that list in the prompt.

A prompt that stands for several makes several jobs, all of them or none, as many as the account's plan allows.

`salon plan PROMPT` tells what a prompt would do without doing it: every job with every value, where each comes from,
and its cost. `salon settings` keeps what is to hold for all prompts of an account: parameters, and a suffix, which wins
over them; what a prompt says wins over both.

    salon plan 'a {red, green} apple --ar 3:2' --json
    salon settings --ar 3:2 --suffix '--raw'      # with a server
    salon settings --reset

```python
client.imagine("a cat --ar 3:2 --s 250")  # the same as
client.imagine("a cat", aspect=(3, 2), stylize=250)
jobs = client.imagine_all("a {red, green} apple --repeat 2")
print(client.plan("a cat --turbo").total_cost_ms)
client.settings.change(suffix="--raw", aspect=(3, 2))
```
"""
GUIDANCE = """
## Several texts, and what to leave out

`hot:: dog::2` draws both at once, the second with twice the weight. Weights count beside each other: they are divided
by the sum of those above 0, so that guidance keeps its strength (`a:: b::` and `a::5 b::5` are the same). A weight
below 0 leads away from its text, and takes nothing from the others. The sum must be above 0. A text of weight above 0
of which the model draws nothing is refused; of one below 0 that is told, and nothing happens.

`--no red, a hat` leaves things out: each is a text of weight -0.5 beside the whole prompt, which weighs 1 also where it
has several texts. To leave out more strongly, write it as a text: `a balloon:: red::-0.9`. A colour, a style or a
background alone is read as such and not as a thing ("red" leads away from red, not from red apples).

![a cat beside a dog of weight -1 to 2; balloons, with --no red, and further away](gallery/guidance/weights.webp)

By eye: between two things there is a way without a break, about even at equal weights. Of what is left out the
surroundings go first and the thing's own colour last.

The velocity of a step is u + guidance * (w0 (v0 - u) + w1 (v1 - u) + ...), with u that of the unconditional input
([composable diffusion](https://arxiv.org/abs/2206.01714)). Weight 0 is nothing, to the bit. At guidance 1 texts are
mixed without guidance, at guidance 0 none is read and texts are refused. Each text is one more sample of the model for
every picture, up to 8 of them, which takes that much longer. In a program weights are pairs:

```python
job = client.imagine("a cat", terms=[("a dog", 0.5)], no="red, a hat")
```

`negative_prompt` replaces the unconditional input itself: all guidance then leads away from it. Requests of before
there were weights have that meaning for ever; it has no flag any more.
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

![four things in the styles of twelve pictures](gallery/styles/references.webp)

![four things in twelve numbered styles](gallery/styles/numbers.webp)

Up to four share one picture, each perhaps with a weight: `--sref poster.png::2 4093`. `--sw` is how strongly they act
together: 100 is what the model was trained with, 0 is nothing, and towards 1000 the thing itself begins to give way.

![strengths from 0 to 1000 of the model's own style, of a picture, and of a number](gallery/styles/strength.webp)

What a picture carries, by eye: its background and colours nearly always, lines or areas mostly; related drawing sets
look alike, and a background of the thing's own may win (`python -m salon.models.mini.recipe.style_sheets` drew these).

In a program a picture is brought first, and then referred to by its digest:

```python
digest = client.add_reference("poster.png")  # or studio.add_reference, without a server
job = client.imagine("a cat", style_references=[digest, (4093, 0.5)], style_weight=150)
```

## Taste

`--p` draws in the taste of a profile in place of the model's own, on a server: alone it is your own global profile,
which is learned of what you like; with names it is up to four others, each perhaps with a weight: `--p ink::2 walls`.
A name is what you call a profile, its id (of a moodboard `m` and digits), a code, or `@` and a user whose global
profile is public. What is written is replaced by codes: a code is what a profile was at one time, for ever the same
pixels, and others can draw with it too. `--s` is how strongly the profile acts: 100 is usual, 0 is nothing, to the
bit. `--sref` stands beside it, and takes codes too; `--sw` weighs style references alone. `salon settings --p` has
every prompt drawn so that does not say otherwise. A profile learns of 200 ratings (`salon serve --unlock`) before it
can be used: pairs that were not skipped, grids that you picked from, and likes of others' pictures.

## Pictures to start from

`--image photo.png` draws from a picture instead of noise alone, and `--strength` says how much is drawn anew: that
share of the steps is taken, at least one. `--strength 0` is the picture itself, to the bit, and `--strength 1` is drawn
as without it. Up to about 0.5 only detail changes; the usual 0.75 keeps colours and what stands where. Without `--ar`
the proportions are the picture's; with another aspect, it fills the size and what stands over is cut off on both sides.

With `--mask mask.png` only what is white there is drawn anew, and the rest fits to it: a picture of the same size, grey
for between. `--feather` mixes old and new for so many pixels around the white; further out every pixel is the one of
the picture, to the bit.

![strengths from 0 to 1, and regions drawn anew](gallery/start/sheet.webp)

Both are files, or the SHA-256 of a file that was brought before (`client.add_reference`), or that of a picture that a
job of one's own made, or a public one of others; with a server also `--image JOB:2`, the second picture of a job.
Pictures that move are refused, and so is a mask of another size.

```python
digest = client.add_reference("photo.png")
job = client.imagine("a cat", image=digest, image_strength=0.4)
```

## Pictures before the words

`salon imagine "photo.png a cat --iw 1.5"` draws a cat of what the photo shows and how it looks: the drawing starts from
the picture's latents with some of the steps left out, and the picture is a style reference too (where the model has a
style encoder). Of several pictures the latents' mean counts, in one size, cut to it in the middle. `--iw`, 1 unless it
is written, is how much they count: 0 is nothing, to the bit; up to 1 colours and layout follow the picture, at 2 the
things begin to mix, and 3 is near to the picture. Up to five are files, SHA-256s, or pictures of jobs as `JOB:2`. The
size is that of a prompt without pictures. A start picture (`--image`) and a pattern (`--tile`) do not go with them.

Pictures alone, two to five of them, are a blend, with or without `--blend` in the prompt: then nothing says what to
draw, more of the pictures is kept, and the model's own style stays out unless `--s` is given. `salon blend A.png B.png`
and `salon blend JOB 1 JOB 2` are the same. One picture alone needs words.

![pictures before the words with --iw 0 to 3; below, blends without words](gallery/image-prompts/sheet.webp)

By eye: of one picture and a word the two change places between 1 and 3. A blend keeps the places and mixed colours of
what the pictures have, and a model that draws one thing makes one thing of them; of three little can be told apart.

```python
digest = client.add_reference("photo.png")
job = client.imagine(f"{digest} a cat --iw 1.5")  # or client.imagine("a cat", image_prompts=[digest], image_weight=1.5)
job = client.make("blend", sources=[digest, ("JOB", 0)])
```

## Knobs

Nothing of a knob is nothing, to the bit, and more of it does more (`python -m salon.models.mini.recipe.knobs` measures
that with the judge and the style encoder; `.knob_sheets` drew these).

`--chaos` is how different the pictures of a grid are. Each reads its words with some noise of its own, which works on
any model, and where there are styles it leans towards a style number of its own.

![two grids at rising chaos](gallery/knobs/chaos.webp)

By eye: at 25 backgrounds and colours part, at 100 drawing styles and shapes too, and some things are no longer sure to
be what was asked for (the third cat has become a bear).

`--weird` leads all pictures of a grid away from the model's default style, towards a style number that follows from the
seed. A model without a default style refuses it.

![four things at rising weird](gallery/knobs/weird.webp)

By eye: up to 500 little is seen, and at 3000 all pictures of a seed have gone the same way; the things stay.

`--exp` makes edges and contrasts stronger: half-way the model is told of more noise than there is, and takes more away.

![four things at rising exp](gallery/knobs/exp.webp)

`--q 2` and `--q 4` take so many times the steps, and cost as much more, once. `--draft` takes the model's settings for
drafts, in any lane, at the price of drafts. `--stop 40` takes the picture as it is after 40 percent of the steps, the
best guess that there is then, and costs as much less.

`--progressive 50` takes half of the steps at half the sides, with a quarter of the tokens, enlarges what that shows and
goes on at the whole size ([measured](measured.md#progressive-resolution)). It is for pictures larger than the model was
taught, and makes small ones worse. A step at half the sides costs a quarter. It goes neither with a picture to start
from nor with `--tile`; what is made of such a picture later (a variation, an upscale) starts from it as from any other.

![four things stopped part-way](gallery/knobs/stop.webp)

`--tile` makes a pattern whose sides go on at the opposite ones: the model sees what lies there beside each side, and
the decoder wraps. It does not go with a picture to start from. A picture of few tokens, like those of the embedded
model, takes up to half as much time again; a large one hardly more.

![pictures beside themselves, without and with tile](gallery/knobs/tile.webp)

By eye: gradients become level and close up, plain grounds stay plain; things lose some of their shape (the last
sunflower), and in a ground that is shaded a faint line can be left where the tiles meet.

`--oref photo.png` shows pictures to a model that was trained to look at them while it draws (FLUX.1 Kontext, FLUX.2
and Qwen-Image-Edit, see [models.md](models.md#reference-pictures)), and such a job costs double, of FLUX.2 [klein]
KV one evaluation more. The embedded model was not, and refuses it.

`--cref` and `--cw` are known and refused: they need an adapter that was trained to keep a character, and the embedded
model ships one for styles only. A picture before the words draws from it, `--sref` takes its style, and `--image`
starts from it. `--sv` names the version of style references, of which there is one.

## LoRAs

`--lora film.safetensors:0.8` changes the model for this prompt: a file, and behind the colon how strongly (1 unless
written, 0 is nothing, to the bit; below 0 leads away). Up to eight act together. What files are read and which models
take them is in [models.md](models.md#loras).

## Pictures by their links

`https://…/photo.png` serves as `--image`, `--mask`, `--sref` and a picture before the words where links are allowed: on
a server by its operator (`salon serve --image-links`), without one by `--image-links` beside the prompt. The process
that draws fetches the file, from public addresses only, up to 16 MiB, within 15 seconds and over at most three
redirects; then it is called by its SHA-256 like any other. `salon plan` fetches it, too. Elsewhere a link is refused.

## How long pictures are kept

A server keeps what was brought to it for as long as something needs it and at least 30 days from its last use. A
request that refers to what is gone is refused, and says which digest to bring again.
"""


def page() -> str:
    """Return the text of the page."""
    rows, later = [], []
    for parameter in parameters().values():
        kind = parameter.kind
        flags = ", ".join(f"`{flag}`" for flag in parameter.flags)
        values = "".join(f", `{f'{each.flag} {each.word}'.strip()}`" for each in parameter.spellings)
        metavar = "" if isinstance(kind, Switch) or not flags else f" `{kind.metavar}`"
        allowed = "" if isinstance(kind, Switch) else kind.allowed
        head = f"| {flags}{metavar}{values} | `{parameter.name}` |"
        if parameter.missing:
            later.append(f"{head} {parameter.missing} |")
        else:
            rows.append(f"{head} {allowed} | {parameter.default} | {parameter.help} |")
    more = LATER + "\n".join(later) + "\n" if later else ""
    return HEAD + "\n".join(rows) + "\n" + more + PROMPTS + GUIDANCE + TAIL


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
