#!/usr/bin/python3
"""Twisted's and asyncio's timers in real time; see ticks.h. Each is set anew for its next point.

Arguments: twisted or asyncio; timers, intervals in ms "10,20", hold in ms, span in ms.
"""

import json
import sys
import time

GOLDEN = 0.6180339887498949


class Loop:
    """What both have in common: a clock in seconds, and at(when, call, *arguments)."""

    def __init__(self, name):
        if name == "twisted":
            from twisted.internet import reactor

            self.now, self.run, self.stop = reactor.seconds, reactor.run, reactor.stop
            self.at = lambda when, *call: reactor.callLater(max(0, when - reactor.seconds()), *call)
        else:
            import asyncio

            loop = asyncio.new_event_loop()
            self.now, self.run, self.stop, self.at = loop.time, loop.run_forever, loop.stop, loop.call_at


def main():
    name, timers, intervals, hold, span = sys.argv[1:]
    timers, intervals = int(timers), [int(ms) / 1000 for ms in intervals.split(",")]
    loop = Loop(name)
    begin = loop.now() + int(hold) / 1000
    late = []
    cpu = None

    def tick(due, interval):
        nonlocal cpu
        if cpu is None:
            cpu = time.process_time()
        late.append(loop.now() - due)
        loop.at(due + interval, tick, due + interval, interval)

    for i in range(timers):
        interval = intervals[i % len(intervals)]
        due = begin + i * GOLDEN % 1 * interval
        loop.at(due, tick, due, interval)
    loop.at(begin + int(span) / 1000, loop.stop)
    if loop.now() >= begin:
        sys.exit("the timers were not set before the load began")
    loop.run()
    cpu = time.process_time() - cpu

    late.sort()
    print(json.dumps({
        "ticks": len(late), "cpu_ns": int(1e9 * cpu), "p50": int(1e9 * late[len(late) // 2]),
        "p99": int(1e9 * late[len(late) * 99 // 100]), "max": int(1e9 * late[-1]),
        "early": sum(seconds < -1e-6 for seconds in late), "earliest": max(0, int(-1e9 * late[0]))}))


main()
