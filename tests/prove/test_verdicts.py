"""The same verdicts, certificates and counterexamples on a busy machine, with any hash seed, cold or warm."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.verdicts import ROOT, differences
from dotopt.compiler.prove import fuel
from dotopt.compiler.prove.report import check_claim
from dotopt.compiler.prove.solver import client, logic
from dotopt.compiler.text.library import Library, load

WRONG = """theorem Wrong
for all a, b, c >= 0, x : real[d], y : real[d]

claim product:
  show a*b <= c
claim length:
  show ‖x + y‖ == ‖x‖ + ‖y‖
claim entries:
  show sum(x*y) <= sum(x)*sum(y)
claim roots:
  refute √(a² + c) == |a| + √c
"""


def test_reports_do_not_hang_on_load_seed_order_jobs_or_cache(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.opt"
    wrong.write_text(WRONG, encoding="utf-8")
    assert list(differences([wrong, ROOT / "stdlib" / "functions" / "norm1.opt"])) == []


ORDER = """rule Order
hyper  β in [0, 1) = 0.9
hyper  γ in [0, 1) = 0.9
input  k : real
state  a = 0
state  b = 0

a' = β*a + (1 - β)*min(k², 1)
b' = γ*b + (1 - γ)*a

claim easy:
  show a <= 1 for all steps

claim false:
  show a <= 1/2 for all steps

claim hard:
  show b <= 1 for all steps
"""
ALONE = """
import sys
from tests.prove.test_verdicts import last_of
print(last_of(sys.argv[1], []))
"""


def last_of(path: str, before: list[int]) -> str:
    """The report on the last claim of a file, and the fuel that it took, after the claims of these numbers."""
    file = load(Path(path))
    for number in before:
        check_claim(file, file.claims[number], Library())
    begun = fuel.spent()
    report = check_claim(file, file.claims[-1], Library())
    return json.dumps([asdict(replace(report, seconds=0)), fuel.spent() - begun], ensure_ascii=False, sort_keys=True)


def test_a_report_does_not_hang_on_the_claims_that_were_decided_before(tmp_path: Path) -> None:
    path = tmp_path / "order.opt"
    path.write_text(ORDER, encoding="utf-8")
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    cold = subprocess.run([sys.executable, "-c", ALONE, str(path)], capture_output=True, env=settings, check=True)
    assert last_of(str(path), [0, 1]) == cold.stdout.decode().strip()


def test_a_claim_is_decided_in_any_thread_and_its_fuel_is_the_same() -> None:
    file = load(Library().find("norm1"))
    found = []

    def run() -> None:
        before = fuel.spent()
        found.append((check_claim(file, file.claims[0], Library()).status, fuel.spent() - before))

    for _ in range(2):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert found[0][0] == "proved" and found[0] == found[1]


def test_fuel_is_used_up_by_work_and_not_by_time() -> None:
    file = load(Library().find("lion"))
    report = check_claim(file, next(c for c in file.claims if c.name == "box"), Library(), fuel=20_000)
    assert report.status == "open"


def test_what_the_clock_stops_is_an_error_and_never_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuel, "TOLERANCE", 0)
    file = load(Library().find("lion"))
    report = check_claim(file, file.claims[0], Library())
    assert report.status == "error" and "stopped by the clock" in report.reason


def test_z3_may_die_and_is_begun_again() -> None:
    x = logic.Real("x")
    assert client.ask([x * x < 0], 100_000).result == "unsat"
    client._process().child.kill()
    client._process().child.wait()
    assert client.ask([x * x < 0], 100_000).result == "unsat"


def test_an_answer_of_z3_hangs_on_the_question_alone() -> None:
    x, y = logic.Real("x"), logic.Real("y")
    hard = [x * x * y + y * y * x > 7, x * y < 3, x + y > 2]
    first = client.ask(hard, 500_000)
    for bound in range(3):
        client.ask([x > bound, y * y * y == bound], 100_000)
    again = client.ask(hard, 500_000)
    assert (first.result, first.values) == (again.result, again.values)


def test_the_server_knows_nothing_of_dotopt() -> None:
    script = Path(client.__file__).with_name("server.py")
    loaded = f"import runpy, sys; runpy.run_path({str(script)!r}); assert not any('dotopt' in m for m in sys.modules)"
    subprocess.run([sys.executable, "-I", "-c", loaded], check=True)


def test_the_guard_does_not_count_what_other_processes_take(monkeypatch: pytest.MonkeyPatch) -> None:
    hours = (3600.0 * hour for hour in range(100))
    busy = SimpleNamespace(process_time=lambda: 0.0, monotonic=lambda: next(hours))
    monkeypatch.setattr(fuel, "time", busy)
    with fuel.tank(fuel.UNITS):
        fuel.spend(fuel.LOOK + 1)
        assert fuel.seconds_left() > 0
        with fuel.waiting():  # for z3, which takes an hour
            pass
        with pytest.raises(fuel.StoppedByClock):
            fuel.spend(fuel.LOOK + 1)
