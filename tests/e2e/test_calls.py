"""How many system calls of the gateway's a request takes.

A path that has lost its batching answers as before, only later: a record that
is sent by itself, a line that is written by itself.  So the calls are counted,
by strace.  The bounds are what is needed and some more, less than what one lost
batch would add: what comes in several events on an idle machine comes in one
on a busy one, and never in more.
"""
import contextlib
import os
import re
import signal
import subprocess
import time

import pytest

from lib import fcgi, proc, programs as programs_room

REQUESTS = 200


@pytest.fixture(scope="module")
def host(start, programs):
    return start.host(
        {"fast.fcgi": programs.hello_fcgi, "plain.cgi": programs.hello_cgi,
         "full.cgi": programs.cgi},
        {"host": {"max_prepared": "0"}, "defaults": {"idle": "1h", "abort_grace": "0"},
         "function full": {"instances": "1", "queue": "0"}})


class Calls(dict):
    """{call: how often}, filled when the block is over."""

    def all(self):
        return sum(self.values())

    def of(self, *names):
        return sum(self.get(name, 0) for name in names)


def wait_asleep(pid):
    """Until it waits for events: what a client has read may be of a call that has
    not ended, which strace does not count."""
    until, looks = time.monotonic() + 30, 0
    while looks < 5:
        looks = looks + 1 if proc.stat(pid)[1] == "S" else 0
        assert time.monotonic() < until, "the gateway never waits"
        time.sleep(0.01)


@contextlib.contextmanager
def counted(host):
    """The gateway's system calls during the block."""
    strace, = programs_room.need("strace")
    calls, out = Calls(), host.dir / "calls"
    gateway = host.roles()["gateway"]
    tracer = subprocess.Popen(
        [strace, "-c", "-o", out, "-p", str(gateway)],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True)
    try:
        said = tracer.stderr.readline()
        assert "attached" in said, said
        yield calls
        wait_asleep(gateway)
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(30)
        tracer.stderr.close()
    for line in out.read_text().splitlines():
        found = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s.*?(\w+)$", line)
        if found and found[2] != "total":
            calls[found[2]] = int(found[1])
    assert calls, out.read_text()


def ask(connection, name, times):
    """One after the other: each has all of its calls to itself."""
    for _ in range(times):
        connection.send(fcgi.request_bytes(f"/fn/{name}", flags=fcgi.KEEP_CONN))
        assert connection.read_answer().text == "hello world\n"


SENDS = ("sendto", "sendmsg", "writev", "sendmmsg")
WRITES = ("write", "pwrite64", "pwritev")
# Of a request: all calls, those that send, those that write.  FastCGI: one to
# the program, whose answer comes in one piece, and one to the web server; init is
# asked for the memory after every few.  CGI: one to init, and two to the web
# server, since the answer passes before the program's end is known.
BOUNDS = {"fast": (14, 2.5, 1.25), "plain": (42, 3.25, 1.25)}


@pytest.mark.parametrize("name", BOUNDS)
def test_a_request_takes_a_bounded_number_of_system_calls(host, name):
    """So many records are one send, and a line is one write."""
    with host.connect() as connection:
        ask(connection, name, 10)  # now it is warm, its connection kept
        with counted(host) as calls:
            ask(connection, name, REQUESTS)
    every, sends, writes = (bound * REQUESTS for bound in BOUNDS[name])
    assert REQUESTS <= calls.of(*SENDS) <= sends, calls
    assert REQUESTS <= calls.of(*WRITES) <= writes, calls
    assert calls.all() <= every, calls


def test_what_ends_in_one_turn_of_the_loop_is_written_at_once(host):
    """64 requests that the gateway finds together: so many lines, one write."""
    gateway = host.roles()["gateway"]
    host.fetch("/fn/full?head")
    holder = host.connect()
    holder.send(fcgi.request_bytes("/fn/full?err=full-is-held&sleep=60000"))
    host.wait_log("full-is-held")
    many = [host.connect() for _ in range(64)]
    for connection in many:  # each is known to the gateway
        connection.send(fcgi.request_bytes("/fn/nobody", flags=fcgi.KEEP_CONN))
        assert connection.read_answer().status == 404
    before = len(host.books.executions("full"))
    with counted(host) as calls:
        os.kill(gateway, signal.SIGSTOP)
        for connection in many:
            connection.send(fcgi.request_bytes("/fn/full?head",
                                               flags=fcgi.KEEP_CONN))
        os.kill(gateway, signal.SIGCONT)
        for connection in many:
            assert connection.read_answer().status == 503
    # the holder's own record comes with its end
    assert len(host.books.executions("full")) == before + 64
    for connection in (*many, holder):
        connection.close()
    assert calls.of(*WRITES) < 16, calls
    assert 64 <= calls.of(*SENDS) < 2 * 64, calls


@pytest.fixture
def file_host(start_once, programs):
    """One whose functions log to files of their own."""
    made = start_once.host({"fast.fcgi": programs.hello_fcgi,
                            "lines.fcgi": programs.fcgi}, is_started=False)
    made.configure({"host": {"function_logs": made.dir / "flogs",
                             "max_prepared": "0"},
                    "defaults": {"idle": "1h", "instances": "1"}})
    made.start()
    return made


def ask_lines(connection, times):
    """Five lines in one piece."""
    for _ in range(times):
        connection.send(fcgi.request_bytes(
            "/fn/lines?head&raw=x&err=1%0A2%0A3%0A4%0A5", flags=fcgi.KEEP_CONN))
        assert connection.read_answer().text == "x"


def test_lines_of_a_function_that_come_together_are_one_write(file_host):
    """And a request without any costs what it costs elsewhere."""
    with file_host.connect() as connection:
        ask(connection, "fast", 10)
        with counted(file_host) as calls:
            ask(connection, "fast", REQUESTS)
    assert calls.all() <= BOUNDS["fast"][0] * REQUESTS, calls
    with file_host.connect() as connection:
        ask_lines(connection, 10)
        with counted(file_host) as calls:
            ask_lines(connection, 80)  # not so many that some are dropped
    text = (file_host.dir / "flogs/default/lines.log").read_text()
    assert text.count("event=stderr") == 5 * 90
    # the record's, and the lines'; six where each is written by itself
    assert 2 * 80 <= calls.of(*WRITES) <= 2.25 * 80, calls
