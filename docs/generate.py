"""Fills the generated parts of the pages in PAGES: `python docs/generate.py`; a test says if they are old.

A part stands between `<!-- begin NAME: generated -->` and `<!-- end NAME -->`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from dotopt.compiler.ops import OPERATIONS, Absent, Operation
from dotopt.compiler.ops.row import COLUMNS, Powers
from dotopt.compiler.resolve import resolve
from dotopt.compiler.text.library import Library, load
from dotopt.grammar.spelling import canonical
from dotopt.runtime.loading.catalogue import BACKENDS, entries
from dotopt.runtime.report.backends import standing

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/language.md", "docs/library.md", "docs/nested.md", "docs/operations.md")
PART = re.compile(r"(<!-- begin ([\w-]+): generated -->\n).*?(<!-- end \2 -->)", re.DOTALL)

# (names, how they are called, what they are); a test compares the names with those that the compiler knows
BUILT_INS: dict[str, list[tuple[str, str]]] = {
    "entrywise": [
        ("exp(x), log(x), sin(x), cos(x), tan(x), tanh(x), acos(x), atanh(x), erf(x)", "as in mathematics"),
        ("sqrt(x), abs(x)", "also `√x` and `|x|`"),
        ("sigmoid(x), relu(x), gelu(x), softplus(x)", "activations; `gelu` is the exact one"),
        ("sign(x)", "−1, 0 or 1; `sign(0) = 0`"),
        ("floor(x), ceil(x)", "rounding down and up"),
        ("clip(x, a, b)", "`min(max(x, a), b)`"),
        ("max(a, b, …), min(a, b, …)", "the larger, the smaller, entry by entry"),
        ("cis(a), re(z), im(z), conj(z)", "`cos a + i sin a`, real part, imaginary part, conjugate"),
    ],
    "reductions, with `over=` and `per=`": [
        ("sum(x), mean(x), max(x), min(x)", "`max` and `min` of one argument"),
        ("norm(x)", "root of the sum of squares, also `‖x‖`; `‖x‖[1]`, `‖x‖[∞]`"),
        ("rms(x), std(x)", "root mean square; standard deviation with N − 1"),
        ("dot(a, b)", "sum of the products of entries, also `⟨a, b⟩`"),
        ("size(x)", "how many entries; of an index set, how many elements"),
        ("rank(x)", "the number of axes of the tensor as the user made it; 1 for a tensor without axes"),
        ("argmax(x), argsort(x), rank_of(x)", "position of the largest; order; 1 for the largest, 2 for the next"),
    ],
    "linear algebra": [
        ("transpose(X), outer(a, b), trace(X), diagonal(X), tril(X)", "`transpose(X)` is `Xᵀ`"),
        ("inverse(X), solve(A, b)", "`solve(A, b)` is `inverse(A) @ b`, without the inverse"),
        ("matrix_power(X, p)", "of a symmetric matrix, any real p; `X^p` is entry by entry"),
        ("eigenvectors(X), top_eigenvector(X)", "of a symmetric matrix, the largest eigenvalue first"),
        ("qr(X)", "the orthogonal factor"),
        ("svdvals(X), spectral_norm(X), spectral_radius(X)", "singular values; the largest; the largest |eigenvalue|"),
        ("polar(X)", "the nearest orthogonal matrix, `U @ Vᵀ` of the singular value decomposition"),
        ("positive_definite(X)", "true or false"),
        ("columns(X, p)", "the columns of X in the order p"),
        ("unit(x)", "`x/‖x‖`"),
        ("ones(n), zeros(n)", "of these sizes"),
        ("jacobian(F, x), divergence(F, x)", "in claims"),
    ],
    "selection": [
        ("keep_largest(x, k)", "the k entries of largest size, 0 elsewhere"),
        ("indicator(S)", "1 on the positions in S"),
        ("top(x, k), occurs(a, b), suffix(x, n), append(x, c)", "on lists"),
    ],
    "calculus and inner problems": [
        ("stop(x)", "x, with derivative 0"),
        ("argmin(E), root(F)", "with `from=`, `tol=`, `most=`, `by=` where they iterate"),
        ("prox(h, s, x)", "the minimum of `s*h(u) + ½*‖u - x‖²` over u"),
        ("jvp(F, x, v)", "the derivative of F at x along v"),
        ("expect(e)", "in claims: over the draws of this step"),
    ],
    "sequences": [
        ("attention(q, k, v)", "causal softmax attention over the tokens so far; `window=W`: over the last W, "
         "`strict=true`: without the token itself, `bias=b`: b is added to the scores of this token's key"),
        ("cumsum(x)", "running sums"),
    ],
    "layers and tensors": [
        (
            "input_of(W), output_of(W)",
            "for the layer of `W : real[n, p]`: what went in, `real[samples, p]`, and out, `real[samples, n]`",
        ),
        ("native(W, k)", "the size of axis k of the tensor as the user made it; −1 is the last"),
    ],
    "claims only": [
        ("ddt(x)", "time derivative, in a `flow`"),
        ("O(h^3)", "terms of that order"),
        ("run(R, f, start=x, lr=η, steps=n)", "the final parameter of a run, in simulations"),
    ],
}


def built_in_names() -> set[str]:
    """All names that the table describes."""
    calls = ", ".join(call for rows in BUILT_INS.values() for call, _ in rows)
    return {canonical(name) for name in re.findall(r"([A-Za-z_]\w*)\(", calls)}


def built_ins() -> str:
    """The table of built-in functions."""
    lines = ["| function | |", "|---|---|"]
    for title, rows in BUILT_INS.items():
        lines.append(f"| **{title}** | |")
        lines += [f"| `{call}` | {meaning.replace('|', chr(92) + '|')} |" for call, meaning in rows]
    lines += ["", "Constants: `π`, `∞`, `I`, `t`. Anything else of this kind is a formula of the library (`dotopt list"]
    return "\n".join([*lines[:-1], lines[-1] + " --family functions`), and needs `use`."])


def families() -> str:
    """The names of the standard library, family by family."""
    from dotopt.runtime.loading.catalogue import entries

    names: dict[str, list[str]] = {}
    for entry in entries():
        place = entry.path.relative_to(entry.path.parents[1]).as_posix()
        names.setdefault(entry.family, []).append(f"[{entry.name}](stdlib/{place})")
    rows = (f"| **{family}** | {', '.join(links)} |" for family, links in names.items())
    return "\n".join(["| | |", "|---|---|", *rows])


def library() -> str:
    """What each file of the standard library is, with its paper: a table for every family."""
    from dotopt.runtime.loading.catalogue import entries

    lines: list[str] = []
    family = ""
    for entry in entries():
        if entry.family != family:
            family = entry.family
            lines += ["", f"## {family.capitalize()}", ""]
            if family == "theorems":
                lines += ["Claims, and nothing that a step would run: `dotopt check NAME` decides them.", ""]
            lines += ["| | what it is | source |", "|---|---|---|"]
        place = entry.path.relative_to(entry.path.parents[1]).as_posix()
        source = f"[{_short(entry.source)}]({entry.link})" if entry.link else entry.source
        sentence = entry.sentence.partition(": ")[2] or entry.sentence
        lines.append(f"| [{entry.name}](../stdlib/{place}) | {sentence[0].upper() + sentence[1:]} | {source} |")
    return "\n".join(lines[1:])


def _short(source: str) -> str:
    return source if source.startswith("arXiv") else re.sub(r"^https?://(www\.)?", "", source).split("/")[0]


def example() -> str:
    """Lion: the file, the step that it becomes, and what `explain` says of its passes."""
    import dotopt
    from dotopt.runtime.report.explain import explain

    path = Library().find("Lion")
    assert path is not None
    with TemporaryDirectory() as folder:
        made = Path(folder) / "lion.py"
        dotopt.compile(path, made)
        code = made.read_text(encoding="utf-8")
    step = re.search(r"^def step\w*\(.*?(?=\n\n\n)", code, re.DOTALL | re.MULTILINE)
    assert step is not None
    facts = explain(path)
    cost = facts.costs[0]
    text = path.read_text(encoding="utf-8").rstrip()
    shown = re.split(r"\n(?=\nclaim )", text)
    lines = "\n".join(shown[:5])
    rest = f"\n\n# … and {len(shown) - 5} claims more" if len(shown) > 5 else ""
    return (
        f"```opt\n{lines}{rest}\n```\n\n"
        "`dotopt compile lion.opt -o lion.py` writes a module with the class `Lion`; this is its step, for lists of"
        f" tensors:\n\n```python\n{step[0]}\n```\n\n"
        f"As a kernel it is {_plural(cost.passes, 'pass')} over memory: {cost.read:g} bytes read and {cost.written:g}"
        " written for each entry in float32, each array once, which is the least that is possible. The state takes"
        f" {facts.bytes:g} bytes."
    )


def _plural(count: int, word: str) -> str:
    return "one " + word if count == 1 else f"{count} {word}es"


# ---- docs/nested.md: what the tool says of the files in it -----------------------------------------------------------


def nested_file(name: str, claims: bool = False) -> str:
    """The text of a rule of docs/nested.md, with the claims that the page makes of it."""
    page = (ROOT / "docs/nested.md").read_text(encoding="utf-8")
    (text,) = (block for block in re.findall(r"^```opt\n(.*?)^```", page, re.M | re.S) if f"rule {name}\n" in block)
    asked = re.search(r"^```\n(claim \w+:.*?)^```", page, re.M | re.S)
    return f"{text}\n{asked[1]}" if claims and asked is not None else text


def said(command: str, name: str, *more: str, claims: bool = False) -> str:
    """What a command prints of a rule of docs/nested.md."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{name.lower()}.opt"
        path.write_text(nested_file(name, claims), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "dotopt", command, str(path), *more], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "1000"}, cwd=ROOT,
        )  # fmt: skip
    return done.stdout


def derivation(name: str) -> str:
    """The parts of `explain` on derivations and levels."""
    tables = said("explain", name).split("\n\n")  # the heads of columns without names are lines of blanks
    kept = [table for table in tables if table.startswith(("derivations", "levels by frequency"))]
    lines = [[line.rstrip() for line in table.splitlines() if line.strip()] for table in kept]
    return "```\n" + "\n\n".join("\n".join(table) for table in lines) + "\n```"


def nested_claims() -> str:
    """The statuses of the claims, without the seconds."""
    rows = [re.split(r" {2,}", line.rstrip()) for line in said("check", "DeltaNet", claims=True).splitlines()[1:]]
    rows = [row for row in rows if row[0]]  # without the line on the chunked form
    header, *found = rows
    assert header[:3] == ["claim", "status", "by"] and all(row[1] == "proved" for row in found), rows
    return "```\n" + "\n".join(f"{row[0]:<19}{row[1]:<8}{row[2]}".rstrip() for row in rows) + "\n```"


def nested_code() -> str:
    """The function that reads many tokens at once."""
    code = re.search(r"^def stretch\(.*?(?=\n\n\n)", said("explain", "DeltaNet", "--torch"), re.M | re.S)
    assert code is not None
    return f"```py\n{code[0]}\n```"


# (what it says, the file, the claim)
THEOREMS = [
    ("Lion-K decreases an energy in continuous time, for any convex K", "LionKLyapunov", "energy"),
    ("so does the step that it makes, for smooth f, `β1 <= β2` and `η*λ < 1`", "LionKSteps", "explicit"),
    ("the same with the constant not given but found", "LionKSteps", "constant"),
    ("AdamP's projection leaves nothing along the weights", "Projection", "tangent"),
    ("so their norm grows by the square of the step alone", "Projection", "norm_growth"),
    ("and with weight decay it is `(1 - η*λ)²*‖w‖²` plus that square", "Projection", "norm_with_decay"),
    ("a full step ends on the line of a projected one with rate `η/(1 - η*a)`", "Projection", "same_direction"),
    ("AdamP as shipped: the norm after a projected step", "AdamP", "norm_growth"),
    ("AdamP as shipped, with weight decay", "AdamP", "norm_with_decay"),
]  # fmt: skip
CERTIFICATES = {
    "multipliers": "an identity of multipliers",
    "nf-zero": "a polynomial that is zero",
    "positive": "a sum of products, in each case",
    "smt-unsat": "unsatisfiable in z3",
    "cases": "cases, each of them",
    "all": "parts, each of them",
}


def theorems() -> str:
    """The theorems with the status and the kind of certificate that they get here, each verified by the checker."""
    from dotopt.compiler.prove import check_claim
    from dotopt.compiler.prove.checker import verify
    from dotopt.compiler.prove.derivations.derive import constants
    from dotopt.compiler.prove.fuel import FULL
    from dotopt.compiler.text.library import load

    lines = ["| theorem | status | certificate |", "|---|---|---|"]
    for sentence, name, wanted in THEOREMS:
        path = Library().find(name)
        assert path is not None
        claim = next(c for c in load(path).claims if c.name == wanted)
        found = check_claim(load(path), claim, Library(), FULL)
        certificate = found.certificate or {}
        assert found.status == "proved" and verify(certificate), (name, wanted, found)
        place = path.relative_to(path.parents[1]).as_posix()
        values = [f"`{d.text}`" for d in constants(wanted, certificate, ()) if d.what.startswith("constant")]
        kind = certificate["kind"]
        words = CERTIFICATES.get(kind, kind) + (f"; {', '.join(values)}" if values else "")
        lines.append(f"| [{sentence[0].upper() + sentence[1:]}](stdlib/{place}) | {found.status} | {words} |")
    return "\n".join(lines)


# ---- docs/operations.md: the table of operations ----------------------------------------------------------------


def operations() -> str:
    """The rows of the table of operations, kind by kind; then the axioms, and why columns are absent."""
    kinds = dict.fromkeys(row.kind for row in OPERATIONS.values())
    parts = [f"## {KINDS[kind]}\n\n{_facts(kind)}\n\n{_columns(kind)}" for kind in kinds]
    return "\n\n".join([*parts, f"## Axioms\n\n{_axioms()}", f"## What is absent, and why\n\n{_reasons()}"])


KINDS = {
    "constant": "Constants and names", "number": "Functions of numbers, entry by entry", "truth": "Order and logic",
    "complex": "Complex numbers", "reduction": "Reductions", "matrix": "Matrices", "control": "Control",
    "list": "Sets and lists", "oracle": "What the user gives",
}  # fmt: skip
FACTS = ("definition", "derivative", "degree", "parity", "monotone", "range", "domain")
SHORT = {"numpy": "float", "sympy": "SymPy", "latex": "LaTeX", "c": "C", "triton": "Triton", "opt": ".opt"}


def _facts(kind: str) -> str:
    rows = [row for row in OPERATIONS.values() if row.kind == kind]
    shown = [f for f in FACTS if any(_shown(row, f) for row in rows)]
    lines = [_line("operation", "what it is", *shown), "|---" * (len(shown) + 2) + "|"]
    lines += [_line(f"`{row.name}`", _escaped(row.means), *(_shown(row, f) for f in shown)) for row in rows]
    return "\n".join(lines)


def _shown(row: Operation, column: str) -> str:
    entry = getattr(row, column)
    match entry:
        case Absent():
            return ""
        case "true":
            return "everywhere" if column == "domain" else entry
        case Powers(powers):
            return ", ".join(powers)
        case tuple():
            return "; ".join(f"`{_escaped(text)}`" for text in entry)
        case str() if column in ("definition", "range", "domain"):
            return f"`{_escaped(entry)}`"
    return str(entry)


def _columns(kind: str) -> str:
    """Which columns each row has."""
    rows = [row for row in OPERATIONS.values() if row.kind == kind]
    lines = [_line("", *(SHORT.get(column, column) for column in COLUMNS)), "|---" * (len(COLUMNS) + 1) + "|"]
    for row in rows:
        has = ("–" if isinstance(getattr(row, column), Absent) else "✓" for column in COLUMNS)
        lines.append(_line(f"`{row.name}`", *has))
    return "\n".join(lines)


def _axioms() -> str:
    lines = [_line("axiom", "given", "since"), "|---|---|---|"]
    for row in OPERATIONS.values():
        for axiom in () if isinstance(row.axioms, Absent) else row.axioms:
            given = "" if axiom.given == "true" else f"`{axiom.given}`"
            lines.append(_line(f"`{_escaped(axiom.show)}`", given, axiom.source))
    return "\n".join(lines)


def _reasons() -> str:
    """Each reason, with the columns that it is for, and the operations."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in OPERATIONS.values():
        for column in COLUMNS:
            if isinstance(entry := getattr(row, column), Absent):
                found.setdefault(entry.why, {}).setdefault(row.name, []).append(SHORT.get(column, column))
    lines = []
    for why, rows in sorted(found.items()):
        by_columns: dict[str, list[str]] = {}
        for name, columns in rows.items():
            by_columns.setdefault(", ".join(columns), []).append(f"`{name}`")
        where = "; ".join(f"{columns} of {', '.join(names)}" for columns, names in by_columns.items())
        lines.append(f"- *{why}*: {where}")
    return "\n".join(lines)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    return text.replace("|", chr(92) + "|")


PARTS: dict[str, Callable[[], str]] = {
    "operations": operations,
    "built-ins": built_ins,
    "families": families,
    "library": library,
    "lion": example,
    "nested-derivation": lambda: derivation("DeltaNet"),
    "nested-claims": nested_claims,
    "nested-code": nested_code,
    "nested-deep": lambda: derivation("DeepMemory"),
    "theorems": theorems,
}


def fill(text: str) -> str:
    """The page with its generated parts renewed; raises KeyError for a part that nothing makes."""
    return PART.sub(lambda part: f"{part[1]}{PARTS[part[2]]()}\n{part[3]}", text)


def backends(names: Iterable[str]) -> dict[str, list[str]]:
    """The backends that run each of these rules of the library: what `dotopt list` shows."""
    found = ((name, Library().find(name)) for name in names)
    made = ((name, standing(resolve(load(path)).file, Library(path.parent))) for name, path in found if path)
    return {name: list(one.runs) for name, one in made if one.reasons}


if __name__ == "__main__":
    table = backends(entry.name for entry in entries())
    BACKENDS.write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in table.items()) + "\n}\n")
    for page in PAGES:
        path = ROOT / page
        path.write_text(fill(path.read_text(encoding="utf-8")), encoding="utf-8")
