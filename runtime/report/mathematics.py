"""Equations as SVG outlines, in the colour of the text around them: no fonts and no scripts are needed to read them.

Each letter is drawn once, in `Typesetter.letters`, and placed by every formula that has it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Any

from dotopt.compiler.emit.latex.equations import flat, rows
from dotopt.compiler.text import syntax as s

SIZE = 15.0  # pixels of the letter size
PAD = 1.5


@dataclass
class Typesetter:
    """Sets formulas for one page."""

    outlines: dict[str, str] = field(default_factory=dict)  # letter to path
    formulas: dict[str, str] = field(default_factory=dict)  # LaTeX to SVG

    def equations(self, file: s.File) -> str:
        """The equations of a file as an HTML table: left sides at the right of their column, as in a paper."""
        lines = []
        for row in rows(file):
            for left, right in flat(row):
                indent = f' style="padding-left:{1.6 * row.depth:.1f}em"' if row.depth else ""
                cells = f'<td class="left">{self.svg(left) if left else ""}</td><td{indent}>{self.svg(right)}</td>'
                lines.append(f"<tr>{cells}</tr>")
        return f'<table class="equations">{"".join(lines)}</table>'

    def svg(self, latex: str) -> str:
        """One formula, its baseline aligned with the text; the LaTeX is its label for readers that do not see."""
        if latex not in self.formulas:
            self.formulas[latex] = self._svg(latex)
        return self.formulas[latex]

    @property
    def letters(self) -> str:
        """The drawings of all letters used so far, to be put once into the page."""
        symbols = "".join(f'<path id="{name}" d="{path}"/>' for name, path in self._named().items())
        return f'<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>{symbols}</defs></svg>'

    def _named(self) -> dict[str, str]:
        return {f"l{number}": path for number, path in enumerate(self.outlines.values())}

    def _svg(self, latex: str) -> str:
        from matplotlib.font_manager import FontProperties
        from matplotlib.textpath import TextToPath

        setter = TextToPath()
        text = f"${_for_matplotlib(latex)}$"
        font = FontProperties(size=SIZE, math_fontfamily="cm")
        width, height, descent = setter.get_text_width_height_descent(text, font, ismath=True)
        placed, outlines, bars = setter.get_glyphs_mathtext(font, text)
        scale = SIZE / setter.FONT_SCALE
        for name, (vertices, codes) in outlines.items():
            self.outlines.setdefault(name, _outline(vertices, codes))
        number = {name: k for k, name in enumerate(self.outlines)}
        parts = [
            f'<use href="#l{number[name]}" transform="translate({x * scale:.2f} {-y * scale:.2f})'
            f' scale({size * scale:.4g})"/>'
            for name, x, y, size in placed
        ]
        for corners, strokes in bars:
            parts.append(f'<path d="{_outline([(x * scale, y * scale) for x, y in corners], strokes, 2)}"/>')
        box = f"{-PAD} {-height + descent - PAD:.2f} {width + 2 * PAD:.2f} {height + 2 * PAD:.2f}"
        style = f"width:{width + 2 * PAD:.1f}px;height:{height + 2 * PAD:.1f}px;vertical-align:{-descent - PAD:.1f}px"
        head = f'<svg class="math" viewBox="{box}" style="{style}" role="img" aria-label="{escape(latex)}">'
        return head + "".join(parts) + "</svg>"


def _for_matplotlib(latex: str) -> str:
    r"""The formula in matplotlib's part of LaTeX: outer fractions large, blanks in words kept.

    >>> print(_for_matplotlib(r"\frac{\frac{a}{b}}{c}\text{ if }d e"))
    \dfrac{\frac{a}{b}}{c}\mathrm{\ if\ }d e
    """
    text = latex.replace(r"\text{", r"\mathrm{").replace(r"\operatorname{", r"\mathrm{")
    made, depth, at = [], 0, 0
    while at < len(text):
        if text.startswith(r"\mathrm{", at):
            end = text.index("}", at) + 1
            made.append(text[at:end].replace(" ", r"\ "))
            at = end
        elif text.startswith(r"\frac", at) and not depth:
            made.append(r"\dfrac")
            at += len(r"\frac")
        else:
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            made.append(text[at])
            at += 1
    return "".join(made)


def _outline(vertices: Any, codes: Any, digits: int = 1) -> str:
    """The path in SVG's letters, upside up."""
    points = [f"{float(x):.{digits}f} {-float(y):.{digits}f}" for x, y in vertices]
    parts: list[str] = []
    at = 0
    while at < len(points):
        letter, count = {1: ("M", 1), 2: ("L", 1), 3: ("Q", 2), 4: ("C", 3), 79: ("Z", 1)}[int(codes[at])]
        parts.append("Z" if letter == "Z" else letter + " ".join(points[at : at + count]))
        at += count
    return "".join(parts)
