"""Runs every experiment and writes one page of them: equations, plot, expected beside found, and the command.

python docs/gallery.py [--quick] [--out FOLDER] [--only FAMILY/NAME …]
"""

from __future__ import annotations

import argparse
import ast
import base64
import os
import re
import subprocess
import sys
import time
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINE = re.compile(r"^(.*?) +found (\S+) +expected (.*)$", re.MULTILINE)
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c }
section { border-top: 1px solid #ddd; padding: 1.5rem 0 }
pre { background: #f6f6f4; padding: .8rem; overflow-x: auto; font-size: 14px }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .2rem .8rem .2rem 0; vertical-align: top }
td.n { font-variant-numeric: tabular-nums } img { max-width: 100% } .failed { color: #a00 }
"""


def experiments() -> list[Path]:
    """The scripts, by family."""
    return sorted(path for path in (ROOT / "examples").glob("*/*.py"))


def rules(script: Path) -> list[str]:
    """The names that a script takes from the library."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    found = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "dotopt.stdlib"]
    return [alias.name for node in found for alias in node.names]


def equations(name: str) -> str:
    """The equations of a rule, as its class shows them; empty where it has none."""
    import dotopt.stdlib

    rule = getattr(getattr(dotopt.stdlib, name), "rule", None)
    return "" if rule is None else str(rule.text).strip()


def section(script: Path, out: Path, quick: bool) -> str:
    """Runs one experiment; its part of the page."""
    name = f"{script.parent.name}/{script.stem}"
    command = [sys.executable, str(script), "--out", str(out), *(["--quick"] if quick else [])]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    title, _, rest = (ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or name).partition("\n")
    parts = [f"<section><h2>{escape(title.rstrip('.'))}</h2>", f"<p>{escape(rest.strip())}</p>"]
    for rule in rules(script)[:3]:
        if text := equations(rule):
            parts.append(f"<details><summary>{escape(rule)}</summary><pre>{escape(text)}</pre></details>")
    rows = "".join(
        f"<tr><td>{escape(what)}</td><td class=n>{escape(found)}</td><td>{escape(expected)}</td></tr>"
        for what, found, expected in LINE.findall(done.stdout)
    )
    parts.append(f"<table><tr><th></th><th>found</th><th>expected</th></tr>{rows}</table>")
    plot = out / f"{script.stem}.png"
    if done.returncode == 0 and plot.exists():
        picture = base64.b64encode(plot.read_bytes()).decode()
        parts.append(f'<img alt="{escape(title)}" src="data:image/png;base64,{picture}">')
    else:
        parts.append(f"<pre class=failed>{escape(done.stderr[-2000:])}</pre>")
    flag = " --quick" if quick else ""
    parts.append(f"<pre>python examples/{name}.py{flag}</pre></section>")
    print(f"{name:<32} {'ok' if done.returncode == 0 else 'FAILED'}  {time.perf_counter() - began:.0f} s", flush=True)
    return "\n".join(parts)


def main() -> int:
    """Writes gallery.html; 1 if an experiment failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller sizes")
    parser.add_argument("--out", type=Path, default=Path("build/gallery"), help="folder of the page")
    parser.add_argument("--only", nargs="*", default=None, help="FAMILY/NAME of the experiments to run")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    chosen = [p for p in experiments() if given.only is None or f"{p.parent.name}/{p.stem}" in given.only]
    sections = [section(script, given.out.resolve(), given.quick) for script in chosen]
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>dotopt: experiments</title><style>{STYLE}</style>"
        f"<h1>What the rules do</h1><p>One experiment for each method: the equations that ran, the numbers to expect "
        f"beside those found, and the command.</p>{''.join(sections)}</html>"
    )
    (given.out / "gallery.html").write_text(page, encoding="utf-8")
    print(f"wrote {given.out / 'gallery.html'}")
    return int(any("class=failed" in text for text in sections))


if __name__ == "__main__":
    sys.exit(main())
