"""Compares a warm scrape of the binary with a libpq client that sends the same SQL, on a database with 1,000 tables.

Usage: scrape.py BINARY [PAIRS]     wall time, paired and alternating; the ratio is the median of the pairs
       scrape.py BINARY instructions   instructions of a scrape by callgrind, which repeat on a busy machine
The server is PostgreSQL's of PG_BIN (default: the newest in /usr/lib/postgresql) and is removed afterwards.
"""

import ctypes
import ctypes.util
import glob
import http.server
import json
import os
import pathlib
import pwd
import queue
import re
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).parent
SETS = {"s": 40, "m": 2_040, "l": 30_050, "xl": 200_000}
LIMITS = {"MAX_SERIES": "300000", "MAX_RESULT_BYTES": str(64 << 20)}
TABLES = "".join(
    f"create table t_{i} (id int primary key, v text); insert into t_{i} select g, 'v' from generate_series(1, 10) g;\n"
    for i in range(1, 1001)
)
SCHEMA = f"""{TABLES}
create table orders (id bigserial primary key, region text, status text, amount numeric(12,2), took interval,
  created timestamptz default now());
insert into orders (region, status, amount, took) select (array['ap-northeast-2','us-east-1','eu-west-1'])[1+g%3],
  (array['paid','shipped','failed'])[1+g%3], (g%1000)::numeric/7, make_interval(secs => (g%500)/100.0)
  from generate_series(1, 20000) g;
create view big as select 'series_'||g as name, (g%97)::text as shard, g*1.5 as value from generate_series(1, 20000) g;
analyze;
"""


class Server:
    """A PostgreSQL server of its own, on a Unix socket."""

    def __init__(self, folder):
        self.folder = folder
        newest = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[-2]))
        self.programs = pathlib.Path(os.environ.get("PG_BIN") or newest[-1])
        self.user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        if os.getuid() == 0:
            os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
        self.run("initdb", "-A", "trust", "-U", "postgres", "-D", f"{folder}/data")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off -c autovacuum=off"
        self.run("pg_ctl", "-D", f"{folder}/data", "-l", f"{folder}/log", "-o", options, "-w", "start")
        self.psql("postgres", "create database app")
        self.psql("app", SCHEMA)

    def run(self, program, *arguments, **options):
        command = [str(self.programs / program), *arguments]
        if os.getuid() == 0:
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, **options)

    def psql(self, database, sql):
        self.run("psql", "-q", "-h", self.folder, "-U", "postgres", "-d", database, input=sql.encode())

    def stop(self):
        self.run("pg_ctl", "-D", f"{self.folder}/data", "-m", "fast", "-w", "stop")


class Lambda:
    """The Runtime API, and the binary that polls it."""

    def __init__(self, command, variables):
        self.events, self.answers = queue.Queue(), queue.Queue()
        runtime_api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            # Headers and body are two writes. The second would wait 40 ms for the first's acknowledgement.
            disable_nagle_algorithm = True
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, status, headers, body=b""):
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                event = runtime_api.events.get()
                deadline = str(int((time.time() + 300) * 1000))
                names = {"Aws-Request-Id": "1", "Deadline-Ms": deadline, "Invoked-Function-Arn": "arn:aws:lambda:x:1:function:f"}
                self.answer(200, {f"Lambda-Runtime-{name}": value for name, value in names.items()}, event)

            def do_POST(self):
                body = b""
                if self.headers.get("Transfer-Encoding") == "chunked":
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                if "extension" in self.path:
                    return self.answer(404, {})
                runtime_api.answers.put(body)
                self.answer(202, {})

        class Threads(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True

        self.server = Threads(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        function = {"NAME": "f", "VERSION": "1", "MEMORY_SIZE": "256"}
        variables |= {f"AWS_LAMBDA_FUNCTION_{name}": value for name, value in function.items()}
        variables |= {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.server.server_port}", "AUTH": "none"}
        self.process = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def scrape(self, encoding=None):
        headers = {"accept": "text/plain;version=0.0.4", "accept-encoding": encoding or "identity", "x-prometheus-scrape-timeout-seconds": "250"}
        event = json.loads((HERE / "../tests/events/function-url.json").read_text())
        event["headers"] |= headers
        self.events.put(json.dumps(event).encode())
        return json.loads(self.answers.get())

    def anonymous_kilobytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", status)[1])

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.server.shutdown()


def client(folder):
    """A libpq connection; it gives a function that runs SQL."""
    libpq = ctypes.CDLL(ctypes.util.find_library("pq"))
    libpq.PQconnectdb.restype = libpq.PQexec.restype = ctypes.c_void_p
    libpq.PQexec.argtypes, libpq.PQclear.argtypes = [ctypes.c_void_p, ctypes.c_char_p], [ctypes.c_void_p]
    connection = libpq.PQconnectdb(f"host={folder} user=postgres dbname=app".encode())
    return lambda sql: libpq.PQclear(libpq.PQexec(connection, sql))


def instructions(binary, variables, folder, encoding):
    """The difference of two runs, so that starting does not count."""
    totals = []
    for scrapes in (2, 6):
        counts = f"{folder}/callgrind.{scrapes}"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counts}", binary]
        function = Lambda(command, dict(variables))
        for _ in range(scrapes):
            function.scrape(encoding)
        function.stop()
        totals.append(int(re.search(r"^(?:totals|summary): (\d+)", pathlib.Path(counts).read_text(), re.M)[1]))
    return (totals[1] - totals[0]) / 4


def main():
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    mode = sys.argv[2] if len(sys.argv) > 2 else "200"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = Server(folder)
        try:
            sql = client(folder)
            for name, series in SETS.items():
                queries = HERE / f"queries/{name}.yml"
                texts = re.findall(r'query: "(.*)"', queries.read_text())
                url = f"postgres://postgres@/app?host={folder}"
                variables = {"QUERIES_FILE": str(queries), "DATABASE_URL": url, **(LIMITS if name == "xl" else {})}
                # Without compression an answer of 200,000 series exceeds what Lambda allows.
                encoding = "gzip" if name == "xl" else None
                if mode == "instructions":
                    count = instructions(binary, variables, folder, encoding)
                    print(f"{name:2} {series:7} series: {count / 1e6:8.2f} M instructions", flush=True)
                    continue
                function = Lambda([binary], variables)
                function.scrape(encoding)
                ours, theirs = [], []
                for _ in range(int(mode) if name != "xl" else 10):
                    begun = time.perf_counter()
                    for text in texts:
                        sql(text.encode())
                    between = time.perf_counter()
                    function.scrape(encoding)
                    theirs.append(between - begun)
                    ours.append(time.perf_counter() - between)
                ratio = statistics.median(a / b for a, b in zip(ours, theirs))
                print(
                    f"{name:2} {series:7} series: {statistics.median(ours) * 1e3:8.2f} ms, "
                    f"libpq {statistics.median(theirs) * 1e3:8.2f} ms, ratio {ratio:5.2f}, "
                    f"RssAnon {function.anonymous_kilobytes() / 1024:5.1f} MiB",
                    flush=True,
                )
                function.stop()
        finally:
            server.stop()


if __name__ == "__main__":
    main()
