"""Compares /probe of a function with 50 targets with /metrics of a function with one target, on the shipped queries.

Usage: probe.py BINARY [PAIRS]     wall time, paired and alternating; the ratio is the median of the pairs
The server is PostgreSQL's of PG_BIN (default: the newest in /usr/lib/postgresql) and is removed afterwards.
"""

import json
import pathlib
import statistics
import sys
import tempfile
import time

from scrape import HERE, Lambda, Server

TARGETS = 50
QUERIES = HERE / "../queries.yml"


def event(path, query=""):
    event = json.loads((HERE / "../tests/events/function-url.json").read_text())
    event["headers"] |= {"accept": "text/plain;version=0.0.4", "accept-encoding": "identity"}
    event |= {"rawPath": path, "rawQueryString": query}
    event["requestContext"]["http"]["path"] = path
    return json.dumps(event).encode()


def timed(function, request):
    begun = time.perf_counter()
    function.events.put(request)
    answer = json.loads(function.answers.get())
    took = time.perf_counter() - begun
    assert answer["statusCode"] == 200 and "\npg_up 1\n" in answer["body"], answer
    return took


def main():
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    pairs = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = Server(folder)
        try:
            targets = {f"target-{number}": {"host": folder, "user": "postgres", "database": "app"} for number in range(TARGETS)}
            file = pathlib.Path(folder, "targets.yml")
            file.write_text(json.dumps(targets))
            queries = {"QUERIES_FILE": str(QUERIES)}
            one = Lambda([binary], queries | {"DATABASE_URL": f"postgres://postgres@/app?host={folder}"})
            many = Lambda([binary], queries | {"TARGETS_FILE": str(file)})
            metrics = event("/metrics")
            # The first of them keeps its connection, as the only target does. The last one's is closed after each probe.
            for name in targets:
                timed(many, event("/probe", f"target={name}"))
            timed(one, metrics)
            for name in ("target-0", f"target-{TARGETS - 1}"):
                probe = event("/probe", f"target={name}")
                singles, probes = [], []
                for pair in range(pairs):
                    # Neither is always the first.
                    for function, request, times in [(one, metrics, singles), (many, probe, probes)][:: 1 - 2 * (pair % 2)]:
                        times.append(timed(function, request))
                ratio = statistics.median(a / b for a, b in zip(probes, singles))
                print(
                    f"{name:9}: {statistics.median(probes) * 1e3:7.2f} ms, single target "
                    f"{statistics.median(singles) * 1e3:7.2f} ms, ratio {ratio:5.3f}",
                    flush=True,
                )
            print(f"RssAnon: {many.anonymous_kilobytes() / 1024:.1f} MiB with {TARGETS} targets, {one.anonymous_kilobytes() / 1024:.1f} MiB with one")
            one.stop()
            many.stop()
        finally:
            server.stop()


main()
