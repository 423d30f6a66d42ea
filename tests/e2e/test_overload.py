"""Overload: too many of everything, and each is answered in words.

No speed is asserted.  Each test is a row of docs/FAULTS.md."""
import concurrent.futures
import contextlib
import time

import pytest

from lib import books, fcgi, leaks, proc
from lib import host as host_room
from lib.faults import Neighbour, in_words

# What the code says (conn.c): struct conn, and 4 KiB of its buffer.
IDLE_KIB = 8
SAY = "printf 'Content-Type: text/plain\\n\\n%s'\n"


def ask(connection, url, body=b"", **extra):
    connection.send(fcgi.request_bytes(url, body, flags=fcgi.KEEP_CONN,
                                       **extra))


def all_at_once(host, urls, body=b"", timeout=50):
    """A connection for each URL, all with a request before the first answer is
    read: (request id, answer) each."""
    ids = [host_room.new_id() for _ in urls]
    with contextlib.ExitStack() as stack:
        made = []
        for url, one in zip(urls, ids):
            made.append(stack.enter_context(host.connect(timeout)))
            ask(made[-1], url, body, REQUEST_ID=one)
        answers = [connection.read_answer() for connection in made]
    return list(zip(ids, answers))


def check_records(host, done):
    """One record each, which says what the client was told."""
    records = {}
    for record in host.books.executions():
        records.setdefault(record["request_id"], []).append(record)
    for one, answer in done:
        mine = records.get(one, [])
        assert len(mine) == 1, f"{len(mine)} records of {one}: {answer}"
        assert mine[0]["status"] == answer.status
    books.check_seq(host.books.all(), True)


def trickle(host):
    """The statuses of connections that send a byte at a time, and the answer to
    who came beside them.  They hold every connection that there may be."""
    whole = fcgi.request_bytes("/fn/good?head", HTTP_LONG="x" * 2000)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(host.connect()) for _ in range(40)]
        for connection in slow:
            connection.send(whole[:100])
        for connection in slow:  # else a silent one would give way
            connection.wait_taken()
        beside = host.fetch("/fn/good?head")
        started, place = time.monotonic(), 100
        while time.monotonic() - started < 31:
            time.sleep(0.5)
            for connection in slow:
                with contextlib.suppress(BrokenPipeError):
                    connection.send(whole[place:place + 1])
            place += 1
        return [connection.read_answer().status for connection in slow], beside


@pytest.fixture(scope="module", autouse=True)
def trickling(request, start, programs):
    """(host, what trickle() will have found): goes on beside the other tests."""
    if not any("trickle" in item.name for item in request.session.items):
        yield None
        return
    host = start.host({"good.cgi": programs.cgi},
                      {"host": {"max_connections": "40"}})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        yield host, pool.submit(trickle, host)


# W45
def test_five_thousand_idle_connections_pin_nothing(start_once, programs):
    """Each has been answered once and is kept by its web server."""
    host = start_once.host(
        {"good.fcgi": programs.fcgi},
        {"host": {"max_connections": "6000", "max_prepared": "0"},
         "defaults": {"idle": "1s"}})
    gateway = host.roles()["gateway"]
    host.fetch("/fn/good?head&out=200000")
    host.wait_instances(0)
    before, size = leaks.at_rest(host), proc.pss_kib(gateway)
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(host.connect()) for _ in range(5000)]
        for at in range(0, 5000, 50):
            for connection in kept[at:at + 50]:
                ask(connection, "/fn/good?head&out=3000")
            for connection in kept[at:at + 50]:
                assert len(connection.read_answer().body) == 3000
        # a large answer leaves no large buffer behind
        for connection in kept[:200]:
            ask(connection, "/fn/good?head&out=300000")
            assert len(connection.read_answer().body) == 300000
        host.wait_instances(0)
        grown = proc.pss_kib(gateway) - size
        print(f"{grown / 5000:.2f} KiB a connection")
        if not host.installed.is_sanitized:
            assert grown < 5000 * IDLE_KIB, f"{grown / 5000} KiB each"
        # The clock of what has just ended is still noted, within a second.
        until = time.monotonic() + 30
        wakeups = -1
        while wakeups != proc.wakeups(gateway):
            assert time.monotonic() < until, "idle ones wake the gateway"
            wakeups = proc.wakeups(gateway)
            time.sleep(2)
        for connection in kept[::500]:
            ask(connection, "/fn/good?head&raw=still")
            assert connection.read_answer().text == "still"
        assert host.fetch("/fn/good?head&raw=new").text == "new"
        host.wait_instances(0)
    leaks.settle(host, before)
    books.check_seq(host.books.all(), True)


@pytest.mark.parametrize("name", ["busy.cgi", "busy.fcgi"])
def test_two_thousand_requests_at_once_are_all_answered(start_once, programs,
                                                        name):
    """The queue holds them all; nobody is refused."""
    host = start_once.host(
        {name: programs.cgi if name.endswith("cgi") and "fcgi" not in name
         else programs.fcgi},
        {"host": {"max_connections": "3000", "max_prepared": "0"},
         "function busy": {"queue": "3000", "queue_timeout": "50s",
                           "idle": "1s"}})
    host.fetch("/fn/busy?head")
    host.wait_instances(0)
    before = leaks.at_rest(host)
    done = all_at_once(host, [f"/fn/busy?head&raw={n}" for n in range(2000)])
    for n, (_, answer) in enumerate(done):
        assert in_words(answer, 200) and answer.text == str(n)
    check_records(host, done)
    host.wait_instances(0)
    leaks.settle(host, before)


def test_two_thousand_requests_over_every_ceiling_are_told_so(start_once,
                                                              programs):
    """Default settings: 64 wait, and at most 1024 connections are served."""
    host = start_once.host({"busy.cgi": programs.cgi, "good.fcgi":
                            programs.fcgi}, {"defaults": {"idle": "2s"},
                                             "host": {"max_prepared": "0"}})
    host.fetch("/fn/good?head")
    host.fetch("/fn/busy?head")
    host.wait_instances(0)
    before = leaks.at_rest(host)
    done = all_at_once(host, ["/fn/busy?sleep=50&head"] * 2000)
    statuses = [in_words(answer, 200, 503) for _, answer in done]
    assert statuses.count(200) >= 60 and statuses.count(503) >= 900
    check_records(host, done)
    assert host.fetch("/fn/good?head&raw=x").text == "x"
    host.wait_instances(0)
    leaks.settle(host, before)


def test_a_thousand_functions_are_all_served(start_once):
    host = start_once.host(
        {f"f{n:04}.sh": SAY % n for n in range(1000)},
        {"defaults": {"idle": "3s"}, "host": {"max_prepared": "0"}})
    host.fetch("/fn/f0000")
    host.wait_instances(0)
    before = leaks.at_rest(host)
    sizes = {role: proc.pss_kib(pid) for role, pid in host.roles().items()}
    done = []
    for n in range(1000):
        one = host_room.new_id()
        done.append((one, host.fetch(f"/fn/f{n:04}", REQUEST_ID=one)))
        assert done[-1][1].text == str(n)
    check_records(host, done)
    grown = {role: proc.pss_kib(pid) - sizes[role]
             for role, pid in host.roles().items()}
    print("KiB for a thousand warm functions:", grown)
    if not host.installed.is_sanitized:
        assert grown["gateway"] < 8000 and grown["spawner"] < 8000, grown
    host.wait_instances(0, 20)
    leaks.settle(host, before)


def test_two_hundred_cold_functions_at_once_are_all_served(start_once,
                                                           programs):
    host = start_once.host(
        {"good.fcgi": programs.fcgi,
         **{f"f{n:03}.cgi": programs.cgi for n in range(200)}},
        {"defaults": {"idle": "1s"}, "function good": {"idle": "60s"},
         "host": {"max_prepared": "0"}})
    host.fetch("/fn/good?head")
    before = leaks.at_rest(host)
    with Neighbour(host):
        done = all_at_once(host, [f"/fn/f{n:03}?head&raw={n}"
                                  for n in range(200)])
        for n, (_, answer) in enumerate(done):
            assert in_words(answer, 200) and answer.text == str(n)
    check_records(host, done)
    assert {r["start"] for r in host.books.executions("f100")} <= \
        {"fresh", "prepared"}
    host.wait_instances(1)
    leaks.settle(host, before)


def test_two_thousand_bodies_do_not_fill_the_memory(start_once, programs):
    """256 KiB each, all of which must wait: they lie in the spool."""
    host = start_once.host(
        {"busy.fcgi": programs.fcgi},
        {"host": {"max_connections": "3000"},
         "function busy": {"queue": "3000", "queue_timeout": "55s"}})
    gateway = host.roles()["gateway"]
    host.fetch("/fn/busy?head")
    size = proc.rss_kib(gateway)
    done = all_at_once(host, ["/fn/busy?sleep=4000&head&sum"] * 4 +
                       ["/fn/busy?head&sum"] * 1996, b"x" * 262144, 60)
    grown = proc.peak_rss_kib(gateway) - size
    print(f"{grown} KiB for 2,000 bodies of 256 KiB")
    for _, answer in done:
        assert in_words(answer, 200) and "length=262144" in answer.text
    check_records(host, done)
    if not host.installed.is_sanitized:
        assert grown < 64 * 1024, f"{grown} KiB"


def test_who_does_not_read_fills_no_memory_and_ends_at_the_deadline(
        start_once, programs):
    host = start_once.host(
        {"flood.fcgi": programs.fcgi, "good.fcgi": programs.fcgi},
        {"function flood": {"instances": "64", "timeout": "4s"}})
    gateway = host.roles()["gateway"]
    host.fetch("/fn/good?head")
    size = proc.rss_kib(gateway)
    ids = [host_room.new_id() for _ in range(64)]
    with contextlib.ExitStack() as stack, Neighbour(host):
        for one in ids:
            connection = stack.enter_context(host.connect())
            ask(connection, "/fn/flood?head&out=50000000", REQUEST_ID=one)
        records = [host.books.wait_request(one, 20) for one in ids]
    assert all(r["outcome"] == "timeout" for r in records)
    grown = proc.peak_rss_kib(gateway) - size
    print(f"{grown} KiB for 64 who do not read")
    if not host.installed.is_sanitized:
        assert grown < 64 * 512, f"{grown} KiB"


def test_params_that_trickle_end_after_thirty_seconds(trickling):
    """Each byte is new, and does not help."""
    host, found = trickling
    statuses, beside = found.result(60)
    assert in_words(beside, 503) and "max_connections" in beside.text
    assert statuses == [408] * 40
    # the host has not yet seen all of them close
    assert host.wait_served("/fn/good?head&raw=x").text == "x"
