"""`dotopt bench`: the time of a step, beside torch's own and other libraries."""

from __future__ import annotations

import argparse

from dotopt.runtime.commands import PROVED, Refused


def arguments(parser: argparse.ArgumentParser) -> None:
    """Rules, workloads, threads."""
    parser.add_argument("names", nargs="*", metavar="NAME", default=["AdamW", "Lion"], help="default: AdamW Lion")
    parser.add_argument("--work", nargs="+", default=["one", "400"], metavar="WORK", help="default: one 400")
    parser.add_argument("--threads", type=int, metavar="N", help="default: what torch uses")


def run(args: argparse.Namespace) -> int:
    """0; `Refused` for an unknown rule or workload."""
    from dotopt.runtime import bench
    from dotopt.runtime.loading.catalogue import names

    known = {name.lower(): name for name in names()}
    for name in args.names:
        if name.lower() not in known:
            raise Refused(f"no rule `{name}` in the library; `dotopt list` shows what there is")
    for work in args.work:
        if work not in bench.workloads():
            raise Refused(f"no workload `{work}`; there are {', '.join(bench.workloads())}")
    bench.run([known[name.lower()] for name in args.names], args.work, args.threads)
    return PROVED
