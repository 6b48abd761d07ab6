"""Triton kernels where there is no device for them: in Triton's interpreter, which a whole process has or has not.

So a process of its own tests all dtypes of a class; run as a module it is that process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from typing import Any

from dotopt.runtime.property.outcome import Failed, Outcome, Passed, Untested
from dotopt.runtime.property.search import Budget
from dotopt.runtime.property.tolerance import TABLE

SLOWER = 8  # how many examples of other backends one here costs
LARGEST = 150  # entries of a tensor
KINDS = {kind.__name__: kind for kind in (Passed, Failed, Untested)}


def interpreted(cls: type[Any], dtype: str, budget: Budget) -> Outcome:
    """Whether the Triton kernels of a class agree with the reference in this dtype."""
    return _outcomes(cls.origin, Budget(max(budget.examples // SLOWER, 3), budget.seed, budget.shrinking))[dtype]


@cache
def _outcomes(origin: tuple[str, Any, str], budget: Budget) -> dict[str, Outcome]:
    given = json.dumps([origin, [budget.examples, budget.seed, budget.shrinking]])
    done = subprocess.run(
        [sys.executable, "-m", "dotopt.runtime.property.interpreted", given],
        env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return dict.fromkeys(TABLE, Untested(f"Triton's interpreter cannot run here: {last}"))
    return {dtype: KINDS[kind](*values) for dtype, kind, values in json.loads(done.stdout.splitlines()[-1])}


def main(given: str) -> None:
    """Print the outcomes by dtype, as one line of JSON."""
    from dotopt.runtime.loading.load import named
    from dotopt.runtime.property.agreement import agreement

    origin, numbers = json.loads(given)
    found = []
    for dtype in TABLE:
        outcome = agreement(named(*origin), "triton", dtype, Budget(*numbers), LARGEST)
        match outcome:
            case Passed(examples, note):
                values = [examples, "; ".join(filter(None, ("in Triton's interpreter", note)))]
            case Failed(message, reproducer):
                values = [message, f"# with TRITON_INTERPRET=1 in the environment\n{reproducer}"]
            case Untested(reason):
                values = [reason]
        found.append((dtype, type(outcome).__name__, values))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
