"""Loops and reductions of Triton kernels, as lines of text.

A pass without rows runs over blocks of a piece: entry `i` of the array. A pass with rows takes a tile of HEIGHT rows
and WIDTH columns at a time: row `r`, column `c`, entry `i`. `inside` and `there` say which entries and rows exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

# what every kernel takes: addresses [array][tensor], extents, pieces, numbers, partial and whole sums
ARGUMENTS = (
    "data, shape, piece_tensor, piece_start, piece_full, first, first_row, "
    "given, host, sums, totals, rows, tensors, offset"
)
CONSTANTS = "PIECE: tl.constexpr, BLOCK: tl.constexpr, WIDTH: tl.constexpr"  # what a pass takes besides
LANES = 256  # how many partial results a finish puts together at a time

START = {"sum": "0.0", "amax": "float('-inf')", "amin": "float('inf')"}
JOIN = {
    "sum": "{0} + {1}",
    "amax": "tl.maximum({0}, {1}, tl.PropagateNan.ALL)",
    "amin": "tl.minimum({0}, {1}, tl.PropagateNan.ALL)",
}
WHOLE = {"sum": "tl.sum", "amax": "tl.max", "amin": "tl.min"}


@dataclass(frozen=True)
class Reduction:
    """Lanes called `name`, each taking some of the values in their order; then the lanes, in a tree.

    So the order depends on the sizes alone, and results repeat to the bit.
    """

    op: str
    name: str
    kind: str

    @property
    def result(self) -> str:
        """What the lanes give together has this name."""
        return f"{self.name}_all"

    def lanes(self, tile: str) -> str:
        """Before the loop."""
        return f"{self.name} = tl.full({tile}, {START[self.op]}, {self.kind})"

    def take(self, value: str, mask: str | None) -> str:
        """In the loop."""
        if mask:
            value = f"tl.where({mask}, {value}, {START[self.op]})"
        return f"{self.name} = {JOIN[self.op].format(self.name, value)}"

    def join(self, along: str = "") -> list[str]:
        """After the loop. Triton's largest and smallest leave NaN out, which must not get lost."""
        lines = [f"{self.result} = {WHOLE[self.op]}({self.name}{along})"]
        if self.op != "sum":
            unknown = f"tl.sum(tl.where({self.name} != {self.name}, 1, 0){along}) > 0"
            lines.append(f"{self.result} = tl.where({unknown}, float('nan'), {self.result})")
        return lines


def by_blocks(pointers: Mapping[str, str], size: str, entry: Sequence[str], masked: bool) -> list[str]:
    """The statements `entry` for all entries of a piece of a tensor with `size` entries, a block at a time."""
    head = [*pointer_lines(pointers, masked), *([f"size = {size}"] if masked else [])]
    body = ["i = start + block + tl.arange(0, BLOCK)", *(["inside = i < size"] if masked else []), *entry]
    return [*head, "for block in range(0, PIECE, BLOCK):", *indented(body)]


def by_rows(
    pointers: Mapping[str, str],
    extents: tuple[str, str],
    row: Sequence[str],
    entry: Sequence[str],
    results: Sequence[tuple[Reduction, str]],
    masked: bool,
) -> list[str]:
    """For each row of a piece: the statements `row`, `entry` for all entries of it, and `results` to be stored.

    `extents` are those of the tensor and of a row; a result is a reduction and where it goes.
    """
    size, cols = extents
    head = [
        *pointer_lines(pointers, masked),
        f"cols = {cols}" if masked else f"cols = tl.multiple_of({cols}, 16)",
        "begin = start // cols",
        f"end = tl.minimum(begin + tl.maximum(PIECE // (cols * HEIGHT), 1) * HEIGHT, {size} // cols)",
    ]
    inner = ["c = col + tl.arange(0, WIDTH)[None, :]", "i = r * cols + c"]
    inner += [*(["inside = there & (c < cols)"] if masked else []), *entry]
    body = ["r = block + tl.arange(0, HEIGHT)[:, None]", "there = r < end", *row]
    body += [reduction.lanes("[HEIGHT, WIDTH]") for reduction, _ in results]
    body += ["for col in range(0, cols, WIDTH):", *indented(inner)]
    for reduction, pointer in results:
        body += reduction.join(", axis=1, keep_dims=True")
        body.append(f"tl.store({pointer}, {reduction.result}.to(tl.float64), mask=there)")
    return [*head, "for block in range(begin, end, HEIGHT):", *indented(body)]


def pointer_lines(pointers: Mapping[str, str], masked: bool) -> list[str]:
    """Read in each branch anew, since what is known of a value in one branch would be believed in the other."""
    return [f"{name} = {text}" if masked else f"{name} = tl.multiple_of({text}, 16)" for name, text in pointers.items()]


def over_parts(reduction: Reduction, pointer: str, begin: str, end: str) -> list[str]:
    """The join of what stands at `pointer`, for p from `begin` to `end`."""
    start = START[reduction.op]
    body = [
        f"p = block + tl.arange(0, {LANES})",
        reduction.take(f"tl.load({pointer}, mask=p < {end}, other={start})", None),
    ]
    loop = [f"for block in range({begin}, {end}, {LANES}):", *indented(body)]
    return [reduction.lanes(f"[{LANES}]"), *loop, *reduction.join()]


def over_rows(count: str, row: Sequence[str], ends: Sequence[str]) -> list[str]:
    """The statements `row` and `ends` for all rows of a tensor."""
    body = [f"r = block + tl.arange(0, {LANES})", "there = r < count", *row, *ends]
    return [f"count = {count}", f"for block in range(0, count, {LANES}):", *indented(body)]


def kernel(name: str, lines: Iterable[str]) -> str:
    """A kernel with this body; what varies between launches does not make Triton compile it again."""
    constants = f", {CONSTANTS}" if name.startswith("pass_") else ""
    head = ['@triton.jit(do_not_specialize=["tensors", "offset"])', f"def {name}({ARGUMENTS}{constants}):"]
    return "\n".join([*head, *indented(lines)])


def indented(lines: Iterable[str]) -> list[str]:
    """One level deeper."""
    return ["    " + line for line in lines]
