"""Mutated texts through every stage of the compiler: each must end in a result or in an `OptError` with a code.

    python -m bench.texts [COUNT [SEED]]

Written to results/texts.md. A text is a file of the repository with a few changes to its characters, tokens or lines;
text number i of a seed is always the same. What ends otherwise (a traceback, an internal error in a report, emitted
code that Python cannot read, more than the limits of time and memory) is printed, and the text is kept beside the page.

The limit of time is one of work: so many times what Python takes to parse a text of known length on the same machine.
"""

from __future__ import annotations

import ast
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType

from dotopt.compiler.prove.fuel import FAST
from dotopt.compiler.text.errors import OptError

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "texts.md"
FOLDERS = ("stdlib", "tests/worked", "tests/claims/true", "tests/claims/written")
STAGES = ("parse", "resolve", "lower", "check", "explain", "compile")
LIMIT = 400  # of the time of a stage: times what Python takes to parse `KNOWN`
KNOWN = "def f(x, y):\n    return [x + y * 2, (x, y)[0], {x: y}]\n" * 300
MEMORY = 4 << 30  # bytes of address space
FUEL = FAST // 4  # for a claim; most claims are decided with less
SILENCE = 60  # times the limit of time on the clock, after which a worker that says nothing is ended

# ---- mutations -----------------------------------------------------------------------------------------------------

TOKEN = re.compile(r"[^\W\d]\w*|\d+(?:\.\d+)?|[-+*/@^=<>']+|\S")
PIECES = (
    "'", "(", ")", "[", "]", "{", "}", "=", "==", ":", ",", ";", "@", "^", "²", "∇", "√", "‖", "|", "<-", "~", ".",
    "..", "_", "#", '"', '"""', "\\", "0", "1e", "1e400", "if", "else", "for", "in", "every", "over", "first", "when",
    "iterate", "repeat", "until", "claim", "given", "show", "state", "hyper", "option", "input", "output", "objective",
    "param", "draw", "use", "base", "let", "t", "inf", "é", "中", "😀", "\u0302", "\u202e", "\x1b", "\0", "\r", "\t",
    "½", "π", "∞", "⟨", "⟩", "·", "×", "−", "≤", " ", "\n", "\n  ", "[t-1]", " over last 3", " every 4", " for i in S",
)  # fmt: skip
WRAPPED = (
    "-{}", "({})", "|{}|", "‖{}‖", "√{}", "{}²", "{}^0.5", "{}^{}", "{}*{}", "{}/{}", "{} + {}", "{} @ {}", "{}ᵀ",
    "{}'", "{}[1]", "{}[t-1]", "{}[i]", "{}.T", "{}.lr", "{}()", "{}({})", "f({})", "∇f({})", "∇{}({})", "∇²f({}) @ {}",
    "sum({})", "mean({}, over=rows)", "norm({}, 1)", "max({}, {})", "exp({})", "log({})", "sign({})", "tanh({})",
    "clip({}, -1, 1)", "({} if {} > 0 else 0)", "[{} for i in 1..3]", "{{{}}}", "stop({})", "first {}", "outer({}, {})",
    "newton_schulz({}, 5)", "normal(0, {})", "not {}", "{} and {}", "{} < {}", "⟨{}, {}⟩", "sort({})",
    "argmin_{}(f({}))",
)  # fmt: skip
REPEATED = (
    "{}*{}", "{} + {}", "tanh({})", "({})", "-{}", "({} + 1)*{}", "⟨{}, {}⟩", "{} == {}", "√{}", "{}^{}", "f({})",
)  # fmt: skip
NUMBERS = ("0", "1", "-1", "2", "0.5", "1e-30", "1e300", "inf", "10000", "3.7", "1/3")
LINES = (
    "state s : real = 0", "hyper k : int > 0 = 3", "x' = x", "s' = s + 1", "param y : real[rows, cols]", "objective h",
    "option fast = false", "input z : real[d]", "claim c:\n  show 1 == 1", "iterate v from 1 repeat 3:\n  v' = v/2",
    "when t > 3:\n  a = 1\notherwise:\n  a = 2", "F(a) = a*F(a)", 'source "arXiv:1"', "use Lion", "for all a >= 0",
)  # fmt: skip


@cache
def corpus() -> tuple[str, ...]:
    """The texts that are changed."""
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.opt"))]
    return tuple(path.read_text(encoding="utf-8", errors="replace") for path in paths)


def mutated(seed: int, number: int) -> str:
    """Text `number` of a seed."""
    rng = random.Random(f"{seed} {number}")
    text = rng.choice(corpus())
    for _ in range(rng.choice((1, 1, 1, 1, 2, 2, 3, 5))):
        (change,) = rng.choices((_characters, _token, _wrapped, _repeated, _lines, _spliced), (1, 4, 4, 1, 1, 1))
        text = change(rng, text)
    return text


def _characters(rng: random.Random, text: str) -> str:
    start = rng.randint(0, len(text))
    end = min(start + rng.randint(0, 12), len(text))
    place = rng.randint(0, len(text))
    match rng.randrange(4):
        case 0:
            return text[:start] + text[end:]
        case 1:
            return text[:start] + rng.choice(PIECES) + text[start:]
        case 2:
            return text[:start] + text[start:end] + text[start:]
        case _:
            return text[:place] + text[start:end] + text[place:]


def _changed(rng: random.Random, text: str, pattern: str, change: Callable[[str], str]) -> str:
    """The text with one of its tokens that match the pattern changed."""
    words = text.find("\n\n") if rng.random() < 0.9 else 0  # docstring and head are changed less often
    found = [token for token in TOKEN.finditer(text, max(words, 0)) if re.match(pattern, token.group())]
    if not found:
        return text
    token = rng.choice(found)
    return text[: token.start()] + change(token.group()) + text[token.end() :]


def _token(rng: random.Random, text: str) -> str:
    """A name in the place of another, a number of another, an operator of another."""
    kind = rng.choice((r"[^\W\d]", r"\d", r"[-+*/@^=<>']"))
    source = text if rng.random() < 0.7 else rng.choice(corpus())
    others = [token for token in TOKEN.findall(source) if re.match(kind, token)] or ["x"]
    replacement = rng.choice(NUMBERS) if kind == r"\d" and rng.random() < 0.5 else rng.choice(others)
    return _changed(rng, text, kind, lambda _: replacement)


def _wrapped(rng: random.Random, text: str) -> str:
    form = rng.choice(WRAPPED)
    return _changed(rng, text, r"[^\W\d]|\d", lambda token: form.format(token, token))


def _repeated(rng: random.Random, text: str) -> str:
    """A deep or a long expression in the place of a name."""
    form, times = rng.choice(REPEATED), rng.choice((3, 8, 20, 40, 90))

    def grown(token: str) -> str:
        value = token
        for _ in range(times):
            value = form.format(value, token)
        return value

    return _changed(rng, text, r"[^\W\d]", grown)


def _lines(rng: random.Random, text: str) -> str:
    lines = text.split("\n")
    one, two = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(5):
        case 0:
            del lines[one]
        case 1:
            lines.insert(two, lines[one])
        case 2:
            lines[one], lines[two] = lines[two], lines[one]
        case 3:
            lines.insert(one, rng.choice(LINES))
        case _:
            lines[one] = rng.choice(("  ", " ", "\t", "")) + lines[one].strip()
    return "\n".join(lines)


def _spliced(rng: random.Random, text: str) -> str:
    """A line, or the right side of an equation, of another file."""
    other = [line for line in rng.choice(corpus()).split("\n") if line.strip()]
    lines = text.split("\n")
    place = rng.randrange(len(lines))
    new = rng.choice(other or [""])
    if "=" in lines[place] and "=" in new and rng.random() < 0.6:
        lines[place] = lines[place].partition("=")[0] + "=" + new.partition("=")[2]
    else:
        lines.insert(place, new)
    return "\n".join(lines)


# ---- stages --------------------------------------------------------------------------------------------------------


class Late(BaseException):
    """The time of a stage is over; no `Exception`, so nothing takes it for a failure of its own."""


class Internal(Exception):
    """A report that says that something went wrong inside."""


@dataclass(frozen=True)
class Ending:
    """How a text ended: in the last stage that it reached; `code` of the `OptError`, or "" for a result.

    `wrong` says what is wrong with that, if something is.
    """

    stage: str
    code: str = ""
    wrong: str = ""


@cache
def limit() -> float:
    """Processor seconds that a stage may take on this machine."""

    def once() -> float:
        start = time.process_time()
        ast.parse(KNOWN)
        return time.process_time() - start

    return LIMIT * min(once() for _ in range(5))


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises `Late` in the body after so many seconds of this process."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Late

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def ending(text: str, path: Path, rng: random.Random, slack: float = 1) -> Ending:
    """How the text ends, as the content of the file at `path`; `slack` multiplies the limit of time."""
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    stage = STAGES[0]
    try:
        for name, work in _stages(path, rng):
            stage = name
            with limited(limit() * slack):
                work()
    except OptError as error:
        found = error.diagnostics[0]
        told = _told(error)
        return Ending(stage, found.code, told)
    except Late:
        return Ending(stage, wrong=f"more than {LIMIT} times the time of a known text")
    except MemoryError:
        return Ending(stage, wrong="more than the limit of memory")
    except Internal as error:
        return Ending(stage, wrong=str(error))
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        inside = [frame for frame in frames if "dotopt" in frame.filename or "compiler" in frame.filename]
        places = [f"{'/'.join(Path(f.filename).parts[-3:])}:{f.lineno} {f.name}" for f in (inside or frames)[-3:]]
        return Ending(stage, wrong=f"{type(error).__name__}: {str(error)[:150]} in {' > '.join(places)}")
    return Ending("compile")


def _told(error: OptError) -> str:
    """What is wrong with a diagnostic: it cannot be printed."""
    from dotopt.compiler.text.render import render_all, to_json

    try:
        render_all(error.diagnostics)
        json.dumps([to_json(found) for found in error.diagnostics])
    except Exception as wrong:
        return f"the diagnostic cannot be printed: {type(wrong).__name__}: {wrong}"
    return ""


def _stages(path: Path, rng: random.Random) -> Iterator[tuple[str, Callable[[], object]]]:
    """The stages in order, each with its work; a kernel that cannot be made of a rule (E601) is an answer too."""
    from dotopt.compiler.emit.torch.optimizer import module, transform
    from dotopt.compiler.lower import Static, lower
    from dotopt.compiler.parse import parse
    from dotopt.compiler.prove.report import check_claim
    from dotopt.compiler.resolve import resolve
    from dotopt.compiler.text.library import Library
    from dotopt.compiler.text.read import read
    from dotopt.runtime.commands.forms import code
    from dotopt.runtime.report.explain import explain

    library = Library(path.parent)
    source = read(path)
    tree = parse(source)
    file = tree

    def parsed() -> None:
        parse(source)

    def resolved() -> None:
        nonlocal file
        file = resolve(tree).file

    def lowered() -> None:
        program = lower(file, Static(), library)
        values = {option.name: option.default for option in program.options}
        for rank in (None, rng.randrange(4)):
            lower(file, Static(values, rank), library)

    def checked() -> None:
        if file.claims:
            report = check_claim(file, rng.choice(file.claims), library, fuel=FUEL)
            if "internal" in report.reason:
                raise Internal(report.reason)

    def explained() -> None:
        facts = explain(path)
        for form in ("ir", "latex"):
            code(facts, form)

    def compiled() -> None:
        ast.parse(transform(file, ("file", str(path), "")) if file.head.word == "transform" else module(file, library))
        facts = explain(path)
        for form in ("cpu", "triton"):
            try:
                code(facts, form)
            except OptError as error:
                if any(found.code != "E601" for found in error.diagnostics):
                    raise

    yield from zip(STAGES, (parsed, resolved, lowered, checked, explained, compiled), strict=True)


# ---- workers -------------------------------------------------------------------------------------------------------


def work(seed: int, start: int, stop: int) -> None:
    """Prints a line before and one after each text."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory() as folder:
        for number in range(start, stop):
            print(json.dumps({"begun": number}), flush=True)
            found = ending(mutated(seed, number), Path(folder) / "mutated.opt", random.Random(number))
            print(json.dumps({"number": number, **vars(found)}), flush=True)


def endings(seed: int, start: int, stop: int) -> Iterator[tuple[int, Ending]]:
    """The endings of texts, from a worker that is started again where it dies or says nothing for too long."""
    begun = start
    while begun < stop:
        command = [sys.executable, "-m", "bench.texts", "--worker", str(seed), str(begun), str(stop)]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert worker.stdout is not None
        signal.signal(signal.SIGALRM, lambda *_, worker=worker: worker.kill())  # type: ignore[misc]
        for line in worker.stdout:
            signal.alarm(round(SILENCE * limit()))
            said = json.loads(line)
            if "begun" in said:
                begun = said["begun"]
                continue
            yield said.pop("number"), Ending(**said)
            begun += 1
        signal.alarm(0)
        if worker.wait() != 0 and begun < stop:
            how = "says nothing" if worker.returncode == -signal.SIGKILL else f"dies with {worker.returncode}"
            yield begun, Ending("", wrong=f"the process {how}")
            begun += 1


def page(seed: int, found: list[tuple[int, Ending]]) -> str:
    """The results as a page."""
    stages = Counter(one.stage for _, one in found if not one.wrong)
    codes = Counter(one.code for _, one in found if one.code)
    refused = Counter(one.stage for _, one in found if one.code and not one.wrong)
    wrong = [(number, one) for number, one in found if one.wrong]
    lines = [
        "# Mutated texts",
        "",
        f"`python -m bench.texts {len(found)} {seed}`: {len(found):,} texts, {len(wrong)} of which ended in something "
        "else than a result or a diagnostic with a code, within the limits of time and memory.",
        "",
        "| ended in | with a result | with a diagnostic |",
        "|---|---:|---:|",
        *(f"| {stage} | {stages[stage] - refused[stage]:,} | {refused[stage]:,} |" for stage in STAGES),
        "",
        f"{len(codes)} codes: " + ", ".join(f"{code} ({count:,})" for code, count in codes.most_common()),
    ]
    if wrong:
        lines += ["", "| text | stage | what happened |", "|---:|---|---|"]
        lines += [f"| {number} | {one.stage} | {one.wrong.replace('|', '/')} |" for number, one in wrong]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Prints what ends wrongly and writes the page; 1 if something does."""
    if sys.argv[1:2] == ["--worker"]:
        work(*map(int, sys.argv[2:5]))
        return 0
    count, seed = ([int(word) for word in sys.argv[1:]] + [1000, 0][len(sys.argv) - 1 :])[:2]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    found: list[tuple[int, Ending]] = []
    for number, one in endings(seed, 0, count):
        found.append((number, one))
        if one.wrong:
            print(f"{number}: {one.stage}: {one.wrong}", flush=True)
    RESULTS.write_text(page(seed, found), encoding="utf-8")
    return int(any(one.wrong for _, one in found))


if __name__ == "__main__":
    sys.exit(main())
