"""Programs on disk: the same nodes come back, and nothing but programs."""

from __future__ import annotations

import base64
import os
import pickle
import subprocess
import sys

import pytest

import dotopt.stdlib as stdlib
from dotopt.runtime.loading import load, programs


@pytest.mark.parametrize("name", ["AdamW", "Muon", "Adafactor", "CautiousLion", "Prodigy", "SAM", "SOAP"])
def test_the_very_nodes_come_back(name: str) -> None:
    cls = getattr(stdlib, name)
    options = tuple(option.default for option in cls.rule.options)
    program = load.program(cls.origin, options, 2)
    again = programs.restore(programs.store(program))
    assert again == program
    assert all(a is b for a, b in zip(again.roots, program.roots, strict=True))


@pytest.mark.parametrize("thing", [os.system, subprocess.Popen, eval, pickle.loads])
def test_nothing_but_parts_of_programs_is_read(thing) -> None:
    with pytest.raises(pickle.UnpicklingError, match="no part of a program"):
        programs.restore(base64.b64encode(pickle.dumps(thing)).decode())


def test_a_cached_rule_takes_its_first_step_without_the_front_end(tmp_path) -> None:
    code = """
import sys, torch
from dotopt.stdlib import Lion
p = torch.nn.Parameter(torch.ones(3))
p.grad = torch.ones(3)
Lion([p], lr=0.1).step()
print("dotopt.compiler.lower" in sys.modules)
"""
    environment = os.environ | {"DOTOPT_CACHE": str(tmp_path), "OMP_NUM_THREADS": "1"}
    said = [
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert [words.strip() for words in said] == ["True", "False"]  # class, program and kernel are found on disk
