"""The load generator of `make bench` counts right answers and no others."""
import contextlib
import importlib.machinery
import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from lib import fcgi
from lib import programs as programs_room

BENCH = programs_room.TREE / "tests/bench"
HEAD = b"Content-Type: text/plain\r\n\r\n"
GOOD = HEAD + b"hello"


@pytest.fixture(scope="module")
def fcgi_load(programs):
    """The load generator, compiled; a function that runs it."""
    path = programs.fcgi_load

    def run(socket_path, *arguments, params=()):
        done = subprocess.run([path, *arguments, socket_path, *params],
                              stdout=subprocess.PIPE, text=True, timeout=60,
                              check=False)
        found = json.loads(done.stdout)
        assert done.returncode == (1 if found["faults"]["all"] else 0)
        return found
    return run


def record(kind, content=b"", request_id=1):
    return fcgi.record(kind, request_id, content)


def end(app_status=0, protocol_status=0):
    return record(fcgi.END, app_status.to_bytes(4, "big") +
                  bytes([protocol_status, 0, 0, 0]))


def answer(text):
    return record(fcgi.STDOUT, text) + record(fcgi.STDOUT) + end()


class Sinner(threading.Thread):
    """A FastCGI server that gives each request the same bytes and closes."""

    def __init__(self, path, reply, keeps=False):
        super().__init__(daemon=True)
        self.reply, self.keeps = reply, keeps
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(16)
        self.start()

    def run(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            with conn:
                while self.serve(conn) and self.keeps:
                    pass

    def serve(self, conn):
        data = b""
        while not data.endswith(record(fcgi.STDIN)):
            piece = conn.recv(65536)
            if not piece:
                return False
            data += piece
        if self.reply is None:
            conn.recv(1)
            return False
        conn.sendall(self.reply)
        return True


@pytest.mark.parametrize("fault, reply", [
    ("status", answer(b"Status: 500 Oops\r\n" + GOOD)),
    ("status", answer(b"hello")),
    ("status", end()),
    ("body", answer(HEAD + b"hellO")),
    ("body", answer(HEAD + b"hello ")),
    ("body", answer(HEAD + b"hell")),
    ("end", record(fcgi.STDOUT, GOOD) + end(app_status=3)),
    ("end", record(fcgi.STDOUT, GOOD) + end(protocol_status=2)),
    ("end", record(fcgi.STDOUT, GOOD) + record(fcgi.END, b"\0\0\0\0")),
    ("closed", record(fcgi.STDOUT, GOOD) + record(fcgi.STDOUT)),
    ("closed", b""),
    ("closed", answer(GOOD)[:-1]),
    ("protocol", b"HTTP/1.1 200 OK\r\n\r\nhello"),
    ("protocol", record(fcgi.STDOUT, GOOD, request_id=2) + end()),
    ("protocol", answer(GOOD) + answer(GOOD)),
    ("protocol", answer(GOOD) + b"\1"),
    ("timeout", None),
])
def test_a_wrong_answer_is_a_fault_of_its_kind_and_no_answer(
        fcgi_load, tmp_path, fault, reply):
    sinner = Sinner(tmp_path / "s", reply)
    longest = "0.3" if fault == "timeout" else "30"
    found = fcgi_load(tmp_path / "s", "-n", "3", "-T", longest, "-e", "hello")
    sinner.listener.close()
    assert found["answers"] == 0
    assert found["faults"][fault] == found["faults"]["all"] == 3


def test_a_right_answer_counts_however_it_is_cut(fcgi_load, tmp_path):
    text = [record(fcgi.STDOUT, GOOD[i:i + 1]) for i in range(len(GOOD))]
    sinner = Sinner(tmp_path / "s", record(fcgi.STDERR, b"a word") +
                    b"".join(text) + record(fcgi.STDOUT) + end(), keeps=True)
    for more in ([], ["-k"]):
        found = fcgi_load(tmp_path / "s", "-n", "5", "-e", "hello", *more)
        assert (found["answers"], found["faults"]["all"]) == (5, 0)
        assert found["loop"] == "closed"
    sinner.listener.close()


def test_a_pause_lasts_as_long_as_it_is_said_to(fcgi_load, tmp_path):
    """A pause that outlasts its time makes a run of some dozen requests, whose
    p99 is their largest."""
    sinner = Sinner(tmp_path / "s", answer(GOOD))
    found = fcgi_load(tmp_path / "s", "-n", "50", "-w", "1", "-e", "hello")
    sinner.listener.close()
    assert found["answers"] == 50
    assert 0.049 <= found["seconds"] < 2.5


def test_what_the_generator_waits_for_a_processor_is_told_apart(
        fcgi_load, tmp_path):
    sinner = Sinner(tmp_path / "s", answer(GOOD))
    found = fcgi_load(tmp_path / "s", "-n", "50", "-w", "1", "-q")
    sinner.listener.close()
    assert 0 < found["without_own_wait_us"]["max"] <= \
        found["first_byte_us"]["max"]
    assert found["own_wait_us"]["max"] <= found["first_byte_us"]["max"]
    assert found["timer_late_us"]["p99"] > 0


def test_another_requests_answer_is_a_fault(fcgi_load, tmp_path):
    sinner = Sinner(tmp_path / "s", answer(HEAD + b"load-1-0"))
    found = fcgi_load(tmp_path / "s", "-n", "3", "-i", "REQUEST_ID", "-I")
    sinner.listener.close()
    assert (found["answers"], found["faults"]["body"]) == (0, 3)


def test_nobody_there_is_a_fault(fcgi_load, tmp_path):
    found = fcgi_load(tmp_path / "absent", "-n", "4", "-c", "2")
    assert (found["answers"], found["faults"]["connect"]) == (0, 4)


@pytest.mark.parametrize("more", [[], ["-k"]])
def test_each_request_to_a_host_is_one_answer_and_one_record(
        start_once, fcgi_load, more):
    host = start_once.host({"who.sh": "#!/bin/sh\nprintf 'Content-Type: "
                                      "text/plain\\n\\n%s' \"$REQUEST_ID\"\n"})
    host.wait_served("/fn/who")
    before = len(host.books.executions())
    found = fcgi_load(host.socket, "-n", "40", "-c", "4", "-i", "REQUEST_ID",
                      "-I", *more, params=["SCRIPT_NAME=/fn/who"])
    assert (found["answers"], found["faults"]["all"]) == (40, 0)
    assert found["first_byte_us"]["p50"] > 0
    ids = [r["request_id"] for r in host.books.executions()[before:]]
    assert len(ids) == len(set(ids)) == 40


@contextlib.contextmanager
def bench_rooms():
    """The rooms of the driver stand beside it and find each other."""
    sys.path.insert(0, str(BENCH))
    try:
        yield
    finally:
        sys.path.remove(str(BENCH))


def driver():
    """The driver itself, whose file has no extension."""
    loader = importlib.machinery.SourceFileLoader("bench_driver",
                                                  str(BENCH / "bench"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def memory_line(*rounds):
    """The table's line for rounds of (all, PSS, drift)."""
    with bench_rooms():
        import rows
        row = rows.memory_row()
        for all_kib, pss_kib, drift_kib in rounds:
            rows.memory_add(row, {"all_kib": all_kib, "pss_kib": pss_kib,
                                  "drift_kib": drift_kib})
        return driver().line(row)


def test_a_round_that_others_disturbed_costs_no_other_round_its_figure():
    cells = memory_line((73, 20, 1), (900, 20, 300), (68, 22, -4),
                        (-5, 20, 2), (90, 20, -40))
    assert cells[2:5] == ["73 KiB", "450 KiB", "0.16"]
    assert cells[5:] == ["0.15-0.20", "≤ 1.00",
                         "met; of it PSS 20; 2 rounds of 5 disturbed by others"]


def test_a_line_without_figures_says_why():
    cells = memory_line((10, 20, 1), (900, 20, -300))
    assert cells[2:7] == ["-"] * 5
    assert cells[7] == ("no figures; 2 rounds of 2 disturbed by others: needs "
                        "a quiet machine")


def test_a_ratio_is_the_median_of_the_rounds_and_wrong_answers_are_none():
    with bench_rooms():
        import rows
        line = driver().line
        row = rows.Row("a", "b", 0.8)
        for ours, theirs in ((100, 100), (50, 100), (90, 100)):
            row.add(ours, theirs)
        assert line(row)[4:] == ["0.90", "0.50-1.00", "≥ 0.80", "met"]
        row.add(10, 100, (0, 7))
        assert line(row)[4:] == ["0.70", "0.10-1.00", "≥ 0.80",
                                 "missed; the peer: 7 wrong answers"]
        row.add(100, 100, (1, 0))
        assert line(row)[7].startswith("wrong answers")


def test_the_driver_knows_its_benchmarks_and_reads_wrk():
    with bench_rooms():
        import rig
    found = rig.wrk_read("  Latency Distribution\n     50%    1.00ms\n"
                         "     99%    2.50s \n"
                         "  Socket errors: connect 1, read 2, write 3, "
                         "timeout 4\n  Non-2xx or 3xx responses: 5\n"
                         "Requests/sec:   1234.5\n")
    assert found == {"per_second": 1234.5, "errors": 15, "p99_ms": 2500}
    done = subprocess.run([sys.executable, str(BENCH / "bench"), "nonsense"],
                          env={**os.environ}, stderr=subprocess.PIPE,
                          text=True, check=False)
    assert done.returncode == 2 and "there are: web raw cgi" in done.stderr


def test_instructions_of_a_request_are_what_many_took_more_than_few():
    with bench_rooms():
        import callgrind
    table = ("--------\nIr\n--------\n{} (100.0%)  PROGRAM TOTALS\n\n"
             "Ir  file:function\n{} (41.67%)  /src/fcgi-host/conn.c:conn_read "
             "[/tmp/unconfined]\n{} ( 8.33%)  ./string/../memset.S:memset "
             "[/usr/lib/libc.so.6]\n")
    few = callgrind.read(table.format("1,200", "500", "100"))
    many = callgrind.read(table.format("21,201,200", "20,000,500", "100"))
    assert few == {"PROGRAM TOTALS": 1200, "conn.c:conn_read": 500,
                   "memset.S:memset": 100}
    requests = callgrind.MANY - callgrind.FEW
    assert callgrind.per_request(few, many) == [
        (21200000 / requests, "PROGRAM TOTALS"),
        (20000000 / requests, "conn.c:conn_read"), (0, "memset.S:memset")]
    assert callgrind.by_file([(9, "PROGRAM TOTALS"), (3, "a.c:x"), (4, "b.c:x"),
                              (2, "a.c:y")]) == [(5, "a.c"), (4, "b.c")]
