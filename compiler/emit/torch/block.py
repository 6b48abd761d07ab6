"""The statements of a plan as Python lines, each under the equation that it computes.

A state is overwritten by the line that reads it last; what is not written by then is stored at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from dotopt.compiler.emit.names import Names
from dotopt.compiler.emit.parts import comment
from dotopt.compiler.emit.torch.guards import guards
from dotopt.compiler.emit.torch.lists import Code, Lists
from dotopt.compiler.emit.torch.memory import Memory, in_order
from dotopt.compiler.emit.torch.places import Places, requests
from dotopt.compiler.emit.torch.plan import Guard, Plan, Statement
from dotopt.compiler.emit.torch.requests import Requests
from dotopt.compiler.emit.torch.scalars import AND, Scalars
from dotopt.compiler.ir import Loop, Node, node
from dotopt.compiler.ir.loops import below
from dotopt.compiler.text.errors import fail

INDENT = "    "


class Blocks:
    """Writes the blocks of one function: the step itself, and the bodies of its loops.

    `names` are the variables of values, `storages` those of the parameter and the states.
    """

    def __init__(
        self,
        names: dict[Node, str],
        storages: Mapping[Node, str],
        places: Places,
        scalars: Scalars,
        lists: Lists,
        requested: Requests,
        taken: Names,
    ) -> None:
        self.names = names
        self.storages = storages
        self.places = places
        self.scalars = scalars
        self.lists = lists
        self.requested = requested
        self.taken = taken

    def block(self, plan: Plan, memory: Memory, after: Iterable[Node] = ()) -> list[str]:
        """The statements of a plan, and what is left to store; the lines that follow still read the nodes `after`."""
        last = self._last_reads(plan, memory, after)
        written: set[Node] = set()
        lines: list[str] = []
        for place, statement in enumerate(plan.statements):
            guard = plan.guards.get(statement.node, frozenset())
            if statement.node.op == "loop":
                made = self.loop(statement, guard, memory)
            elif statement.state is not None:
                made = self.start(statement)
                if lines and lines[-1].startswith(INDENT) and _start_open(lines):
                    made = made[1:]
            else:
                made, storage = self.value(statement, place, last, guard, memory)
                if storage is not None and memory.kept[storage] is statement.node:
                    written.add(storage)
            lines += made
        return lines + self._stores(memory, written)

    def _stores(self, memory: Memory, written: set[Node]) -> list[str]:
        """The next values that do not stand where they are kept, each read before its memory is overwritten."""
        lists = self.lists.line()
        texts: dict[Node, str] = {}
        reads: dict[Node, frozenset[Node]] = {}
        for storage, value in memory.kept.items():
            if storage in written or storage is value:
                continue
            if self.places.scalar(value):
                code = Code(f"constant({self.scalars.text(value)}, {self.storages[storage]})")
            else:
                code = lists.code(value)
            texts[storage] = code.text
            reads[storage] = memory.reached({*code.aliases, *lists.reads(value)})
        order, copied = in_order(reads)
        first = []
        for storage in copied:
            name = self.taken.new(f"{self.storages[storage]}'")
            first.append(f"{name} = copies({texts[storage]})")
            texts[storage] = name
        return first + [f"store({self.storages[storage]}, {texts[storage]})" for storage in order]

    # ---- what is read, and when last ----

    def _last_reads(self, plan: Plan, memory: Memory, after: Iterable[Node]) -> dict[Node, int]:
        """For each named value the last statement that reads it; one past the end if the lines after them do."""
        last: dict[Node, int] = {}
        for place, statement in enumerate(plan.statements):
            for here in self._reads(statement):
                last[here] = place
            for condition, _ in plan.guards.get(statement.node, ()):
                for here in condition.walk():
                    if here in self.names:
                        last[here] = max(place, last.get(here, 0))
        lists = self.lists.line()
        lined = {statement.node for statement in plan.statements if statement.state is None}
        for value, count in Counter(memory.kept.values()).items():
            if value not in lined or count > 1:  # else the line that computes it is the one that stores it
                last |= dict.fromkeys(lists.reads(value), len(plan.statements))
        for value in after:
            last |= dict.fromkeys(lists.reads(value), len(plan.statements))
        return last

    def _reads(self, statement: Statement) -> Counter[Node]:
        """How often the lines of a statement read each named value."""
        here = statement.node
        lists = self.lists.line()
        if here.op == "loop":
            return Counter({inner: 2 for root in below(here) for inner in lists.reads(root)})
        return lists.reads(here) if statement.state is not None else lists.operands(here)

    # ---- statements ----

    def value(
        self, statement: Statement, place: int, last: Mapping[Node, int], guard: Guard, memory: Memory
    ) -> tuple[list[str], Node | None]:
        """The lines of a value, and the storage that it was written into."""
        comments = list(map(comment, statement.comments))
        here, name = statement.node, statement.name
        free = memory.free(self._reads(statement), last, place)
        own = memory.storages(here)
        del self.names[here]
        code = self._code(here, free)
        while own and (home := memory.home(code)) is not None and home not in own:
            # it outlives this step, so it must not stand in memory that another state is stored into
            free = frozenset(x for x in free if memory.homes.get(self.names[x]) is not home)
            code = self._code(here, free)
        self.names[here] = name
        memory.made(here, name, code)
        storage = next((leaf for leaf in memory.kept if self.storages[leaf] == code.target), None)
        text = code.text
        if guard:
            text = f"{text} if {self.condition(guard)} else None"
        elif _enclosed(text) and not requests(here):
            text = text[1:-1]
        elif (
            storage is not None
            and memory.kept[storage] is here
            and here not in last
            and " if " not in text
            and text != self.storages[storage]
        ):
            return [*comments, text], storage
        return [*comments, f"{name} = {text}"], storage

    def _code(self, here: Node, free: frozenset[Node]) -> Code:
        lists = self.lists.line(free)
        if requests(here):
            return Code(self.requested.text(here, lists))
        return Code(self.scalars.text(here)) if self.places.scalar(here) else lists.code(here)

    def condition(self, guard: Guard) -> str:
        """The conjunction of conditions."""
        texts = [
            self.scalars.text(c if side else _opposite(c), AND) for c, side in sorted(guard, key=lambda g: repr(g[0]))
        ]
        return " and ".join(texts)

    def start(self, statement: Statement) -> list[str]:
        """The value of a state before its first step."""
        assert statement.state is not None
        here, name = statement.node, statement.name
        if statement.state.shared:
            return ["if t == 1:", f"{INDENT}{name} = {self.scalars.text(here)}"]
        if self.places.scalar(here):
            value = f"constant({self.scalars.text(here)}, {name})"
        else:
            value = self.lists.line().code(here).text
        return ["if t == 1:", f"{INDENT}store({name}, {value})"]

    def loop(self, statement: Statement, guard: Guard, memory: Memory) -> list[str]:
        """A loop: starts, passes, the variables replaced together.

        What its variables start as, or become, keeps its memory: they are other names of it, during the loop and after.
        """
        here, plan = statement.node, statement.body
        body: Loop = here.attrs.body
        assert plan is not None
        self.names |= plan.names
        lists, lines = self.lists.line(), list(map(comment, statement.comments))
        shared: set[Node] = set()
        for variable, start in zip(body.variables, here.args[1:], strict=True):
            code = Code(self.scalars.text(start)) if self.places.scalar(variable) else lists.code(start)
            shared |= code.aliases
            lines.append(f"{self.names[variable]} = {code.text}")
        passes = self.scalars.text(here.args[0])
        lines.append(f"for _ in range({passes if passes.isdigit() else f'int({passes})'}):")
        inside = Memory({}, {})
        plan.guards = guards(plan, body.nodes, self.places)
        inner = self.block(plan, inside, body.nodes)
        if body.until is not None:
            if not self.places.scalar(body.until):
                raise fail("E601", here.span, construct="a loop that ends by a condition on each tensor")
            inner += [f"if {self.scalars.text(body.until)}:", f"{INDENT}break"]
        lists, values = self.lists.line(), []
        for variable, after in zip(body.variables, body.nexts, strict=True):
            code = Code(self.scalars.text(after)) if self.places.scalar(variable) else lists.code(after)
            shared |= inside.reached(code.aliases)
            values.append(code.text)
        inner.append(f"{', '.join(self.names[variable] for variable in body.variables)} = {', '.join(values)}")
        for position, variable in enumerate(body.variables):
            if not self.places.scalar(variable):
                memory.renamed(node("item", here, attrs=(position,)), frozenset(shared))
        lines += [INDENT + line for line in _merged(inner)]
        if not guard:
            return lines
        comments = len(statement.comments)
        return [*lines[:comments], f"if {self.condition(guard)}:", *(INDENT + line for line in lines[comments:])]


def _start_open(lines: list[str]) -> bool:
    """Whether the last lines are the starts of other states."""
    for line in reversed(lines):
        if not line.startswith(INDENT):
            return line == "if t == 1:"
    return False


def _opposite(condition: Node) -> Node:
    swapped = {"eq": "ne", "ne": "eq"}  # the others differ from their opposite where one side is NaN
    if condition.op in swapped:
        return node(swapped[condition.op], *condition.args)
    return condition.args[0] if condition.op == "not" else node("not", condition)


def _enclosed(text: str) -> bool:
    """Whether the text begins with a parenthesis that closes at its very end."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return place == len(text) - 1 and place > 0
    return False


def _merged(lines: list[str]) -> Iterator[str]:
    """`X = Y` after `Y = e` becomes `X = e`."""
    *before, last = lines
    name, _, value = last.partition(" = ")
    if before and before[-1].startswith(f"{value} = ") and "," not in name:
        yield from before[:-1]
        yield f"{name} = {before[-1].partition(' = ')[2]}"
    else:
        yield from lines
