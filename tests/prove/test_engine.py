"""What the engine answers on small claims: true ones, false ones, vacuous ones, and ones it must leave open."""

from pathlib import Path

import pytest

from dotopt.compiler.parse import parse
from dotopt.compiler.prove import ClaimReport, check_claim
from dotopt.compiler.prove.checker import verify
from dotopt.compiler.text.library import Library, load
from dotopt.compiler.text.source import Source

HEAD = """theorem Small
objective f : convex, smooth(L)
for all x : real[d], y : real[d], s : real[d]
for all L > 0, η > 0, a, b

"""


def decide(claim: str, head: str = HEAD) -> ClaimReport:
    body = "\n".join("  " + line for line in claim.strip().splitlines())
    file = parse(Source("small.opt", f"{head}claim one:\n{body}\n"))
    return check_claim(file, file.claims[0], Library(Path(".")))


TRUE = [
    "show dot(x, y)^2 <= ‖x‖²*‖y‖²",
    "show ‖x + y‖ <= ‖x‖ + ‖y‖",
    "show ‖x + y‖² + ‖x - y‖² == 2*‖x‖² + 2*‖y‖²",
    "given a > 0 and b > 0\nshow √(a*b) <= (a + b)/2",
    "show exp(a) >= 1 + a",
    "show |a + b| <= |a| + |b|",
    "show max(a, b) + min(a, b) == a + b",
    "given a != 0\nshow a/a == 1",
    "given x != 0\nshow dot(x, y - x*dot(x, y)/‖x‖²) == 0",
    "given η*L <= 2\nz = x - η*∇f(x)\nshow f(z) <= f(x) - η*(1 - L*η/2)*‖∇f(x)‖²",
    "given ∇f(s) == 0 and η*L <= 2\nz = x - η*∇f(x)\nshow ‖z - s‖² <= ‖x - s‖² - (2*η/L - η²)*‖∇f(x)‖²",
    "show dot(∇f(x) - ∇f(y), x - y) >= ‖∇f(x) - ∇f(y)‖²/L",
    "refute a^2 >= a",
    "refute ‖x + y‖ == ‖x‖ + ‖y‖",
    "given |a| <= 1\nshow (a^2 <= 1) == true",
    "show sum(x)^2 <= size(x)*‖x‖²",
    "show ‖x‖[∞] <= ‖x‖",
]

FALSE = [
    "show √(a^2) == a",
    "show dot(x, y) <= ‖x‖",
    "show ‖x + y‖² == ‖x‖² + ‖y‖²",
    "show a^2 >= a",
    "given a > 0 and b > 0\nshow √(a*b) >= (a + b)/2",
    "show max(a, b) == (a + b)/2",
    "show exp(a) >= 1 + 2*a",
    "given a <= b\nshow a^2 <= b^2",
    "show sign(a*b) == sign(a) + sign(b)",
    "z = x - η*∇f(x)\nshow f(z) <= f(x)",
    "show f(x) >= 0",
    "show dot(∇f(x) - ∇f(y), x - y) >= ‖∇f(x) - ∇f(y)‖²",
    "show ‖x‖ <= ‖x‖[∞]",
    "refute |a + b| <= |a| + |b|",
    "show sum(x) <= size(x)",
    "for all n : int > 0, c in (0, 1)\nshow a < 12345 + n*c",  # far from where random numbers look
]


@pytest.mark.parametrize("claim", TRUE)
def test_true_claims_are_proved_and_their_certificates_verify(claim: str) -> None:
    report = decide(claim)
    assert report.status == "proved", report.reason or report.counterexample
    assert report.certificate is not None and verify(report.certificate)


@pytest.mark.parametrize("claim", FALSE)
def test_false_claims_are_refuted(claim: str) -> None:
    assert decide(claim).status == "refuted"


def test_contradictory_premises_are_vacuous() -> None:
    assert decide("given a > 1 and a < 0\nshow a == 5").status == "vacuous"


@pytest.mark.parametrize(
    "claim", ["show a/a == 1", "show √a*√a == a", "show a*(1/a) == 1", "show log(exp(a)*b) == a + log(b)"]
)
def test_what_is_not_defined_everywhere_is_not_proved(claim: str) -> None:
    assert decide(claim).status in ("open", "refuted")


def test_whole_numbers_stay_whole_in_counterexamples() -> None:
    assert decide("for all n : int > 0\ngiven n < 2\nshow n == 1").status != "refuted"


def test_evidence_is_no_proof() -> None:
    report = decide("show a^2 >= 0\nby sampling(trials=100)")
    assert report.status == "open" and "evidence" in report.reason


RULE = """rule Small
objective f
param  x : real[...]
hyper  η as lr   > 0      = 0.1
hyper  β as beta in [0, 1) = 0.9
state  m : like x = 0
state  v : like x = 0
state  n : like x = first g

g  = ∇f(x)
m' = β*m + (1 - β)*g
v' = max(β*v, |g|)
n' = g
x' = x - η*m'/(v' + 1)

"""


@pytest.mark.parametrize(
    ("claim", "status"),
    [
        ("show v >= 0 for all steps", "proved"),
        ("show m >= 0 for all steps", "refuted"),
        ("show |m| <= v/(1 - β) for all steps", "refuted"),
        ("given t == 1\nshow |x' - x| <= η", "proved"),
        ("show ‖m'‖ <= β*‖m‖ + (1 - β)*‖g‖", "proved"),
        ("show ‖m'‖ <= ‖g‖", "refuted"),
        ("for all c > 0\nshow x' invariant under f -> c*f", "refuted"),
        ("for all c : like x\nh(u) = f(u - c)\nshow x' -> x' + c under x -> x + c, f -> h", "proved"),
        ("for all c : like x\nh(u) = f(u - c)\nshow x' -> x' + 2*c under x -> x + c, f -> h", "refuted"),
        ("show equivalent to Lion", "refuted"),
        ("refute v' <= β*v", "proved"),
        ("refute v' >= |g|", "refuted"),
    ],
)
def test_claims_about_the_steps_of_a_rule(claim: str, status: str) -> None:
    report = decide(claim, RULE)
    assert report.status == status, report


def test_a_state_that_no_equation_reads_is_never_guessed() -> None:
    assert decide("given t == 1\nshow n == g", RULE).status != "refuted"


PLAIN = """rule Plain
objective f
param  x : real[rows, cols]
hyper  η as lr       > 0       = 0.1
hyper  μ as momentum in [0, 1) = 0.9
state  m : like x = 0

g  = ∇f(x)
m' = μ*m + g
x' = x - η*m'

"""


@pytest.mark.parametrize(
    ("claim", "status"),
    [
        ("show x' -> -x' under x -> -x, g -> -g", "proved"),
        ("show x' -> -x' under g -> -g", "refuted"),
        ("for all c\nshow x' -> c*x' under x -> c*x, g -> c*g", "proved"),
        (
            "for all A : real[rows, rows]\ngiven Aᵀ @ A == I\nshow x' -> A @ x' under x -> A @ x, g -> A @ g",
            "proved",
        ),
        ("for all A : real[rows, rows]\nshow x' -> A @ x' under g -> A @ g", "refuted"),
    ],
)
def test_what_moves_with_the_gradient_in_every_step(claim: str, status: str) -> None:
    report = decide(claim, PLAIN)
    assert report.status == status, report


MOVING = """rule Moving
objective f
param  x : real[...]
hyper  η as lr   > 0      = 0.1
hyper  β as beta in [0, 1) = 0.9
hyper  C > 0 = 1
state  m : like x = 0
state  s : real   = 1
state  k : real   = 0

g  = ∇f(x)
m' = β*m + (1 - β)*g
s' = s
k' = k + 1
x' = x - η*(m' + 0*(s + k))

"""


@pytest.mark.parametrize(
    ("claim", "status"),
    [
        ("show 5*s >= t for all steps", "refuted"),  # true until step 5: t moves on as well
        ("show k == t - 1 for all steps", "proved"),
        ("show k <= 7 for all steps", "refuted"),
        ("given |g| <= C\nshow |m'| <= C for all steps", "proved"),  # the premise holds in every step
        ("given |g| <= 2*C\nshow |m'| <= C for all steps", "refuted"),
        ("given g >= 0\nshow m >= 0 for all steps", "proved"),
        ("given g >= 0\nshow m' >= 0", "refuted"),  # this g says nothing of those before it
        ("given t == 0\nshow m' == g", "vacuous"),
    ],
)
def test_inductions(claim: str, status: str) -> None:
    report = decide(claim, MOVING)
    assert report.status == status, report


FLOW = "theorem Small\nobjective f : convex\nfor all x : real[d], m : real[d], s : real[d], u, v, r\n\n"
FRICTION = """given ∇f(s) == 0 and t > 0 and r >= {}
ddt(x) = m
ddt(m) = -r/t*m - ∇f(x)
show ddt(t²*(f(x) - f(s)) + ½*‖(r - 1)*(x - s) + t*m‖²) <= 0"""


@pytest.mark.parametrize(
    ("claim", "status"),
    [
        ("ddt(u) = 1\nshow ddt(|u|) == sign(u)", "open"),  # there is no derivative at 0
        ("given u != 0\nddt(u) = 1\nshow ddt(|u|) == sign(u)", "proved"),
        ("given u >= 0\nddt(u) = 1\nshow ddt(|u|) == 1", "open"),
        ("ddt(u) = 1\nshow ddt(max(u, 0)) <= 0", "refuted"),
        ("given ∇f(s) == 0\nddt(x) = -∇f(x)\nshow ddt(½*‖x - s‖²) <= 0", "proved"),
        ("ddt(x) = -∇f(x)\nshow ddt(½*‖x - s‖²) <= 0", "refuted"),
        ("ddt(u) = u\nshow ddt(u²) <= 2*t*u²", "refuted"),  # t is an instant here, not the number of a step
        ("given t >= 1\nddt(u) = u\nshow ddt(u²) <= 2*t*u²", "proved"),
        (FRICTION.format(3), "proved"),
        (FRICTION.format("3.5"), "proved"),
        (FRICTION.format(2), "refuted"),
    ],
)
def test_flows(claim: str, status: str) -> None:
    report = decide(f"flow\n{claim}", FLOW)
    assert report.status == status, report


LAYER = """rule Layer
input  k : real[dk]
input  v : real[dv]
input  q : real[dk]
hyper  n : int > 0 = 1
state  M : real[dv, dk] = 0
output o : real[dv]

M' = M + outer(v, k)*n
o  = M' @ q

"""


@pytest.mark.parametrize(
    ("claim", "status"),
    [
        ("for all R : real[dk, dk]\ngiven Rᵀ @ R == I\nshow o invariant under k -> R @ k, q -> R @ q", "proved"),
        ("for all R : real[dk, dk]\ngiven Rᵀ @ R == I\nshow o invariant under k -> R @ k", "refuted"),
        ("for all R : real[dk, dk]\nshow o invariant under k -> R @ k, q -> R @ q", "refuted"),
        ("for all R : real[dv, dv]\nshow o -> R @ o under v -> R @ v", "proved"),
        ("show n >= 1", "proved"),
        ("show n >= 2", "refuted"),
    ],
)
def test_what_moves_with_the_inputs(claim: str, status: str) -> None:
    report = decide(claim, LAYER)
    assert report.status == status, report


FORMULA = """formula rounded(m : real[...], e > 0 = 1) : convex, even = sum(√(m² + e²) - e)

∇rounded(m) = m/√(m² + e²)

"""


@pytest.mark.parametrize(
    ("claim", "status"),
    [
        ("show rounded(m) >= ‖m‖[1] - size(m)*e", "proved"),  # the parameter of the file, not its default
        ("show rounded(m) <= ½/e*‖m‖²", "proved"),
        ("show rounded(m) <= 0.25/e*‖m‖²", "refuted"),
        ("for all y : like m\ngiven |y| < 1\nshow rounded^*(y) == e*sum(1 - √(1 - y²))", "proved"),
    ],
)
def test_formulas_in_their_own_file(tmp_path: Path, claim: str, status: str) -> None:
    path = tmp_path / "rounded.opt"
    body = "\n".join("  " + line for line in claim.splitlines())
    path.write_text(f"{FORMULA}claim one:\n{body}\n", encoding="utf-8")
    (report,) = (check_claim(file, file.claims[0], Library(tmp_path)) for file in [load(path)])
    assert report.status == status, report


SCHEDULED = """rule Scheduled
objective f
param  x : real[...]
hyper  k : int > 0 = 5
state  s : like x = first x

s' = x every k
x' = s' - ∇f(x)

"""


def test_a_schedule_is_never_taken_at_another_step() -> None:
    assert decide("given k == 3 and t == 2\nshow s' == s", SCHEDULED).status != "refuted"
