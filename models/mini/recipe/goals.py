"""The gate: what the embedded model must reach, against what the evaluation found."""

# mypy: disable-error-code="no-any-return"

from typing import Any

from ....bench.report import Goal

WARM = "held out of this training; the weights that it started from had seen the drawing sets"
UNSEEN = "the same entries real and generated, of pairs that the judge was not trained on"
FEWEST = {"concepts": 500, "styles": 8, "palettes": 6, "backgrounds": 12}


def goals(
    rows: dict[str, dict[str, Any]], autoencoder: dict[str, Any], plan: dict[str, Any], visible: float
) -> list[Goal]:
    """State every goal with the value reached. `rows`: the main rows by name; `visible`: share of visible objects."""
    out = [Goal.at_least("autoencoder PSNR on held-out drawings", 28.0, autoencoder["held"]["psnr"], " dB", note=WARM)]
    for axis in ("luma", "red_blue", "green_magenta"):
        value = min(part["r2"][axis] for part in autoencoder.values())
        out.append(Goal.at_least(f"autoencoder R2 of block colours, {axis}", 0.98, value))
    out += [Goal.at_least(f"number of {name}", fewest, len(plan[name])) for name, fewest in FEWEST.items()]
    name = "pictures whose object does not vanish in its background, share"
    out.append(Goal.at_least(name, 1.0, visible, note="by construction: the plan takes another look until it does not"))

    def figure(row: str, head: str) -> float | None:
        return float(rows[row][head]) if head in rows.get(row, {}) else None

    def ratio(row: str, base: str, head: str) -> float | None:
        mine, real = figure(row, head), figure(base, head)
        return mine / real if mine is not None and real else None

    full, named, shown = "generated, unseen", "generated, name only", "generated, by reference"
    real, held = "real, unseen", "real, held-out pairs"
    out += [
        Goal.at_least("concept top-1, full caption, share of real", 0.85, ratio(full, real, "concept"), note=UNSEEN),
        Goal.at_least(
            "the same, of pairs that the judge knows, against real ones that it does not", 0.85,
            ratio("generated, seen pairs", real, "concept"),
        ),
        Goal.at_least(
            "concept top-1, held-out pairs, share of real", 0.75, ratio("generated, held-out pairs", held, "concept")
        ),
        Goal.at_least("concept top-1 by kept-back synonyms", 0.5, figure("generated, synonyms", "concept")),
        Goal.at_least("judge's style head on unseen real pictures", 0.8, figure(real, "style")),
        Goal.at_least("the same, of those in their set's own colours", 0.8, figure(real, "style_natural")),
        Goal.at_least("style in words, own colours, share of real", 0.85, ratio(full, real, "style_natural")),
    ]  # fmt: skip
    for head in ("style", "palette", "background"):
        out.append(Goal.at_least(f"{head} in words, share of real", 0.85, ratio(full, real, head)))
        out.append(Goal.at_least(f"{head} by reference, share of real", 0.65, ratio(shown, real, head)))
    bare, kept = figure(named, "concept"), figure(shown, "concept")
    lost = bare - kept if bare is not None and kept is not None else None
    out.append(Goal.at_most("concept lost by a reference", 0.03, lost, note="same entries, same noise"))
    return out


def probe_goals(probes: dict[str, Any]) -> list[Goal]:
    """State what the probes must show, where they could be made: see `probes`."""
    out = []
    if weights := probes.get("weights"):
        moved = [row["moved"] for row in weights]
        name = "a reference of weight 0 moves the picture by"
        out.append(Goal.at_most(name, 0.0, moved[0], note="by construction: it is left out"))
        rising = sum(b > a for a, b in zip(moved[:-1], moved[1:], strict=True)) / (len(moved) - 1)
        out.append(Goal.at_least("steps of a rising weight that move the picture further, share", 1.0, rising))
        kept = weights[-1]["concept"] / weights[0]["concept"] if weights[0]["concept"] else None
        out.append(Goal.at_least("concept kept at weight 2.5, share of weight 0", 0.8, kept))
    if between := probes.get("between"):
        ends = [row["second"] - row["first"] for row in between]
        rising = sum(b > a for a, b in zip(ends[:-1], ends[1:], strict=True)) / (len(ends) - 1)
        out.append(Goal.at_least("steps from style to style that lead towards the second, share", 1.0, rising))
        worst = min(row["concept"] for row in between)
        end = (between[0]["concept"] + between[-1]["concept"]) / 2
        out.append(Goal.at_least("concept between two styles, share of the ends'", 0.9, worst / end if end else None))
    if default := probes.get("default style"):
        styles = [row["style"] for row in default]
        out.append(
            Goal.at_least("--s 1000 draws in the default style more often than --s 0, by", 0.1, styles[-1] - styles[0])
        )
    return out


def eye_goal(share: float | None) -> Goal:
    """State how many of 100 random pictures a person named correctly; None while no person has looked."""
    note = "" if share is not None else "nobody has looked yet: evaluate --by-eye SHARE"
    return Goal.at_least("pictures that a person names correctly, of 100 at random", 0.9, share, note=note)
