"""What changes from step to step: inputs, draws, samples, states, and what `given` lines say of them.

Each sentence was decided by hand and by a loop over random runs before it was written here.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

RULE = '''rule Runs
objective f
param  θ : real[...]
input  k : real
input  u in [0, 1]
hyper  η as lr >= 0 = 0.1
hyper  β in [0, 1) = 0.9
hyper  b = 1
state  m : like θ = 0
state  v : like θ = 0
state  p = first k
state  q = 0
state  d = 0
state  s = 0
state  w = 0
state  n = 0
state  o : like θ = first ∇f(θ)
state  r = 0
z ~ normal(0, 1)

m' = β*m + (1 - β)*∇f(θ)
v' = β*v + (1 - β)*∇f(θ)²
p' = k
q' = z
d' = d + b
s' = s + k
w' = max(w, u)
n' = n + 1
o' = ∇f(θ)
r' = r + 1 every 2
θ' = θ - η*m'/(√v' + 1)

claim c:
'''

TRUE = [
    "given k == 1\n  show p == 1 for all steps",
    "given k == 1\n  show s == t - 1 for all steps",
    "given k >= 0\n  show s >= 0 for all steps",
    "given ∇f(θ) == 0\n  show m' == 0 for all steps",
    "show w <= 1 for all steps",
    "given b == 1\n  show d >= 0",
    "given m == 0\n  show v >= 0",
    "given θ == 1\n  show v >= 0",
    "given m >= 0\n  show v >= 0",
    "given m == 0\n  show m² <= v",
    "given θ >= 0\n  show θ >= 0 for all steps",
    "show r >= 0 for all steps",
    "show n == t - 1 for all steps",
]
FALSE = [
    "show p == k for all steps",
    "show (q == z or t == 1) for all steps",
    "show (q' == q or t == 1) for all steps",
    "given k == 1\n  show s <= 3 for all steps",
    "given k == 1\n  show s >= 0",
    "given k >= 1\n  show s >= 0",
    "given b == 1\n  show d <= 0",
    "show r' == r for all steps",
    "show w < 1 for all steps",
    "given b >= 1\n  show d == t - 1 for all steps",
    "show s == n for all steps",
]
TRUE += [
    "given k == t\n  show s == t*(t - 1)/2 for all steps",
    "given k <= 1/t\n  show s <= t for all steps",
    "given z == 1\n  show q <= 1 for all steps",
]
FALSE += [
    "given k == t\n  show s == t*(t + 1)/2 for all steps",
    "given k <= 1/t\n  show s <= 1 for all steps",
    "given η*t <= 1\n  show n <= 3 for all steps",
]
NEVER_REFUTED = [  # true, though no procedure may see it
    "given m > 0\n  show n >= 1",
    "given t == 5\n  show n == 4",
    "given n == 0\n  show m == 0",
    "given w > 1\n  show s == 7",
    "show w' <= 1",
]
NEVER_PROVED = [  # a step may bring another sample of the objective
    "given η == 0\n  show o == ∇f(θ) for all steps",
    "given η == 0 and β == 0\n  show (m == ∇f(θ) or t == 1) for all steps",
]


@pytest.mark.parametrize("claim", TRUE)
def test_true_of_every_run(decided: Decided, claim: str) -> None:
    assert decided(f"{RULE}  {claim}\n").status == "proved"


@pytest.mark.parametrize("claim", FALSE)
def test_false_of_some_run(decided: Decided, claim: str) -> None:
    assert decided(f"{RULE}  {claim}\n").status == "refuted"


@pytest.mark.parametrize("claim", NEVER_REFUTED)
def test_states_that_no_run_has_refute_nothing(decided: Decided, claim: str) -> None:
    assert decided(f"{RULE}  {claim}\n").status != "refuted"


@pytest.mark.parametrize("claim", NEVER_PROVED)
def test_every_step_has_its_own_sample(decided: Decided, claim: str) -> None:
    assert decided(f"{RULE}  {claim}\n").status == "open"


def test_what_premises_say_of_states_in_later_steps_is_told(decided: Decided) -> None:
    once = decided(f"{RULE}  given θ >= 0 and η == 0\n  show θ >= 0 for all steps\n")
    every = decided(f"{RULE}  given θ >= 0\n  show θ >= 0 for all steps\n")
    assert once.status == every.status == "proved"
    assert not any("every step" in a for a in once.assumptions)
    assert "θ >= 0 in every step" in every.assumptions


DRAWN = '''rule Drawn
param θ : real[...]
hyper η as lr >= 0 = 0.1
state x = 0
ξ ~ rademacher
ζ ~ uniform(-1, 1)
x' = x + ξ
θ' = θ - η*ζ

claim c:
'''


@pytest.mark.parametrize(
    ("claim", "status"),
    [
        ("show |x| <= t - 1 for all steps", "proved"),
        ("show |θ' - θ| <= η", "proved"),
        ("show |x| <= t - 2 for all steps", "refuted"),
        ("show |θ' - θ| < η*t/2 for all steps", "refuted"),
    ],
)
def test_draws_obey_their_laws(decided: Decided, claim: str, status: str) -> None:
    assert decided(f"{DRAWN}  {claim}\n").status == status


@pytest.mark.parametrize("premise", ["t >= 3", "t == 3", "t != 2"])
def test_premises_about_later_steps_are_not_read(decided: Decided, premise: str) -> None:
    assert decided(f"{RULE}  given {premise}\n  show n >= 2 for all steps\n").status == "open"


def test_premises_that_the_first_step_breaks_say_nothing(decided: Decided) -> None:
    assert decided(f"{RULE}  given m == 1\n  show m == 2 for all steps\n").status == "vacuous"


def test_an_index_is_not_caught_by_a_sum_over_another_of_its_name(decided: Decided) -> None:
    text = '''rule Caught
objective f[i in tasks]
param x : real[...]
hyper w[i in tasks] as weight = 1
d[k] = sum(w[i]*w[k] for i in tasks)
e[i] = d[i]
x' = x - sum(e[i]*∇f[i](x) for i in tasks)

claim caught:
  show sum(e[i] for i in tasks) == size(tasks)*sum(w[i]² for i in tasks)
'''
    assert decided(text).status == "refuted"


FAMILIES = '''rule Families
objective f[i in tasks]
param x : real[...]
input c[i in tasks] >= 0
hyper η as lr >= 0 = 0.1
hyper β in [0, 1) = 0.9
hyper w[i in tasks] as weight in [0, 1] = 1
state a[i] = 0
state b[i] = 0
state T = 0
state U = 0
state m[i] : like x = 0
state M : like x = 0
state v[i] : like x = 0
state n = 0

a'[i] = a[i] + c[i]
b'[i] = β*b[i] + (1 - β)*w[i]
T' = T + sum(c[i] for i in tasks)
U' = β*U + (1 - β)*sum(w[i] for i in tasks)
m'[i] = β*m[i] + (1 - β)*∇f[i](x)
M' = β*M + (1 - β)*mean(∇f[i](x) for i in tasks)
v'[i] = β*v[i] + (1 - β)*∇f[i](x)²
n' = n + size(tasks)
x' = x - η*mean(m'[i] for i in tasks)

claim c:
'''
TRUE_OF_FAMILIES = [
    "show T == sum(a[i] for i in tasks) for all steps",
    "show U == sum(b[i] for i in tasks) for all steps",
    "show M == mean(m[i] for i in tasks) for all steps",
    "show x' == x - η*M' for all steps",
    "show a[i] >= 0 for all steps",
    "show v[i] >= 0 for all steps",
    "show 0 <= b[i] <= 1 for all steps",
    "show T >= 0 for all steps",
    "show n == (t - 1)*size(tasks) for all steps",
    "for all C >= 0\n  given c[i] <= C\n  show a[i] <= C*(t - 1) for all steps",
]
FALSE_OF_FAMILIES = [
    "show T == mean(a[i] for i in tasks) for all steps",
    "show a[i] > 0 for all steps",
    "show b[i] <= 1/2 for all steps",
    "show b[i] == U for all steps",
    "show M == m[i] for all steps",
    "show T <= t*sum(c[i] for i in tasks) for all steps",
    "show U == 1 - β^(t - 1) for all steps",
    "for all C >= 0\n  given c[i] <= C\n  show a[i] <= C for all steps",
]


@pytest.mark.parametrize("claim", TRUE_OF_FAMILIES)
def test_true_of_every_member(decided: Decided, claim: str) -> None:
    assert decided(f"{FAMILIES}  {claim}\n").status == "proved"


@pytest.mark.parametrize("claim", FALSE_OF_FAMILIES)
def test_false_of_some_member(decided: Decided, claim: str) -> None:
    assert decided(f"{FAMILIES}  {claim}\n").status == "refuted"


def test_a_premise_with_an_index_holds_for_every_member(decided: Decided) -> None:
    claim = "for all C >= 0\n  given c[i] <= C\n  show T <= C*(t - 1)*size(tasks) for all steps"
    assert decided(f"{FAMILIES}  {claim}\n").status != "refuted"


ROUNDS = '''rule Rounds
param x : real[...]
hyper γ as lr >= 0 = 0.5
hyper n as sampled : int > 0 = 2
state c : like x = 0
state k = 0
S ~ choose(clients, n)

role client[i in clients] if i in S:
  objective f
  state h : like x = 0
  state r = 0
  h' = ∇f(x)
  r' = r + 1
  send δ = h' - h

c' = c + sum(δ[i] for i in S)/size(clients)
k' = k + size(S)
x' = x - γ*c'

claim c:
'''


@pytest.mark.parametrize(
    ("claim", "status"),
    [
        ("show c == mean(h[i] for i in clients) for all steps", "proved"),
        ("show c' == mean(h'[i] for i in clients) for all steps", "proved"),
        ("show k == sum(r[i] for i in clients) for all steps", "proved"),
        ("show r[i] >= 0 for all steps", "proved"),
        ("show r[i] <= t - 1 for all steps", "proved"),
        ("show r[i] == t - 1 for all steps", "refuted"),
        ("show c' == mean(h'[i] for i in S) for all steps", "refuted"),
        ("show c == sum(h[i] for i in clients) for all steps", "refuted"),
    ],
)
def test_parties_that_are_absent_keep_what_they_have(decided: Decided, claim: str, status: str) -> None:
    assert decided(f"{ROUNDS}  {claim}\n").status == status
