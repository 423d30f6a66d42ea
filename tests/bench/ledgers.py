"""`fcgi-host usage` over a large made log, against the same group-by in jq and
in DuckDB."""
import datetime
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

from rig import HERE, Trouble, need, programs

from lib import made_books  # noqa: E402

RECORDS = int(os.environ.get("BENCH_RECORDS", "1000000"))
# jq takes so many times as long: it gets so many records less
JQ_PART = 20
KINDS = 5000  # of records, without their number and time
DAYS = 30
KEYS = ("function", "day")
VALUES = ("executions", "billed_ms", "cpu_us", "mib_ms", "bytes_out")
JQ = """reduce (inputs | select(.type == "exec" and .outcome != "lost" and
  .outcome != "refused")) as $r ({}; (($r.function) + " " + ($r.time[:10])) as
  $k | .[$k].executions += 1 | .[$k].billed_ms += $r.billed_ms |
  .[$k].cpu_us += $r.cpu_us | .[$k].mib_ms += $r.mib_ms |
  .[$k].bytes_out += $r.bytes_out)"""


def write(path, count):
    """count records of one run, of DAYS days, as a host writes them."""
    rng = random.Random(7)
    tails = []
    while len(tails) < KINDS:
        record = made_books.execution(rng, 1, made_books.START)
        # what the outcomes of healthy functions are like
        if record["outcome"] not in ("ok", "error", "aborted"):
            continue
        for name in ("v", "seq", "type", "time", "id"):
            del record[name]
        tails.append("," + json.dumps(record, separators=(",", ":"))[1:]
                     + "\n")
    step = datetime.timedelta(days=DAYS) / count
    days = [made_books.START + step * i for i in range(0, count, 1000)]
    run = f"{made_books.RUN:x}"
    with open(path, "w", encoding="ascii", buffering=1 << 20) as file:
        for i in range(count):
            if i % 1000 == 0:
                stamp = made_books.stamp(days[i // 1000])
            file.write(f'{{"v":1,"seq":{i + 1},"type":"exec","time":"{stamp}",'
                       f'"id":"{run}-{i + 1}"{tails[i % KINDS]}')


def timed(command, **more):
    """(seconds, KiB at most, standard output) of a command."""
    timer = need("time", "time")
    begin = time.monotonic()
    done = subprocess.run([timer, "-f", "%M", *map(str, command)], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          check=False, **more)
    seconds = time.monotonic() - begin
    if done.returncode != 0:
        raise Trouble(f"{command[0]} failed: {done.stderr.strip()[-300:]}")
    return seconds, int(done.stderr.split()[-1]), done.stdout


class Ledger:
    """The log, a shorter one for jq, and who sums them up."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fh-bench-"))
        self.log, self.short = self.dir / "a.log", self.dir / "b.log"
        free = shutil.disk_usage(self.dir).free
        if free < RECORDS * 700:
            self.end()
            raise Trouble(f"{RECORDS} records need {RECORDS * 700 >> 20} MiB "
                          "below TMPDIR; set BENCH_RECORDS")
        write(self.log, RECORDS)
        write(self.short, max(RECORDS // JQ_PART, 1))
        self.installed = programs.Installed()
        self.peak_kib = []
        self.modules = duckdb_modules()

    def end(self):
        shutil.rmtree(self.dir)

    def ours(self, log):
        seconds, kib, out = timed(
            [self.installed.command, "usage", "--json", "--by",
             ",".join(KEYS), log], env=self.installed.environment())
        self.peak_kib.append(kib)
        groups = {}
        for line in out.splitlines():
            group = json.loads(line)
            groups[" ".join(group[key] for key in KEYS)] = [
                group[name] for name in VALUES]
        return seconds, groups

    def jq(self):
        seconds, _, out = timed([need("jq", "jq"), "-n", "-c", JQ, self.short])
        return seconds, {key: [group[name] for name in VALUES]
                         for key, group in json.loads(out).items()}

    def duckdb(self):
        """The query's own time: node's start is not counted."""
        _, kib, out = timed(
            [need("node", "nodejs"), HERE / "ledgers-duckdb.mjs", self.log],
            env={**os.environ, "DUCKDB_MODULES": self.modules})
        found = json.loads(out)
        return found["seconds"], kib, found["groups"]


def duckdb_modules():
    """The directory in which npm has put @duckdb/node-api, or None."""
    places = [os.environ.get("BENCH_DUCKDB", "")]
    if shutil.which("npm"):
        places.append(subprocess.run(["npm", "root", "-g"], text=True,
                      stdout=subprocess.PIPE, check=False).stdout.strip())
    for place in filter(None, places):
        for path in (pathlib.Path(place), pathlib.Path(place) / "node_modules"):
            if (path / "@duckdb/node-api").is_dir():
                return str(path)
    return None


def differ(ours, theirs):
    """How many groups are not the same."""
    return sum(ours.get(key) != theirs.get(key) for key in {*ours, *theirs})


def measure(times, row, say):
    """The rows of the table; row makes one."""
    ledger = Ledger()
    size = ledger.log.stat().st_size >> 20
    say(f"   {RECORDS} records, {size} MiB; jq has {RECORDS // JQ_PART}")
    against_jq = row("usage by function and day", "jq", 20.0, " records/s")
    against_duckdb = row("the same", "DuckDB", 1.0, " records/s")
    memory = row("its memory at most", "64 MiB", 1.0, " KiB", True)
    try:
        for number in range(times.rounds):
            say(f"  round {number + 1} of {times.rounds}")
            compare(ledger, against_jq, against_duckdb)
    finally:
        ledger.end()
    for kib in ledger.peak_kib:
        memory.add(kib, 64 << 10)
    if ledger.modules is None:
        against_duckdb.notes.append(
            "NOT MEASURED: run npm install @duckdb/node-api in a directory, "
            "and name that by BENCH_DUCKDB")
    return [against_jq, against_duckdb, memory]


def compare(ledger, against_jq, against_duckdb):
    _, short = ledger.ours(ledger.short)
    jq_seconds, jq = ledger.jq()
    seconds, groups = ledger.ours(ledger.log)
    against_jq.add(RECORDS / seconds, RECORDS // JQ_PART / jq_seconds,
                   (differ(short, jq), 0))
    if ledger.modules is None:
        return
    duckdb_seconds, kib, duckdb = ledger.duckdb()
    # a second time: what came between is then on both sides
    again, groups = ledger.ours(ledger.log)
    against_duckdb.add(2 * RECORDS / (seconds + again),
                       RECORDS / duckdb_seconds, (differ(groups, duckdb), 0))
    note = f"DuckDB's memory: {kib >> 10} MiB"
    if note not in against_duckdb.notes:
        against_duckdb.notes[:] = [note]
    sys.stderr.flush()
