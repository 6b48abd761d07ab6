"""`dotopt explain`: what a rule is, on one screen; with an option, its equations or its code in another form."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from dotopt.compiler.text.errors import OptError
from dotopt.runtime.commands import PROVED, Refused

if TYPE_CHECKING:
    from dotopt.compiler.analysis.levels import Level
    from dotopt.runtime.report.explain import Explanation

FORMS = {
    "ir": "the intermediate representation, one node a line",
    "torch": "the torch code",
    "triton": "the Triton code",
    "cpu": "the C code",
    "latex": "the equations in LaTeX",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """A file or a name, options of the rule, and another form."""
    parser.add_argument("rule", metavar="FILE|NAME", help="a .opt file, or a name of the catalogue such as Lion")
    parser.add_argument("--option", "-o", action="append", default=[], metavar="NAME=VALUE", help="set an option")
    parser.add_argument(
        "--state-dtype", action="append", default=[], metavar="[STATE=]FORMAT", help="states in fewer bits"
    )
    parser.add_argument("--param-rounding", metavar="WORD", help="parameters in bfloat16, rounded so")
    form = parser.add_mutually_exclusive_group()
    for name, sentence in FORMS.items():
        form.add_argument(f"--{name}", action="store_const", const=name, dest="form", help=f"print {sentence} instead")
    form.add_argument(
        "--format", choices=("text", "json"), default="text", help="json: one object, with the properties"
    )
    form.add_argument("--timeline", type=int, metavar="N", help="print which equations fire at steps 1 to N instead")
    parser.add_argument("--ranks", type=int, metavar="N", help="print what a step sends over N processes instead")
    parser.add_argument("--shard", type=int, default=0, metavar="AXIS", help="the axis of the parameter that is cut")
    parser.add_argument("--shape", default="1024x1024", metavar="AxB", help="the shape of the parameter")


def run(args: argparse.Namespace) -> int:
    """0; 1 if the file is broken."""
    from dotopt.runtime.commands.files import locate
    from dotopt.runtime.report.explain import explain

    try:
        options = dict(_pair(text) for text in args.option)
        facts = explain(
            locate(args.rule), options, state_dtype=_dtypes(args.state_dtype), param_rounding=args.param_rounding
        )
    except OptError:
        raise
    except ValueError as error:  # an option that the rule does not have
        raise Refused(str(error)) from None
    if args.ranks is not None:
        _sharding(facts, args)
    elif args.timeline:
        _timeline(facts, args.timeline)
    elif args.form is not None:
        from dotopt.runtime.commands.forms import code

        print(code(facts, args.form))
    elif args.format == "json":
        print(json.dumps(as_json(facts), ensure_ascii=False))
    else:
        show(facts)
    return PROVED


def as_json(facts: Explanation) -> dict[str, object]:
    """One object: what the file is, its memory, and its properties with how they are known."""
    from dataclasses import asdict

    from dotopt.runtime.report.properties import properties

    return {
        "name": facts.name,
        "kind": facts.kind,
        "python": facts.signature,
        "state_bytes_per_entry": facts.bytes,
        "backends": {name: reason or None for name, reason in facts.backends.reasons.items()},
        "backends_missing": facts.backends.missing,
        "properties": [asdict(p) for p in properties(facts)],
    }


def _dtypes(given: Sequence[str]) -> str | dict[str, str] | None:
    """What `--state-dtype` says: a word for all states, or a word for each of some."""
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    return dict(_pair(text) for text in given) or None


def _state_bytes(facts: Explanation) -> str:
    words = f"{facts.bytes:.7g} bytes of state for each entry of the parameter"
    from dotopt.compiler.schedule.storage import FORMATS, SMALL

    if not facts.formats:
        return f"{words}, in float32"
    small = f"; tensors of fewer than {SMALL} entries keep these states in float32"
    return words + (small if any(FORMATS[format].blocks for format in facts.formats.values()) else "")


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value or "true"


def show(facts: Explanation) -> None:
    """Print everything."""
    from rich.text import Text

    from dotopt.runtime.report.console import out
    from dotopt.runtime.report.explain import KINDS

    console = out()
    named = facts.sentence.startswith(facts.name)
    sentence = facts.sentence if named else f"{facts.name}: {facts.sentence}".rstrip(": ")
    title = Text(sentence)
    title.stylize("bold cyan", 0, len(facts.name))
    console.print(title, Text(facts.source, style="dim"), sep="  ")
    console.print()
    decided = ""
    if facts.decided is not None:
        decided = f"   decided by line {facts.decided.line}: {_one_line(facts.decided.text)}"
    there = not facts.backends.errors
    _fact("kind", KINDS.get(facts.kind, facts.kind) if there else facts.kind, decided)
    if facts.signature and there:
        _fact("python", facts.signature)
    if facts.closure and there:
        _fact("call", facts.closure)
    if facts.kind == "optimizer":
        _fact("memory", _state_bytes(facts))
    _backends(facts)
    _backends(facts)
    console.print()
    _rows("equations", ("", "", "shape", "unit"), ((e.label, f"= {e.text}", e.type, e.unit) for e in facts.lines))
    _rows(
        "hyperparameters",
        ("symbol", "Python", "range", "default", "unit"),
        ((k.symbol, k.python, k.range, k.default, k.unit) for k in facts.hyperparameters),
    )
    _rows(
        "states",
        ("symbol", "key", "shape", "start", "memory", "unit"),
        ((m.name, m.key, m.type, m.start, m.place, m.unit) for m in facts.memory),
    )
    _rows(
        "asks for",
        ("", "", "line"),
        ((text, what, str(span.line) if span else "") for text, what, span in facts.questions),
    )
    _derivations(facts)
    _rows(
        "levels by frequency",
        ("", "what moves", f"updates per {'step' if facts.kind == 'optimizer' else 'token'}"),
        ((str(i), ", ".join(level.names), _frequency(level)) for i, level in enumerate(facts.levels, start=1)),
    )
    _sequences(facts)
    _rows("other options", ("option", "what changes"), facts.choices)
    _costs(facts)
    from dotopt.runtime.report.properties import properties

    _rows("properties", ("", "", "known by"), ((p.what, p.value, p.how) for p in properties(facts)))
    for remark in facts.remarks[:3]:
        console.print(Text(f"units: {remark}"))
    if facts.claims:
        console.print(Text(f"claims: {', '.join(facts.claims)} (`dotopt check` decides them)"))


def _backends(facts: Explanation) -> None:
    """What runs the rule, and why the others do not."""
    found = facts.backends
    if found.elsewhere:
        _fact("runs on", found.elsewhere)
    elif found.errors:
        _fact("runs on", f"none: {found.errors[0].message}, so there is no class of it")
    else:
        _fact("runs on", ", ".join(found.runs))
        if facts.kind == "optimizer":
            for backend, reason in found.missing.items():
                _fact("", f"not {backend}: {reason}; torch's code takes its steps")


def _sequences(facts: Explanation) -> None:
    """Of a rule over sequences: the kind of each recurrence and why, its parallel form, work, depth and proofs."""
    if facts.kind != "module":
        return
    from rich.text import Text

    from dotopt.runtime.report.console import out
    from dotopt.runtime.sequence.forms import forms, proofs

    found = forms(facts.program)
    _rows(
        "recurrences over T tokens, in chunks of C (`block=`)",
        ("states", "kind", "why", "how", "work", "depth"),
        ((", ".join(x.states), x.kind, x.why, x.how, x.work, x.depth) for x in found),
    )
    for line in (line for x in found for line in x.transition):
        out().print(Text(f"  {line}"))
    for proof in proofs(facts.program):
        out().print(Text(f"  {proof.sentence}"))
    if found:
        out().print()


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _fact(name: str, value: str, more: str = "") -> None:
    from rich.text import Text

    from dotopt.runtime.report.console import out

    out().print(Text(f"{name:<8}", style="bold"), Text(value), Text(more, style="dim"), sep="")


def _rows(title: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """A table, without the columns that are empty in every row; nothing if there are no rows."""
    from rich.text import Text

    from dotopt.runtime.report.console import out, table

    found = [tuple(map(str, row)) for row in rows]
    if not found:
        return
    used = [i for i in range(len(columns)) if any(row[i] for row in found)]
    made = table(*(columns[i] for i in used), title=title)
    for row in found:
        made.add_row(*(Text(row[i]) for i in used))
    out().print(made)
    out().print()


def _derivations(facts: Explanation) -> None:
    rows: list[tuple[str, str]] = []
    for found in facts.derived:
        steps = (
            ("inner objective", found.objective), ("derived", found.derived), ("update", found.update),
            ("published", found.published),
        )  # fmt: skip
        said = {text for _, text in rows}
        rows += [row for row in steps if row[1] and row[1] not in said]
    _rows("derivations", ("", ""), rows)


def _frequency(level: Level) -> str:
    exact = str(level.frequency)
    return exact if level.per_step is None or "/" not in exact else f"{exact} = {level.per_step:g}"


def _costs(facts: Explanation) -> None:
    _rows(
        "passes over memory",
        ("when", "passes", "launches", "library calls", "bytes per entry", "floor"),
        (
            (c.condition, f"not fused: {c.reason}", "", "", "", "")
            if c.reason
            else (
                c.condition,
                str(c.passes),
                str(c.launches),
                str(c.routines or ""),
                f"{c.read:.7g} read, {c.written:.7g} written",
                f"{c.floor[0]:.7g} read, {c.floor[1]:.7g} written",
            )
            for c in facts.costs
        ),
    )


def _timeline(facts: Explanation, steps: int) -> None:
    from rich.text import Text

    from dotopt.runtime.report.console import out, table
    from dotopt.runtime.report.timeline import timeline

    title = f"{facts.name}: which equations fire at step t"
    made = table("next value", *(str(t) for t in range(1, steps + 1)), title=title)
    for name, fires in timeline(facts.program, steps):
        made.add_row(Text(f"{name}'"), *("?" if fired is None else "●" if fired else "·" for fired in fires))
    out().print(made)


def _sharding(facts: Explanation, args: argparse.Namespace) -> None:
    """What a step sends for one parameter; raises `Refused` for what no process can step in parts."""
    from rich.text import Text

    from dotopt.compiler.analysis.locality import Elsewhere
    from dotopt.runtime.report.console import out
    from dotopt.runtime.report.sharding import sharding

    shape = [int(size) for size in args.shape.split("x") if size.isdigit()]
    if facts.kind != "optimizer" or args.ranks < 1 or not 0 <= args.shard < len(shape):
        raise Refused("--ranks takes an optimizer, at least one process, and an axis of --shape, such as 1024x1024")
    try:
        found = sharding(facts.program, shape, args.shard, args.ranks)
    except Elsewhere as error:
        raise Refused(f"{facts.name} cannot step parts of tensors: {error.reason}") from None
    sizes = "x".join(map(str, shape))
    title = f"{facts.name}, {sizes} cut along axis {args.shard} over {args.ranks} processes: {found.sentence}"
    out().print(Text(title, style="bold"))
    rows = ((m.call, m.carries, str(m.numbers), str(4 * m.numbers)) for m in found.messages)
    _rows("messages of a step", ("", "carries", "numbers", "bytes in float32"), rows)
    owner = f", {found.owner:.3g} for a matrix at its owner" if found.owner else ""
    _fact("flops", f"about {found.flops:.3g} in each process", owner)
