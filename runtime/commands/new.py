"""`dotopt new NAME`: a file to start from, complete enough to check, compile and train."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from dotopt.runtime.commands import FAILED, PROVED

NAME = re.compile(r"[^\W\d_]\w*")

TEMPLATES = {
    "rule": '''"""{name}: say in one sentence what it does."""
rule {name}

objective f
param  θ : real[...]
hyper  η as lr           >= 0       = 1e-3
hyper  β as momentum     in [0, 1)  = 0.9
hyper  λ as weight_decay >= 0       = 0
state  m as momentum_buffer : like θ = 0

g  = ∇f(θ)
m' = β*m + (1 - β)*g
θ' = (1 - η*λ)*θ - η*m'

claim plain:                             # without momentum it is gradient descent
  given β == 0 and λ == 0
  show  θ' == θ - η*g
''',
    "transform": '''"""{name}: say in one sentence what it does to a rule."""
transform {name}

base  B                                  # any rule
param θ : real[...]
hyper α in [0, 1] = 0.5

θ̂  = B(θ)                                # where the base rule goes
θ' = θ + α*(θ̂ - θ)

claim off:
  show reduces to B when α == 1
''',
    "formula": '''"""{name}: say in one sentence what it computes."""
formula {name}(x : real[...], e > 0 = 1e-3) = sum(√(x² + e²) - e)

claim nonnegative:
  show {name}(x) >= 0
''',
    "theorem": '''"""{name}: say in one sentence what is true."""
theorem {name}

for all a >= 0, b >= 0

claim means:
  show √(a*b) <= (a + b)/2
''',
    "module": '''"""{name}: say in one sentence what it remembers."""
rule {name}

input  k : real[dk]
input  v : real[dv]
input  q : real[dk]
input  β in [0, 1]                       # how much to write
state  M : real[dv, dk] = 0
output o : real[dv]

L(S) = ½*‖S @ k - v‖²
M'   = M - β*∇L(M)
o    = M' @ q

claim writes_exactly:
  given ‖k‖ == 1 and β == 1
  show  M' @ k == v
''',
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """The name, and what kind of file."""
    parser.add_argument("name", metavar="NAME", help="what it is called, like CautiousAdam")
    parser.add_argument("--kind", choices=tuple(TEMPLATES), default="rule", help="what to start (default: rule)")
    parser.add_argument("--ascii", action="store_true", help="theta instead of θ")


def run(args: argparse.Namespace) -> int:
    """0, or 1 if there is such a file already."""
    from dotopt.compiler.emit.text.format import format_text
    from dotopt.grammar.files import file_name

    if not NAME.fullmatch(args.name):
        print(f"error: `{args.name}` is no name: a letter, then letters and digits", file=sys.stderr)
        return FAILED
    path = Path(file_name(args.name))
    if path.exists():
        print(f"error: {path} exists already", file=sys.stderr)
        return FAILED
    text = TEMPLATES[args.kind].format(name=args.name)
    path.write_text(format_text(text, "ascii") if args.ascii else text, encoding="utf-8")
    print(f"{path} written; `dotopt check {path}` looks at it, `dotopt explain {path}` says what it is")
    return PROVED
