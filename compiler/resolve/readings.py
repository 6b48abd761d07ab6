"""What parses but reads differently from what was probably meant: decided on the tree alone."""

from __future__ import annotations

from collections.abc import Iterator

from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import Diagnostic, Edit, diagnostic
from dotopt.compiler.text.source import Span


def misreadings(file: s.File) -> list[Diagnostic]:
    """The diagnostics E126, E213, E304, W110 and W111 of the file."""
    declares_t = any(
        (isinstance(node, s.Declaration | s.Quantified) and node.name == "T")
        or (isinstance(node, s.Definition | s.Draw) and any(_names(left) == "T" for left in node.targets))
        for node in file.walk()
    )
    tensors = {
        node.name
        for node in file.walk()
        if isinstance(node, s.Declaration)
        and (isinstance(node.type, s.Like) or (isinstance(node.type, s.Array) and node.type.axes))
        and not node.indices
    }
    found: list[Diagnostic] = []
    for node in file.walk():
        match node:
            case s.Transpose() if declares_t and node.span.text.endswith("^T"):
                place = Span(node.span.source, node.span.end - 2, node.span.end)
                found.append(diagnostic("E213", place, edit=Edit(place, "ᵀ")))
            case s.Binary(operator="^", left=s.Unary(operator="√", operand=operand) as root):
                if root.span.text.startswith(("√", "sqrt")):
                    power = Span(node.span.source, root.span.start, node.span.end)
                    inner = f"{operand.span.text}{node.span.source.text[root.span.end:node.span.end]}"
                    sign = "√" if root.span.text.startswith("√") else "sqrt"
                    found.append(
                        diagnostic(
                            "W110", node.span, operand=operand.span.text, power=inner,
                            edit=Edit(power, f"{sign}({inner})"),
                        )
                    )  # fmt: skip
            case s.Conditional(then=s.Binary(operator="+" | "-") as then, otherwise=s.Number(value=other)):
                if other == 0 and not _in_parentheses(then):  # what a term is where it does not count
                    found.append(_reaching(node, then))
            case s.Binary(operator="*" | "/" | "@"):
                found.extend(_mixed(node, tensors))
            case s.Declaration(word="hyper" | "input", value=s.Compare() as value, bounds=None):
                found.append(_range_after_default(node, value))
    return found


def _names(node: s.Expression) -> str | None:
    match node:
        case s.Name(name=name):
            return name
        case s.Index(base=base):
            return _names(base)
        case s.Call(function=function):
            return _names(function)
    return None


def _in_parentheses(node: s.Expression) -> bool:
    """Whether the first sign of the expression is a parenthesis that its last one closes."""
    text, depth = node.span.text, 0
    for place, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return 0 < place == len(text) - 1
    return False


def _reaching(node: s.Conditional, then: s.Binary) -> Diagnostic:
    """The edit says what is written more plainly, and so changes nothing; the help shows both readings."""
    last = Span(node.span.source, then.right.span.start, node.otherwise.span.end)
    rest = Span(node.span.source, then.span.end, node.otherwise.span.end)
    before = Span(node.span.source, then.span.start, then.right.span.start)
    help = f"write `({then.span.text}){rest.text}` if the whole sum is meant, `{before.text}({last.text})` if not"
    return diagnostic("W111", then.span, help=help, edit=Edit(then.span, f"({then.span.text})"))


def _range_after_default(node: s.Declaration, value: s.Compare) -> Diagnostic:
    default, bound = value.operands[0].span, value.operands[-1].span
    between = node.span.source.text[default.end : bound.start].strip()
    start = node.span.source.text.rfind("=", node.span.start, default.start)
    whole = Span(node.span.source, start, bound.end)
    simple = len(value.operands) == 2
    edit = Edit(whole, f"{between} {bound.text} = {default.text}") if simple else None
    return diagnostic("E126", value.span, name=node.name, edit=edit)


def _mixed(node: s.Binary, tensors: set[str]) -> Iterator[Diagnostic]:
    """`A*B @ C` with two tensors beside the entrywise sign; sides in parentheses are clear."""
    left = node.left
    if not isinstance(left, s.Binary) or left.span.text.startswith("(") or left.operator not in ("*", "/", "@"):
        return
    for outer, inner, factors in ((node, left, (left.left, left.right)), (left, node, (left, node.right))):
        if outer.operator == "@" and inner.operator != "@" and all(_is_tensor(factor, tensors) for factor in factors):
            product = inner.span if inner is left else left.span
            edit = Edit(product, f"({product.text})")
            yield diagnostic("E304", node.span, operator=inner.operator, edit=edit)


def _is_tensor(node: s.Expression, tensors: set[str]) -> bool:
    """Whether the factor certainly is one; what is not certain is left to the types."""
    match node:
        case s.Name(name=name):
            return name in tensors
        case s.Transpose(operand=operand):
            return _is_tensor(operand, tensors)
        case s.Binary(operator="@", left=left, right=right):
            return _is_tensor(left, tensors) and isinstance(right, s.Transpose)
        case s.Binary(operator="*" | "/" | "+" | "-", left=left, right=right):
            return _is_tensor(left, tensors) or _is_tensor(right, tensors)
    return False
