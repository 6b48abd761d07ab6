"""Changes every proved claim of the library a little, and reads what becomes of it.

    python -m bench.mutants [FILE …]

Written to results/mutation.md. A mutant that is refuted shows that the claim says something; one that is still proved
shows a premise that is not needed, or a change that leaves the claim true; one that is open shows a gap of the engine.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dotopt.compiler.prove import check_claim
from dotopt.compiler.prove.mutants import mutants, pairs
from dotopt.compiler.text.library import Library, load

LIBRARY = Path(__file__).parent.parent / "stdlib"
RESULTS = Path(__file__).parent / "results" / "mutation.md"
ANSWERS = ("refuted", "still true", "vacuous", "unreadable", "open")


@dataclass(frozen=True)
class Mutant:
    """One changed claim and what the engine says of it."""

    claim: str
    change: str
    answer: str
    reason: str = ""


def of_file(path: Path) -> list[Mutant]:
    """The mutants of all proved claims of a file, at least two of each."""
    file = load(path)
    library = Library(path.parent)
    found: list[Mutant] = []
    for claim in file.claims:
        if check_claim(file, claim, library).status != "proved":
            continue
        for what, changed in mutants(claim, pairs(file)):
            report = check_claim(file, changed, library)
            name = f"{file.head.name}.{claim.name}"
            found.append(Mutant(name, what, _answer(report.status, report.reason), report.reason))
    return found


def _answer(status: str, reason: str) -> str:
    if status == "proved":
        return "still true"
    if status == "open" and reason.startswith(("not readable", "error[")):
        return "unreadable"
    return status


def table(found: Iterable[Mutant], seconds: float) -> str:
    """The page of results."""
    found = list(found)
    by_family: dict[str, Counter[str]] = {}
    for mutant in found:
        by_family.setdefault(mutant.claim.split("/")[0], Counter())[mutant.answer] += 1
    total = Counter(mutant.answer for mutant in found)
    claims = len({mutant.claim for mutant in found})
    decided = len(found) - total["unreadable"]
    share = 100 * total["open"] / max(decided, 1)
    lines = [
        "# Mutants of the library's claims",
        "",
        "`python -m bench.mutants` makes this page.",
        "",
        f"{len(found)} mutants of {claims} proved claims, in {seconds / 60:.0f} minutes of processor time: "
        f"**{share:.1f} % open** (the target is below 10 %).",
        "",
        "*Still true*: the premise that was left out is not needed, or the change leaves the claim true. *Unreadable*: "
        "without the premise the claim means nothing, as `stable` without a quadratic; not counted in the share.",
        "",
        f"| family | {' | '.join(ANSWERS)} |",
        f"|---|{'---|' * len(ANSWERS)}",
    ]
    lines += [f"| {family} | {' | '.join(str(n[a]) for a in ANSWERS)} |" for family, n in sorted(by_family.items())]
    lines += [f"| **all** | {' | '.join(f'**{total[a]}**' for a in ANSWERS)} |", ""]
    for answer, title in (("open", "Open"), ("still true", "Still true"), ("vacuous", "Vacuous")):
        lines += [f"## {title}", "", "| claim | change |", "|---|---|"]
        lines += [f"| {m.claim} | {_cell(m.change)} |" for m in found if m.answer == answer]
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _files(names: list[str]) -> Iterator[Path]:
    for path in sorted(LIBRARY.glob("*/*.opt")):
        if not names or path.stem in names or path.parent.name in names:
            yield path


def _one(path: Path) -> tuple[list[Mutant], float]:
    began = time.process_time()
    found = [Mutant(f"{path.parent.name}/{m.claim}", m.change, m.answer, m.reason) for m in of_file(path)]
    return found, time.process_time() - began


def main() -> None:
    """Writes the page, or prints it if only some files were asked for."""
    names = sys.argv[1:]
    files = list(_files(names))
    found: list[Mutant] = []
    seconds = 0.0
    with ProcessPoolExecutor(max_workers=2) as pool:
        for path, (mutants_, spent) in zip(files, pool.map(_one, files), strict=True):
            found += mutants_
            seconds += spent
            left = sum(m.answer == "open" for m in mutants_)
            print(f"{path.parent.name}/{path.name}: {len(mutants_)} mutants, {left} open, {spent:.0f} s", flush=True)
    page = table(found, seconds)
    if names:
        print(page)
    else:
        RESULTS.write_text(page, encoding="utf-8")
        print(page.splitlines()[4])


if __name__ == "__main__":
    main()
