"""Random rules on every backend beside the judge.

python -m bench.fuzz [COUNT] [--seed SEED] [--jobs N] [--thin] [--write]    many of them
python -m bench.fuzz --only NUMBER [--seed SEED]                            one of them: what is wrong with it, small

With --write the page of results is bench/results/fuzz.md. Ends with 1 if there is a defect.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from pathlib import Path
from random import Random

from bench.fuzz import campaign

PAGE = Path(__file__).parent.parent / "results" / "fuzz.md"


def only(seed: str, number: int, signature: list[str], seconds: float) -> int:
    """One rule: its text, and each of its defects made small."""
    os.environ["TRITON_INTERPRET"] = "1"
    import torch

    from bench.fuzz import runs
    from bench.fuzz.shrink import shrunk

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rng, kind = Random(f"{seed}/{number}"), campaign.kind_of(number)
    rule = kind.rule(rng)
    if not signature:
        print(rule.text, *(f"--- {name}.opt\n{text}" for name, text in rule.files), sep="\n")
    ways = [way for way in kind.ways if not signature or signature[0] == way] or kind.ways[:1]
    try:
        given, found = runs.attempt(kind, rule, lambda cls: kind.data(rng, cls), ways)
    except runs.Refused as error:
        print(error)
        return 0
    found = [one for one in found if not signature or list(one.signature) == signature][: 1 if signature else None]
    for defect in found:
        small, less, same = shrunk(kind, rule, given, defect, seconds)
        print(f"--- {same.way}: {same.kind}\n{same.message}\n{small.text}")
        print(*(f"--- {name}.opt\n{text}" for name, text in small.files), sep="", end="")
        print(*([f"--- {small.around}"] if small.around else []), sep="\n")
        print(*(kind.described(less) if less is not None else ()), sep="\n")
    return int(bool(found))


def page(tally: campaign.Tally, seed: str, seconds: float, shrink: float) -> str:
    """The results, a section a kind of defect."""
    lines = [
        "# Random rules",
        "",
        "`make fuzz` makes this page; `python -m bench.fuzz --only NUMBER --seed SEED` shows one of them.",
        "",
        f"Seed {seed}: {tally.rules} rules, {tally.runs} runs beside the judge (torch over lists and one by one, C, "
        f"Triton's interpreter), {seconds / 60:.0f} minutes. {sum(tally.refused.values())} were refused: "
        + (", ".join(f"{code} {n}" for code, n in tally.refused.most_common()) or "none") + ".",
        "",
        f"{sum(map(len, tally.defects.values()))} runs failed, in {len(tally.defects)} ways.",
    ]  # fmt: skip
    for (way, kind), cases in sorted(tally.defects.items(), key=lambda pair: -len(pair[1])):
        numbers = ", ".join(str(number) for number, _ in cases[:10])
        more = " …" if len(cases) > 10 else ""
        lines += ["", f"## {way}: {kind}", "", f"{len(cases)} times, rules {numbers}{more}."]
        if shrink:
            small = campaign.smallest(seed, cases[0][0], (way, kind), shrink)
            lines += ["", "```", small, "```"]
    return "\n".join(lines) + "\n"


def main() -> int:
    """See the head of the file."""
    asked = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    asked.add_argument("count", nargs="?", type=int, default=300)
    asked.add_argument("--seed", default="0")
    asked.add_argument("--first", type=int, default=0)
    asked.add_argument("--jobs", type=int, default=1)
    asked.add_argument("--thin", action="store_true", help="dear backends for few of the rules")
    asked.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    asked.add_argument("--only", type=int)
    asked.add_argument("--signature", nargs=2, default=[])
    asked.add_argument("--seconds", type=float, default=30, help="for making a defect small; 0: not at all")
    given = asked.parse_args()
    if given.only is not None:
        return only(given.seed, given.only, given.signature, given.seconds)
    began = time.monotonic()
    tally = campaign.run(given.count, given.seed, given.jobs, given.thin, given.first)
    text = page(tally, given.seed, time.monotonic() - began, given.seconds)
    if given.write:
        PAGE.write_text(text, encoding="utf-8")
    print(text)
    return int(bool(tally.defects))


if __name__ == "__main__":
    sys.exit(main())
