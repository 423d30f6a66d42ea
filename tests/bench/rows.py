"""The benchmarks: each starts what it compares, and measures by turns."""
import json
import statistics
import sys

import ledgers as ledgers_room
import neighbours as neighbours_room
import pythons as pythons_room
from rig import HELLO, Trouble

PHP = '<?php header("Content-Type: text/plain"); echo "hello world\\n";\n'
INSTANCES = 2
# between two cold starts: what one leaves to do is done by then
PAUSE_MS = 50
# so many that a machine at rest is still beside what they take
SANDBOXES = 500
# as many as one function has by default
ONES_INSTANCES = 4
MEMORY_KIB, MEMORY_DRIFT_KIB = 450, 50
PROGRAMS = {"hello-cgi": "static C", "bare-cgi": "without libc"}


class Row:
    """One line of the table: ours against a peer, round by round."""

    def __init__(self, name, peer, bar=None, unit="/s", is_cost=False):
        self.name, self.peer, self.bar, self.unit = name, peer, bar, unit
        self.is_cost = is_cost  # less is better, and the bar an upper one
        self.ours, self.theirs = [], []
        self.errors = [0, 0]
        self.notes = []
        self.waits, self.lates = [], []  # the client's own, in µs

    def add(self, ours, theirs, errors=(0, 0)):
        self.ours.append(ours)
        self.theirs.append(theirs)
        self.errors = [a + b for a, b in zip(self.errors, errors)]
        say(f"   {self.name}: {ours:.0f}{self.unit} against "
            f"{theirs:.0f}{self.unit}")

    def ratios(self):
        return [a / b for a, b in zip(self.ours, self.theirs) if b > 0]

    def verdict(self):
        """A figure with wrong answers in it is none."""
        if self.errors[0] > 0:
            return "wrong answers"
        if self.bar is None or not self.ratios():
            return "-"
        ratio = statistics.median(self.ratios())
        return "met" if (ratio <= self.bar if self.is_cost else
                         ratio >= self.bar) else "missed"


def say(text):
    print(text, file=sys.stderr, flush=True)


def alternate(times, pairs):
    """pairs: [(row, ours, theirs)], functions that return a run's figures.
    A round measures all of them, one after the other."""
    for number in range(times.rounds):
        say(f"  round {number + 1} of {times.rounds}")
        for row, ours, theirs in pairs:
            mine, other = ours(), theirs()
            row.add(mine["per_second"], other["per_second"],
                    (mine["errors"], other["errors"]))


def function(name, **keys):
    return "".join([f"[function {name}]\n",
                    *(f"{k} = {v}\n" for k, v in keys.items())])


def hello_host(rig, installed=None, **keys):
    return rig.host({"hello.fcgi": rig.tool("hello-fcgi")},
                    function("hello", instances=INSTANCES) +
                    "".join(f"{k} = {v}\n" for k, v in keys.items()),
                    installed=installed)


# ------------------------------------------------------------ web servers

def web(rig, times):
    """(a) libfcgi hello through nginx."""
    host = hello_host(rig)
    peer = rig.multiwatch("multiwatch", INSTANCES, rig.tool("hello-fcgi"))
    ports = rig.nginx({"ours_kept": (host.socket, True, ""),
                       "ours_plain": (host.socket, False, ""),
                       "floor": (rig.floor(INSTANCES, True), True, ""),
                       "theirs": (peer, False, "")})
    what = f"{INSTANCES} under spawn-fcgi + multiwatch"
    rows = []
    pairs = []
    for count in (16, 64):
        for site, word, bar in (("ours_kept", "keep_conn on", 1.3),
                                ("ours_plain", "keep_conn off", 0.9),
                                ("floor", "the floor in our place", None)):
            row = Row(f"nginx, {count} connections, {word}", what, bar)
            rows.append(row)
            pairs.append((
                row,
                lambda s=site, c=count: rig.wrk(ports[s], "/fn/hello", c,
                                                times.seconds),
                lambda c=count: rig.wrk(ports["theirs"], "/", c,
                                        times.seconds)))
    warm(rig, ports, "/fn/hello")
    alternate(times, pairs)
    return rows


def warm(rig, ports, path):
    for port in ports.values():
        rig.wrk(port, path, 16, 1)


def load(rig, times, path, *arguments, params=()):
    """A run of our generator that demands the hello."""
    return lambda: rig.fcgi_load(path, "-t", times.seconds, "-e", HELLO,
                                 *arguments, params=params)


def raw(rig, times):
    """(b) raw FastCGI against a bare relay, and the program itself."""
    host = hello_host(rig)
    ours = ["SCRIPT_NAME=/fn/hello"]
    peer = rig.multiwatch("multiwatch", INSTANCES, rig.tool("hello-fcgi"))
    # one that is kept would own a process
    bare = f"{INSTANCES} under spawn-fcgi + multiwatch, a connection a request"
    kept, single = rig.floor(INSTANCES, True), rig.floor(INSTANCES, False)
    rows = [Row("FastCGI kept, 16 connections", "floor, kept to its workers",
                0.8),
            Row("FastCGI kept, 16 connections",
                "floor, a connection a request", 0.8),
            Row("FastCGI, a connection a request, 16",
                "floor, a connection a request"),
            Row("FastCGI kept, 16 connections", bare),
            Row("FastCGI, a connection a request, 16", bare)]
    each = load(rig, times, host.socket, "-c16", params=ours)
    theirs = load(rig, times, peer, "-c16")
    mine = load(rig, times, host.socket, "-c16", "-k", params=ours)
    mine()
    alternate(times, [
        (rows[0], mine, load(rig, times, kept, "-c16", "-k")),
        (rows[1], mine, load(rig, times, single, "-c16", "-k")),
        (rows[2], each, load(rig, times, single, "-c16")),
        (rows[3], mine, theirs), (rows[4], each, theirs)])
    return rows


def haproxy(rig, times):
    """(f) HAProxy's fcgi-app, before the program and before us."""
    host = hello_host(rig)
    peer = rig.multiwatch("multiwatch", INSTANCES, rig.tool("hello-fcgi"))
    front = rig.haproxy({"ours": (host.socket, True), "theirs": (peer, False)})
    nginx = rig.nginx({"ours": (host.socket, True, "")})
    rows = [Row("HAProxy → us, 16 connections", "HAProxy → the program"),
            Row("nginx → us, 16 connections", "HAProxy → the program")]
    theirs = lambda: rig.wrk(front["theirs"], "/x", 16, times.seconds)
    warm(rig, front, "/fn/hello")
    alternate(times, [
        (rows[0], lambda: rig.wrk(front["ours"], "/fn/hello", 16,
                                  times.seconds), theirs),
        (rows[1], lambda: rig.wrk(nginx["ours"], "/fn/hello", 16,
                                  times.seconds), theirs)])
    return rows


def php(rig, times):
    """(e) a PHP page."""
    host = rig.host({"page.php": PHP}, function("page", instances=INSTANCES))
    page = rig.dir / "page.php"
    page.write_text(PHP)
    script = f"fastcgi_param SCRIPT_FILENAME {page};"
    ports = rig.nginx({
        "ours": (host.socket, False, ""), "kept": (host.socket, True, ""),
        **{manner: (rig.php_fpm(manner, INSTANCES), False, script)
           for manner in ("static", "ondemand")}})
    rows, pairs = [], []
    for site, manner, word in (("ours", "static", "off"),
                               ("ours", "ondemand", "off"),
                               ("kept", "static", "on")):
        row = Row(f"PHP, nginx, 16 connections, keep_conn {word}",
                  f"php-fpm {manner}, {INSTANCES} children")
        rows.append(row)
        pairs.append((row, lambda s=site: rig.wrk(
            ports[s], "/fn/page", 16, times.seconds),
            lambda m=manner: rig.wrk(ports[m], "/", 16, times.seconds)))
    warm(rig, ports, "/fn/page")
    alternate(times, pairs)
    return rows


# as the sample configuration's, with spares
SPARE_PHP = """[runtime spare]
extensions = spare
protocol = fastcgi
command = /usr/bin/php-cgi
bind = /etc/php
spare = 1
env.php_fcgi_max_requests = 0
"""


def php_cold(rig, times):
    """(e) the first byte of a PHP page that nobody has asked for a while."""
    host = rig.host({"page.php": PHP, "page2.spare": PHP},
                    function("page", idle=0) + function("page2", idle=0) +
                    SPARE_PHP)
    page = rig.dir / "page.php"
    page.write_text(PHP)
    peer = rig.php_fpm("ondemand", INSTANCES, "pm.process_idle_timeout = 1s\n")
    rows = {}
    for number in range(times.rounds):
        say(f"  round {number + 1} of {times.rounds}")
        # its children are looked at once a second, and end after another
        theirs = rig.fcgi_load(
            peer, "-n", 4, "-w", 2500, "-e", HELLO,
            params=[f"SCRIPT_FILENAME={page}"])["first_byte_us"]["p50"]
        for path in ("page", "page2"):
            found = {}
            for how, us in cold_run(rig, host, 8, 250, path):
                found.setdefault(how, []).append(us)
            for how, samples in found.items():
                row = rows.setdefault(how, Row(
                    f"first byte, PHP page, {how}",
                    "php-fpm ondemand, after idle",
                    0.5 if how == "spare" else None, " µs", True))
                row.add(statistics.median(samples), theirs)
    return list(rows.values())


# -------------------------------------------------------------------- CGI

def cgi(rig, times):
    """(c) a static CGI program, a fresh process for each request."""
    wrap = rig.fcgiwrap(4)
    pairs = []
    for name, what in PROGRAMS.items():
        program = rig.tool(name)
        host = rig.host({"hello.cgi": program, "fresh.cgi": program},
                        function("fresh", idle=0))
        theirs = load(rig, times, wrap, "-c16",
                      params=[f"SCRIPT_FILENAME={program}"])
        for path, manner, bar in (("hello", "in a warm sandbox", 1.3),
                                  ("fresh", "idle = 0", 1 / 3)):
            run = load(rig, times, host.socket, "-c16",
                       params=[f"SCRIPT_NAME=/fn/{path}"])
            run()
            pairs.append((Row(f"CGI, {what}, {manner}, 16 connections",
                              "fcgiwrap, 4 workers", bar), run, theirs))
        theirs()
    alternate(times, pairs)
    return [row for row, _, _ in pairs]


def webcgi(rig, times):
    """(c) the static CGI program behind nginx."""
    program = rig.tool("hello-cgi")
    host = rig.host({"hello.cgi": program})
    script = f"fastcgi_param SCRIPT_FILENAME {program};"
    ports = rig.nginx({"ours_kept": (host.socket, True, ""),
                       "ours_plain": (host.socket, False, ""),
                       "theirs": (rig.fcgiwrap(4), False, script)})
    theirs = lambda: rig.wrk(ports["theirs"], "/", 16, times.seconds)
    pairs = [(Row(f"CGI, static C, nginx, 16 connections, keep_conn {word}",
                  "fcgiwrap, 4 workers"),
              lambda s=site: rig.wrk(ports[s], "/fn/hello", 16, times.seconds),
              theirs)
             for site, word in (("ours_kept", "on"), ("ours_plain", "off"))]
    warm(rig, ports, "/fn/hello")
    alternate(times, pairs)
    return [row for row, _, _ in pairs]


def records_from(host, at):
    """The `start` of each execution that was recorded behind offset `at`."""
    with open(host.accounting, encoding="utf-8") as log:
        log.seek(at)
        return [record["start"] for record in map(json.loads, log)
                if record["type"] == "exec"]


def cold_run(rig, host, count, pause_ms, path="cold"):
    """First bytes of cold starts, each with what it found."""
    at = host.accounting.stat().st_size
    run = rig.fcgi_load(host.socket, "-n", count, "-w", pause_ms, "-a", "-e",
                        HELLO, params=[f"SCRIPT_NAME=/fn/{path}"])
    starts = records_from(host, at)
    if run["errors"] or len(starts) != count:
        raise Trouble(f"a cold start went wrong: {run['faults']}, "
                      f"{len(starts)} records of {count}\n{host.log()[-2000:]}")
    return list(zip(starts, run["samples_us"]))


def cold(rig, times):
    """(d) the first byte of a cold static C program."""
    sample = (rig.installed.libexec / "conf/fcgi-host.ini").read_text()
    has_prepared = "max_prepared" in sample
    wrap = rig.fcgiwrap(1)
    count = max(10, round(times.seconds * 10))
    hosts = {}
    for name in PROGRAMS:
        for keys in ({}, {"max_prepared": 0})[:1 + has_prepared]:
            hosts.setdefault(name, []).append(rig.host(
                {"cold.cgi": rig.tool(name)}, function("cold", idle=0), keys))
    rows = {}
    for number in range(times.rounds):
        say(f"  round {number + 1} of {times.rounds}")
        for name, what in PROGRAMS.items():
            cold_round(rig, rows, count, hosts[name], wrap, name)
    for row in rows.values():
        row.notes.append(f"{row.count} samples")
        if not has_prepared:
            row.notes.append("this version prepares nothing")
    return list(rows.values())


def cold_round(rig, rows, count, hosts, wrap, name):
    """Some starts of each kind, of one program."""
    program = rig.tool(name)
    theirs = {
        "fcgiwrap": rig.fcgi_load(
            wrap, "-n", count, "-w", PAUSE_MS, "-e", HELLO,
            params=[f"SCRIPT_FILENAME={program}"])["first_byte_us"]["p50"],
        "bare fork and exec": rig.exec_load(
            "-n", count, "-w", PAUSE_MS, program)["first_byte_us"]["p50"]}
    found = {}
    for host in hosts:
        for start, us in cold_run(rig, host, count, PAUSE_MS):
            found.setdefault(start, []).append(us)
    for start, samples in sorted(found.items()):
        for peer, us in theirs.items():
            row = rows.setdefault((name, start, peer), cold_row(
                PROGRAMS[name], start, peer))
            row.add(statistics.median(samples), us)
            row.count += len(samples)


def cold_row(what, start, peer):
    bars = {"prepared": 0.75, "fresh": 2.2}
    row = Row(f"first byte, {what}, {start}", peer, bars.get(start)
              if peer == "fcgiwrap" else None, " µs", True)
    row.count = 0
    return row


def start(rig, times):
    """(i) the sandbox's own starts, without a host around them."""
    kinds = {"prepared": ("in a prepared sandbox", 1.3),
             "fresh": ("in a fresh one", None),
             "fresh_net": ("and network namespace", 4.0)}
    rows = [Row(f"start, {what}, {PROGRAMS[name]}", "bare fork and exec", bar,
                " µs", True) for name in PROGRAMS
            for what, bar in kinds.values()]
    spent = {}
    count = max(20, round(times.seconds * 20))
    for number in range(times.rounds):
        say(f"  round {number + 1} of {times.rounds}")
        left = iter(rows)
        for name in PROGRAMS:
            found = rig.start_load("-n", count, "-w", 5, rig.tool(name))
            for kind in kinds:
                row = next(left)
                row.add(found[kind]["first_byte_us"]["p50"],
                        found["bare"]["first_byte_us"]["p50"])
                spent.setdefault(row, []).append(found[kind])
    for row, runs in spent.items():
        row.notes.append("processor: {:.0f} µs, and {:.0f} of the kernel's "
                         "threads".format(*(statistics.median(
                             run[key] for run in runs)
                             for key in ("own_us", "kernel_us"))))
    memory = memory_row()
    for _ in range(times.rounds):
        memory_add(memory, rig.start_load("-m", SANDBOXES,
                                          rig.tool("bare-cgi")))
    return [*rows, memory]


def memory_row():
    row = Row("memory of an idle prepared sandbox", f"{MEMORY_KIB} KiB", 1.0,
              " KiB", True)
    row.private, row.disturbed = [], 0
    return row


def memory_add(row, found):
    """A round counts if the kernel is back where it was before, and if the
    sandboxes do not take less than what is certainly theirs alone."""
    if abs(found["drift_kib"]) > MEMORY_DRIFT_KIB or \
            found["all_kib"] < found["pss_kib"]:
        row.disturbed += 1
    else:
        row.private.append(found["pss_kib"])
        row.add(found["all_kib"], MEMORY_KIB)
    row.notes[:] = memory_notes(row)


def memory_notes(row):
    notes = []
    if row.private:
        notes.append(f"of it PSS {statistics.median(row.private):.0f}")
    if row.disturbed:
        notes.append(f"{row.disturbed} rounds of "
                     f"{row.disturbed + len(row.private)} disturbed by others"
                     f"{'' if row.private else ': needs a quiet machine'}")
    return notes


# ------------------------------------------------------------------- many

def many_connections(rig, times):
    """(g) 2,000 connections through nginx."""
    keys = {"max_connections": 4096}
    host = rig.host({"hello.fcgi": rig.tool("hello-fcgi")},
                    function("hello", instances=INSTANCES, queue=4096), keys)
    peer = rig.multiwatch("multiwatch", INSTANCES, rig.tool("hello-fcgi"))
    ports = rig.nginx({"kept": (host.socket, True, ""),
                       "plain": (host.socket, False, ""),
                       "theirs": (peer, False, "")})
    rows = []
    warm(rig, ports, "/fn/hello")
    for site in ("kept", "plain"):
        rows.append(Row(f"2,000 connections, nginx, keep_conn "
                        f"{'on' if site == 'kept' else 'off'}: p99",
                        "1 s", 1.0, " ms", True))
    rows.append(Row("the same of spawn-fcgi + multiwatch: p99", "1 s", None,
                    " ms", True))
    for number in range(times.rounds):
        say(f"  round {number + 1} of {times.rounds}")
        for row, site in zip(rows, ports):
            run = rig.wrk(ports[site], "/fn/hello", 2000,
                          max(2, times.seconds))
            row.add(run["p99_ms"], 1000, (run["errors"], 0))
    for row in rows:
        row.notes.append(f"{row.errors[0]} errors")
    for row in rows[:2]:
        row.notes.append("max_connections = 4096, queue = 4096")
    return rows


def many_functions(rig, times):
    """(g) 1,000 functions against one."""
    program = rig.tool("hello-fcgi")
    one = rig.host({"f0.fcgi": program})
    many = rig.host({f"f{i}.fcgi": program for i in range(1000)})
    rows = [Row("1,000 functions there, one is asked", "one function", 0.9),
            Row("1,000 warm functions, each in turn", "one function", 0.9),
            Row("no host: the floor before 1,000 programs in turn",
                f"the floor before {ONES_INSTANCES}")]
    first = ["SCRIPT_NAME=/fn/f0"]
    in_turn = ["SCRIPT_NAME=/fn/f#v"]
    theirs = load(rig, times, one.socket, "-c16", "-k", params=first)
    theirs()
    say("  warming 1,000 functions")
    done = rig.fcgi_load(many.socket, "-c16", "-k", "-n", 2000, "-v", 1000,
                         "-e", HELLO, params=in_turn)
    if done["errors"]:
        rows[1].notes.append(f"warming: {done['faults']}")
    say("  starting 1,000 programs for the floor")
    floors = [rig.floor(ONES_INSTANCES, True), rig.floor(1000, True, in_turn=True)]
    for path in floors:
        rig.fcgi_load(path, "-c16", "-k", "-n", 2000, "-e", HELLO)
    alternate(times, [
        (rows[0], load(rig, times, many.socket, "-c16", "-k", params=first),
         theirs),
        (rows[1], load(rig, times, many.socket, "-c16", "-k", "-v", "1000",
                       params=in_turn), theirs),
        (rows[2], load(rig, times, floors[1], "-c16", "-k"),
         load(rig, times, floors[0], "-c16", "-k"))])
    return rows


def bad_neighbours(rig, times):
    """(h) a hot, a broken and a cold function beside another one."""
    rows = {name: Row(f"p99 of a function beside a {name} one", "alone", 2.0,
                      " µs", True) for name in neighbours_room.NEIGHBOURS}
    neighbours_room.measure(rig, times, rows)
    control = Row("no host: libfcgi beside 4 burning processes: p99", "alone",
                  None, " µs", True)
    neighbours_room.scheduler(rig, times, control)
    return [*rows.values(), control]


def books(_, times):
    """(i) the sums of a large accounting log."""
    return ledgers_room.measure(times, Row, say)


def accounting(rig, times):
    """(j) what the books cost, raw, through nginx and by CGI."""
    hosts = {}
    for name, installed in (("ours", None), ("theirs", rig.unaccounted())):
        hosts[name] = rig.host(
            {"hello.fcgi": rig.tool("hello-fcgi"),
             "cgi.cgi": rig.tool("hello-cgi")},
            function("hello", instances=INSTANCES) +
            function("cgi", instances=ONES_INSTANCES), installed=installed)
    ports = rig.nginx({name: (host.socket, True, "")
                       for name, host in hosts.items()})
    peer = "a gateway without accounting"
    rows, pairs = [], []
    for name, what in (
            ("FastCGI kept, 16 connections", lambda n: load(
                rig, times, hosts[n].socket, "-c16", "-k",
                params=["SCRIPT_NAME=/fn/hello"])),
            ("nginx, 16 connections, keep_conn on", lambda n: lambda: rig.wrk(
                ports[n], "/fn/hello", 16, times.seconds)),
            ("CGI, static C, 16 connections", lambda n: load(
                rig, times, hosts[n].socket, "-c16", "-k",
                params=["SCRIPT_NAME=/fn/cgi"]))):
        rows.append(Row(name, peer, 0.95))
        pairs.append((rows[-1], what("ours"), what("theirs")))
        pairs[-1][1]()
        pairs[-1][2]()
    alternate(times, pairs)
    written = {name: host.accounting.stat().st_size
               for name, host in hosts.items()}
    if written["theirs"] > 0 or written["ours"] == 0:
        raise Trouble(f"bytes of accounting logs: {written}")
    return rows


def python(rig, times):
    """(k) functions in Python, warm and cold."""
    here = sys.modules[__name__]
    return [*pythons_room.warm(rig, times, here),
            *pythons_room.cold(rig, times, here)]


BENCHES = {"web": web, "raw": raw, "cgi": cgi, "cold": cold,
           "start": start, "php": php, "php_cold": php_cold,
           "haproxy": haproxy, "webcgi": webcgi,
           "connections": many_connections,
           "functions": many_functions, "neighbours": bad_neighbours,
           "books": books, "accounting": accounting, "python": python}
