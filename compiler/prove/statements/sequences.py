"""Sequences in claims, `for all x[t], g[t]`: recurrences say what they are, `given` lines what is true for every t.

A sequence begins at 0; one with a recurrence from the value before begins at 1 if that is the least number that is
written as its index. A recurrence holds, and so does a `given` line, wherever all that it reads is there; what comes
before is free. `t` in a sentence to show is 1 at the first step. At any step t the values that the recurrence gives
are put in from t on, and sums whose range ends at t or later are those up to t - 1 and the terms that are left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from dotopt.compiler.ir import TIME, Fold, Node, instance, leaf, node, number, rebuild, substitute
from dotopt.compiler.lower import value
from dotopt.compiler.prove.statements.simplify import fold
from dotopt.compiler.prove.statements.statement import Case, Recurrence, Unreadable
from dotopt.compiler.text import syntax as s

WRITTEN_OUT = 64  # terms of a sum whose range is numbers


def names_of_sequences(case: Case) -> set[str]:
    """The names that `for all` quantifies with the index t."""
    clauses = [c for c in (*case.file.statements, *case.claim.body) if isinstance(c, s.ForAll)]
    return {q.name for c in clauses for q in c.names if [i.name for i in q.indices] == ["t"]}


def recurrences_of(case: Case) -> Iterator[tuple[str, Node]]:
    """The equations `x[t] = …` and `x[0] = …` of the claim, as pairs of the left side's name and an equation."""
    names = names_of_sequences(case)
    for clause in (*case.file.statements, *case.claim.body):
        match clause:
            case s.Definition(targets=(s.Index(_, s.Name(_, name, _), (_,)) as left,)) if name in names:
                if clause.where or clause.phase is not None or clause.family is not None:
                    raise Unreadable(f"a recurrence of `{name}` with more than an equation")
                yield name, node("eq", *(value(case.context, e, case.scope) for e in (left, clause.value)))


def read_sequences(case: Case) -> list[Node]:
    """Fills in the recurrences of a case; what is left are equations about single values."""
    names = names_of_sequences(case)
    if not names:
        return []
    if case.program.kind != "theorem":
        raise Unreadable("sequences in the claim of a rule")
    left_over: list[Node] = []
    found: dict[str, tuple[int, Node]] = {}
    for name, equation in recurrences_of(case):
        lead = offset(equation.args[0].args[0])
        if lead is None:
            left_over.append(equation)
        elif name in found:
            raise Unreadable(f"two recurrences of `{name}`")
        else:
            found[name] = (lead, equation.args[1])
    begins = dict.fromkeys(names, 0)
    for name, (lead, body) in found.items():
        if all(lead - k <= 1 for _, k in _reads(body, names)):
            begins[name] = _begin(case, name)
    for name, (lead, body) in found.items():
        reads = list(_reads(body, names))
        if any(k > lead or (k == lead and other == name) for other, k in reads):
            raise Unreadable(f"a recurrence of `{name}` that needs its own value, or a later one")
        first = max([begins[name], *(begins[other] + lead - k for other, k in reads)])
        case.recurrences[name] = Recurrence(lead, body, first)
    _no_circle(case.recurrences)
    case.begins = begins
    return left_over


def _no_circle(recurrences: Mapping[str, Recurrence]) -> None:
    """Raises `Unreadable` if values of one time need each other."""
    for name in recurrences:
        waiting, seen = [name], {name}
        while waiting:
            here = recurrences[waiting.pop()]
            for other, k in _reads(here.body, set(recurrences)):
                if k == here.lead and other == name:
                    raise Unreadable(f"recurrences that need each other: `{name}[t]` needs `{name}[t]`")
                if k == here.lead and other not in seen:
                    seen.add(other)
                    waiting.append(other)


def _reads(body: Node, names: set[str]) -> Iterator[tuple[str, int]]:
    """The sequences that a recurrence reads, and how far from t."""
    for here in body.walk():
        if here.role == "free" and here.name in names and len(here.args) == 1:
            k = offset(here.args[0])
            if k is None:
                raise Unreadable("a recurrence that reads more than values at a fixed distance from t")
            yield here.name, k


def _begin(case: Case, name: str) -> int:
    """The index at which a sequence begins."""
    written = {
        int(index.value)
        for part in (*(x for x in case.file.statements if not isinstance(x, s.Claim)), case.claim)
        for here in part.walk()
        if isinstance(here, s.Index) and isinstance(here.base, s.Name) and here.base.name == name
        for index in here.indices
        if isinstance(index, s.Number) and index.value.denominator == 1
    }
    return 1 if 1 in written and 0 not in written else 0


def offset(index: Node) -> int | None:
    """k if an index is t + k."""
    match index.op:
        case "leaf" if index is TIME:
            return 0
        case "add" | "sub":
            first, second = index.args
            if second.value is not None and second.value.denominator == 1:
                before = offset(first)
                step = int(second.value) if index.op == "add" else -int(second.value)
                return None if before is None else before + step
            if index.op == "add" and first.value is not None and first.value.denominator == 1:
                before = offset(second)
                return None if before is None else before + int(first.value)
    return None


def _index(k: int) -> Node:
    if k == 0:
        return TIME
    return node("add" if k > 0 else "sub", TIME, number(abs(k)))


def is_start(case: Case, here: Node) -> bool:
    """Whether a value of a sequence is one that no recurrence gives: `x[0]`."""
    if here.name not in case.begins or len(here.args) != 1 or here.args[0].value is None:
        return False
    law = case.recurrences.get(here.name)
    return law is None or here.args[0].value < law.first


def before(case: Case) -> list[Node]:
    """What the premises say of t = 0, where they have a meaning there."""
    found: list[Node] = []
    instant = Instant(case.recurrences, case.begins, case.settle, 0, number(0))
    for premise in case.premises if case.begins else ():
        if TIME in set(premise.walk()):
            try:
                found.append(instant.read(premise))
            except Unreadable:
                continue
    return found


def all_numbers(case: Case, nodes: Iterable[Node]) -> bool:
    """Whether every value of a sequence in these nodes has a number as its index, so that its equation is put in."""
    values = (here for root in nodes for here in root.walk() if here.op == "leaf" and here.name in case.begins)
    return all(here.args and here.args[0].value is not None for here in values if here.role == "free")


def speaks_of_t(sentence: Node) -> bool:
    """Whether a sentence speaks of t itself, not only of values of sequences at it."""
    if sentence is TIME:
        return True
    value_at = sentence.op == "leaf" and sentence.role == "free"
    return not value_at and any(map(speaks_of_t, sentence.children))


# ---- steps -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Instant:
    """A time of sequences, `later` after the one in which t stands for itself or is 1."""

    recurrences: Mapping[str, Recurrence]
    begins: Mapping[str, int]
    settle: Callable[[Node], Node]
    later: int
    time: Node

    def read(self, sentence: Node) -> Node:
        """What a sentence about t says of this time."""
        return self.settle(self.written(sentence))

    def written(self, sentence: Node) -> Node:
        """The same, with nothing computed."""
        return self._put_in(substitute(sentence, {TIME: self.time}))

    def next(self) -> Instant:
        """The time after this one."""
        known = self.time.value
        time = number(known + 1) if known is not None else _index(self.later + 1)
        return replace(self, later=self.later + 1, time=time)

    def _put_in(self, root: Node) -> Node:
        return rebuild(root, self._change)

    def _change(self, here: Node) -> Node:
        if here.op == "leaf" and here.role == "free" and here.name in self.begins and len(here.args) == 1:
            return self._value(here)
        if here.op == "fold":
            return self._ends(here)
        return here

    def _value(self, here: Node) -> Node:
        """A value of a sequence, by its recurrence where that is known to hold."""
        k, known = offset(here.args[0]), _number(here.args[0])
        begin, law = self.begins[here.name], self.recurrences.get(here.name)
        if known is not None:
            if known < begin:
                raise Unreadable(f"`{here.name}[{known}]`, before the beginning, in the first steps")
            if law is None or known < law.first:
                return leaf("free", here.name, here.type, number(known))
            return self._put_in(substitute(law.body, {TIME: number(known - law.lead)}))
        if k is None:
            return here
        if law is None or 1 + k < law.first:
            return leaf("free", here.name, here.type, _index(k))
        return self._put_in(substitute(law.body, {TIME: _index(k - law.lead)}))

    def _ends(self, here: Node) -> Node:
        """A sum over numbers, term by term; one whose range ends at t or later, up to t - 1 and then term by term."""
        body: Fold = here.attrs[0]
        if body.kind not in ("sum", "mean") or len(body.indices) != 1 or here.args[0].op != "range":
            return here
        first, last = here.args[0].args
        low, high, k = _number(first), _number(last), offset(last)
        if low is None:
            return here
        if body.kind == "mean":
            return here if body.condition is not None else self._mean(here)
        if high is not None and high - low < WRITTEN_OUT:
            return self._added(here, None, [number(i) for i in range(low, high + 1)])
        if k is None or k < 0 or low > 1:
            return here
        before = node("fold", node("range", first, _index(-1)), attrs=here.attrs)
        return self._added(here, before, [_index(i) for i in range(k + 1)])

    def _mean(self, here: Node) -> Node:
        first, last = here.args[0].args
        total = self._ends(node("fold", here.args[0], attrs=(replace(here.attrs[0], kind="sum"),)))
        count = node("add", node("sub", last, first), number(1))
        return node("div", total, self.settle(count))

    def _added(self, here: Node, total: Node | None, places: list[Node]) -> Node:
        body: Fold = here.attrs[0]
        for place in places:
            term = self._put_in(instance(body.body, {body.indices[0]: place}))
            if body.condition is not None:
                counted = self._put_in(instance(body.condition, {body.indices[0]: place}))
                term = node("select", counted, term, number(0))
            total = term if total is None else node("add", total, term)
        return total if total is not None else number(0)


def _number(index: Node) -> int | None:
    """The whole number that an index is, computed; raises `Unreadable` for a fraction."""
    found = index.value
    if found is None and (not index.args or any(_number(a) is None for a in index.args)):
        return None
    if found is None and index.op in ("add", "sub", "mul", "neg"):
        found = fold(rebuild(index, lambda x: node("sub", number(0), *x.args) if x.op == "neg" else x)).value
    if found is None or found.denominator != 1:
        raise Unreadable(f"a value of a sequence at {index!r}")
    return int(found)


__all__ = ["Instant", "all_numbers", "before", "is_start", "read_sequences", "speaks_of_t"]
