#!/usr/bin/python3
"""Ours and the peers side by side: the same load, in turns, in one run; CPU time, medians and spread.

What is measured stands in the parts; how, in frame.py.
"""

import argparse
import sys

import actions
import calls
import crowd
import durable
import frame
import lines
import load
import shell
import ticks
import timers

PARTS = (timers, ticks, lines, calls, shell, crowd, load, durable, actions)


def main():
    benches = [bench for part in PARTS for bench in part.BENCHES]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--quick", action="store_const", dest="mode", const="quick", help="fewer cases, fewer turns")
    modes.add_argument("--check", action="store_const", dest="mode", const="check",
                       help="the cases with promises, and fail if one does not hold")
    parser.add_argument("--turns", type=int, help="at most so many; default 5, 2 of the quick run, 3 of the checks")
    parser.add_argument("bench", nargs="*", metavar="BENCH", help="of " + ", ".join(b.name for b in benches))
    options = parser.parse_args()

    unknown = set(options.bench) - {bench.name for bench in benches}
    if unknown:
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    wanted = [bench for bench in benches if not options.bench or bench.name in options.bench]
    mode = options.mode or "full"
    try:
        return frame.run_all(wanted, mode, options.turns or frame.TURNS[mode]) > 0
    except frame.BenchError as e:
        sys.exit(f"bench: {e}")


if __name__ == "__main__":
    sys.exit(main())
