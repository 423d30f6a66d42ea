"""Faults: descriptors run out, in the gateway, the spawner, the scanner.

Each test is a row of docs/FAULTS.md."""
import contextlib
import os
import time

import pytest

from lib import books, fcgi, leaks
from lib import host as host_room
from lib.faults import (Neighbour, ask_all, files_limit, free_numbers,
                        in_words)

FEW = ("prlimit", "--nofile=128:128")
SPOKEN = "short of descriptors"


def kept(host):
    """A connection that was made before the bad day."""
    connection = host.connect()
    ask(connection, "/fn/good?head&raw=x")
    return connection


def ask(connection, url, body=b"", **extra):
    connection.send(fcgi.request_bytes(url, body, flags=fcgi.KEEP_CONN,
                                       **extra))
    return connection.read_answer()


def many(programs, count):
    return {f"f{n:02}.fcgi": programs.fcgi for n in range(count)}


# ----------------------------------------------------------- the gateway

def test_idle_connections_give_way_to_one_with_a_request(start_once,
                                                         programs):
    host = start_once.host({"good.cgi": programs.cgi}, wrap=FEW)
    with contextlib.ExitStack() as stack:
        for _ in range(150):
            stack.enter_context(host.connect())
        host.wait_served("/fn/good?head")
        for lap in range(20):
            answer = host.fetch(f"/fn/good?head&raw={lap}")
            assert answer.status == 200 and answer.text == str(lap)
    assert host.roles()["gateway"]


def test_connections_beyond_the_descriptors_are_refused_in_words(start_once,
                                                                 programs):
    """All of them have a request, and none is idle."""
    host = start_once.host({"good.cgi": programs.cgi}, wrap=FEW)
    gateway = host.roles()["gateway"]
    ids = [host_room.new_id() for _ in range(200)]
    answers = ask_all([lambda one=one: host.fetch(
        "/fn/good?head&sleep=200", REQUEST_ID=one) for one in ids], 160)
    statuses = [in_words(answer, 200, 503) for answer in answers]
    assert statuses.count(200) >= 30 and statuses.count(503) >= 10
    records = [host.books.wait_request(one) for one in ids]
    assert [r["status"] for r in records] == statuses
    assert host.roles()["gateway"] == gateway
    host.wait_served("/fn/good?head")


def test_instances_that_find_no_descriptors_are_refused_in_words(start_once,
                                                                 programs):
    """More warm functions than the gateway has descriptors for; those that
    are warm go on.  With prepared ones, or with few for both, the spawner would
    run out as soon."""
    host = start_once.host({"good.cgi": programs.cgi, **many(programs, 36)},
                           {"host": {"max_prepared": "0"}},
                           wrap=("prlimit", "--nofile=256:256"))
    gateway = host.roles()["gateway"]
    host.fetch("/fn/good?head")
    with Neighbour(host) as good:
        ids = [host_room.new_id() for _ in range(36)]
        answers = [host.fetch(f"/fn/f{n:02}?head&raw=x", REQUEST_ID=one)
                   for n, one in enumerate(ids)]
        statuses = [in_words(answer, 200, 503) for answer in answers]
        assert statuses[0] == 200 and statuses.count(503) >= 5
        refused = next(a for a in answers if a.status == 503)
        assert SPOKEN in refused.text
        for one, status in zip(ids, statuses):
            record = host.books.wait_request(one)
            assert record["outcome"] == ("ok" if status == 200 else "refused")
            assert record["status"] == status
            assert status == 200 or record["billed_ms"] == 0
        assert host.fetch("/fn/f00?head&raw=warm").text == "warm"
        assert good.right > 0
    host.wait_log("event=descriptors .*LimitNOFILE")
    ended = [r for r in host.books.of_type("instance")
             if r["reason"] == "descriptors"]
    assert ended, "no instance ended for want of descriptors"
    assert host.roles()["gateway"] == gateway


@pytest.mark.parametrize("url", ["/fn/cold", "/fn/cold/f", "/fn/good",
                                 "/fn/warm"])
def test_a_start_is_refused_wherever_the_gateways_descriptors_end(
        start_once, programs, url):
    """The limit falls on each descriptor of a start and of an execution in
    turn: the instance's four, a CGI run's three pipes, the connection."""
    host = start_once.host({
        "good.cgi": programs.cgi, "cold.cgi": programs.cgi,
        "warm.fcgi": programs.fcgi, "cold/f.fcgi": programs.fcgi}, {
            "function cold": {"idle": "0"}, "function cold/f": {"idle": "0"},
            "defaults": {"idle": "2s"}, "host": {"max_prepared": "0"}})
    gateway = host.roles()["gateway"]
    with kept(host) as connection:
        in_words(ask(connection, f"{url}?head"), 200)
        host.wait_instances(0)
        before = leaks.at_rest(host)
        statuses = []
        for number in free_numbers(gateway, 14):
            one = host_room.new_id()
            with files_limit(gateway, number):
                answer = ask(connection, f"{url}?head", REQUEST_ID=one)
            statuses.append(in_words(answer, 200, 503))
            record = host.books.wait_request(one)
            assert record["status"] == statuses[-1]
            assert record["outcome"] in ("ok", "refused")
        assert statuses[0] == 503 and statuses[-1] == 200, statuses
        in_words(ask(connection, f"{url}?head"), 200)
        host.wait_instances(0)
        leaks.settle(host, before)
    assert host.roles()["gateway"] == gateway
    books.check_seq(host.books.all(), True)


def crowd(host, stack):
    """Uses the gateway's descriptors up with requests that last."""
    for _ in range(90):
        connection = stack.enter_context(host.connect())
        connection.send(fcgi.request_bytes("/fn/slow?sleep=20000"))
    time.sleep(0.5)


def test_a_crowded_gateway_still_hears_its_spawner(start_once, programs):
    """A new function with an environment, a new configuration, a new log, the
    status: each comes with a descriptor, and none is lost."""
    host = start_once.host({"slow.cgi": programs.cgi}, {
        "function slow": {"queue": "200", "queue_timeout": "60s",
                          "abort_grace": "0"}}, wrap=FEW)
    gateway = host.roles()["gateway"]
    with contextlib.ExitStack() as stack:
        crowd(host, stack)
        for lap in range(8):
            host.sidecar(f"new{lap}", **{"env.word": f"hello{lap}"})
            host.add(f"new{lap}.cgi", programs.cgi)
        host.configure({"defaults": {"idle": "7s"}})
        assert host.verb("reload").returncode == 0
        host.accounting.rename(host.log_dir / "old")
        assert host.verb("reopen").returncode == 0
        status = host.verb("status")
        assert status.returncode == 0 and "slow" in status.stdout
    for lap in range(8):
        answer = host.wait_served(f"/fn/new{lap}?head&env=WORD")
        assert answer.text.strip() == f"WORD=hello{lap}"
    assert host.roles()["gateway"] == gateway, "the gateway was restarted"
    events = [r["event"] for r in books.Books(host.log_dir / "old").of_type(
        "host")]
    # every ten seconds there are totals, where anything was used
    assert [event for event in events if event != "totals"] == [
        "start", "reload", "reopen"]


# ----------------------------------------------------------- the spawner

@pytest.mark.parametrize("url", ["/fn/cold", "/fn/cold/f"])
def test_a_start_is_refused_wherever_the_spawners_descriptors_end(
        start_once, programs, url):
    host = start_once.host({
        "good.cgi": programs.cgi, "cold.cgi": programs.cgi,
        "cold/f.fcgi": programs.fcgi}, {
            "function cold": {"idle": "0"}, "function cold/f": {"idle": "0"},
            "host": {"max_prepared": "0"}})
    roles = host.roles()
    host.fetch("/fn/good?head")
    in_words(host.fetch(f"{url}?head"), 200)
    host.wait_instances(1)
    before = leaks.at_rest(host)
    statuses = []
    with Neighbour(host):
        for number in free_numbers(host.pid, 45):
            one = host_room.new_id()
            with files_limit(host.pid, number):
                answer = host.fetch(f"{url}?head", REQUEST_ID=one)
                time.sleep(0.02)
            statuses.append(in_words(answer, 200, 503))
            record = host.books.wait_request(one)
            assert record["status"] == statuses[-1]
            assert record["outcome"] in ("ok", "refused")
    assert statuses[0] == 503 and statuses[-1] == 200, statuses
    assert sorted(set(statuses)) == [200, 503]
    host.wait_log("event=instance_failed .*Too many open files")
    host.wait_instances(1)
    leaks.settle(host, before)
    assert host.roles() == roles
    for one in host.books.of_type("instance"):
        assert one["reason"] != "died", one


def test_a_spawner_without_descriptors_for_starts_does_the_rest(start_once,
                                                                programs):
    """Instances have used up what they may; roles, commands and what the
    scanner reports have the reserve."""
    host = start_once.host(
        {"good.cgi": programs.cgi, **many(programs, 40)},
        wrap=("prlimit", "--nofile=96:96"))
    gateway = host.roles()["gateway"]
    statuses = [in_words(host.fetch(f"/fn/f{n:02}?head"), 200, 503)
                for n in range(40)]
    assert statuses.count(503) >= 5
    host.sidecar("new", **{"env.word": "hello"})
    host.add("new.cgi", programs.cgi)
    assert host.verb("reload").returncode == 0
    assert host.verb("reopen").returncode == 0
    assert host.verb("status").returncode == 0
    scanner = host.roles()["scanner"]
    os.kill(scanner, 9)
    host.wait_log("role_started which=scanner(.|\n)*"
                  "role_started which=scanner")
    host.wait_log("event=ready")
    assert host.roles()["gateway"] == gateway


# ----------------------------------------------------------- the scanner

def test_a_scanner_without_descriptors_takes_nothing_away(start_once,
                                                          programs):
    host = start_once.host({"good.cgi": programs.cgi, "t/a.cgi": programs.cgi})
    scanner = host.roles()["scanner"]
    for number in free_numbers(scanner, 8):
        with files_limit(scanner, number), Neighbour(host):
            host.add("t/a.cgi", programs.cgi)
            host.sidecar("t/a", **{"env.lap": str(number)})
            time.sleep(0.4)
            in_words(host.fetch("/fn/t/a?head"), 200)
    host.sidecar("t/a", **{"env.lap": "last"})
    until = time.monotonic() + 30
    while "LAP=last" not in host.fetch("/fn/t/a?head&env=LAP").text:
        assert time.monotonic() < until, host.log()[-2000:]
        time.sleep(0.05)
    assert "t/a" in host.verb("list").stdout
