"""Spares: prepared instances whose program is booted before a request comes."""
import json
import os
import re
import signal
import time

import pytest

from lib import books

FAST = {"idle": "150ms", "instances": "1"}


def runtime(spare, **keys):
    """Whose interpreter lies in each function's folder, and is our test program:
    it knows nothing of spares."""
    keys = {"extensions": "box", "protocol": "fastcgi", "spare": spare,
            "command": "/fn/box %f",
            "preload": "json urllib.request", **keys}
    return {"runtime box": {k: str(v) for k, v in keys.items()},
            "defaults": FAST}


def number(record):
    """Of a record's instance, as `status` has it."""
    return int(record["instance"].rsplit("-", 1)[1])


def function(programs, name):
    return {f"{name}/main.box": "one\n", f"{name}/box": programs.fcgi}


@pytest.fixture(scope="module")
def host(start, programs):
    return start.host({**function(programs, "a"), **function(programs, "b"),
                       **function(programs, "c"),
                       "b.ini": "[function]\nspare = no\n"}, runtime(4))


def test_a_function_that_scaled_to_zero_finds_its_program_booted(host):
    _, first = host.execute("/fn/a?head&self")
    assert first["start"] == "fresh"
    waiting, = host.wait_states("a", ["spare"])
    assert waiting["executions"] == 0
    _, second = host.execute("/fn/a?head&self")
    assert (second["start"], second["cold"], number(second)) == \
        ("spare", True, waiting["instance"])
    # as long as it is warm it is no more than that
    waiting, = host.wait_states("a", ["spare"])
    assert waiting["instance"] != number(second)


def test_status_says_what_a_spare_holds_and_how_that_is_known(host):
    host.execute("/fn/a?head")
    spare, _, _ = host.wait_booted("a")
    is_counted = (host.leaf_of(spare) / "memory.current").exists()
    assert spare["memory_source"] == ("cgroup" if is_counted else "pss")
    # more than an init alone
    host.execute("/fn/b?head")
    prepared, = host.wait_states("b", ["prepared"])
    assert spare["memory_kib"] > prepared["memory_kib"] > 0
    rows = host.verb("status").stdout
    assert re.search(rf" spare .* {spare['memory_source']}$", rows, re.M), rows


@pytest.mark.any_user
def test_so_it_does_in_an_ordinary_users_host(start_once, reachable, programs):
    start_once.installed = reachable
    host = start_once.host(function(programs, "a"), runtime(1), as_user=True)
    host.execute("/fn/a?head")
    until = time.monotonic() + 30
    while True:
        spare, = host.wait_states("a", ["spare"])
        # an init alone has some 40 KiB
        if (spare["memory_kib"] or 0) > 100:
            break
        assert time.monotonic() < until, spare
    assert spare["memory_source"] in ("cgroup", "pss")


def test_an_init_that_does_not_answer_keeps_nobodys_status(host):
    host.execute("/fn/a?head")
    spare, init, _ = host.wait_booted("a")
    if spare["memory_source"] == "cgroup":
        pytest.skip("NOT RUN: the kernel counts the memory here")
    os.kill(init, signal.SIGSTOP)
    try:
        silent, = host.instances_of("a")
    finally:
        os.kill(init, signal.SIGCONT)
    assert silent["instance"] == spare["instance"]
    assert (silent["memory_kib"], silent["memory_source"]) == (None, None)
    # what it says late is heard, and it goes on
    until = time.monotonic() + 30
    while host.instances_of("a")[0]["memory_source"] != "pss":
        assert time.monotonic() < until
    _, record = host.execute("/fn/a?head")
    assert (record["start"], number(record)) == ("spare", spare["instance"])


def test_a_request_that_finds_a_spare_does_not_need_the_spawner(host):
    host.execute("/fn/a?head")
    host.wait_states("a", ["spare"])
    spawner = host.roles().get("spawner", host.pid)
    os.kill(spawner, signal.SIGSTOP)
    try:
        _, record = host.execute("/fn/a?head")
    finally:
        os.kill(spawner, signal.SIGCONT)
    assert (record["outcome"], record["start"]) == ("ok", "spare")


def test_its_program_is_told_to_wait_and_what_to_load_and_no_request_says_so(
        host):
    host.execute("/fn/a?head")
    host.wait_states("a", ["spare"])
    answer, record = host.execute("/fn/a?head&process&raw=%0A&environ")
    assert record["start"] == "spare"
    process, request = answer.text.split("\n\n", 1) \
        if "\n\n" in answer.text else answer.text.split("GATEWAY_INTERFACE", 1)
    assert "FCGI_HOST_SPARE=1" in process
    assert "FCGI_HOST_PRELOAD=json urllib.request" in process
    assert "FCGI_HOST_SPARE" not in request
    assert "FCGI_HOST_PRELOAD" not in request


def test_one_that_is_started_by_its_request_is_told_nothing(host):
    answer, record = host.execute("/fn/c?head&process")
    assert record["start"] == "fresh"
    assert "FCGI_HOST_SPARE" not in answer.text


def test_a_sidecar_can_refuse_it(host):
    host.execute("/fn/b?head")
    host.wait_states("b", ["prepared"])


def test_a_spare_never_serves_an_old_version(host):
    host.execute("/fn/c?head")
    old, = host.wait_states("c", ["spare"])
    host.add("c/main.box", "two\n")
    host.wait_retired("c", old)
    new, = host.wait_states("c", ["spare"])
    _, record = host.execute("/fn/c?head")
    assert (record["start"], number(record)) == ("spare", new["instance"])


def test_one_that_dies_while_it_waits_keeps_nobody_from_being_served(host):
    host.execute("/fn/a?head")
    old, _, program = host.wait_booted("a")
    os.kill(program, signal.SIGKILL)
    host.wait_retired("a", old)
    answer, record = host.execute("/fn/a?head")
    assert (answer.status, record["outcome"]) == (200, "ok")


def test_what_spares_used_stands_in_the_books_and_they_balance(start_once,
                                                               programs):
    host = start_once.host(function(programs, "a"), runtime(1))
    for _ in range(3):
        host.execute("/fn/a?head&cpu=5")
        host.wait_states("a", ["spare"])
    host.stop()
    records = books.Books(host.accounting).all()
    ended = {r["instance"]: r for r in records if r["type"] == "instance"}
    served = [r for r in records if r["type"] == "exec"]
    assert [r["start"] for r in served] == ["fresh", "spare", "spare"]
    for record in served:
        assert ended[record["instance"]]["start_cpu_us"] > 0
    # the last one has served nobody, and says what it cost
    idle, = [r for i, r in ended.items()
             if i not in [r["instance"] for r in served]]
    assert idle["executions"] == 0 and idle["start_cpu_us"] > 0
    event, recorded, unrecorded, clock = books.balances(records)[-1]
    assert (event, unrecorded) == ("stop", 0)
    assert abs(recorded - clock) <= clock / 100, (recorded, clock)


def test_a_reload_without_spares_ends_them(start_once, programs):
    host = start_once.host(function(programs, "a"), runtime(1))
    host.execute("/fn/a?head")
    host.wait_states("a", ["spare"])
    host.configure(runtime(0))
    assert host.verb("reload").returncode == 0
    host.wait_states("a", ["prepared"])


@pytest.mark.parametrize("spare, sections, said", [
    (17, {}, "17 spares of all [runtime] sections together, but [host] "
     "max_prepared = 16, of which they are: no more than that"),
    (1, {"host": {"max_prepared": "0"}},
     "1 spares of all [runtime] sections together, but [host] max_prepared = 0, "
     "of which they are: there are none"),
    (1, {"defaults": {"spare": "no"}},
     "[runtime] has spare, but no function may have one"),
    (1, {"defaults": {"spare": "no"}, "tenant t": {"spare": "yes"}}, None),
    (1, {"defaults": {"spare": "no"}, "function f": {"spare": "yes"}}, None),
    (16, {}, None),
    (0, {"host": {"max_prepared": "0"}}, None)])
def test_check_tells_of_spares_that_can_never_be(start_once, spare, sections,
                                                 said):
    host = start_once.host({}, {**runtime(spare), **sections},
                           is_started=False)
    found = json.loads(host.verb("check", "--json").stdout)
    spares = [text for text in found["warnings"] if "spare" in text]
    if said is None:
        assert spares == []
    else:
        assert len(spares) == 1 and spares[0].startswith(said), spares


def test_check_tells_of_spares_that_fill_the_machine(start_once):
    host = start_once.host({}, {**runtime(1024), "host": {
        "max_prepared": "1024"}}, is_started=False)
    mib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE") >> 20
    found = json.loads(host.verb("check", "--json").stdout)
    spares = [text for text in found["warnings"] if "spares" in text]
    assert len(spares) == (5 * 1024 > mib // 8), spares
    assert all("1024 spares hold 5120 MiB at least" in text for text in spares)


def test_a_cgi_runtime_cannot_have_them(start_once, programs):
    host = start_once.host(function(programs, "a"), runtime(0))
    host.configure(runtime(1, protocol="cgi"))
    found = host.verb("check")
    assert found.returncode != 0
    assert "spare: a program of protocol = cgi is started by its request" in \
        found.stdout + found.stderr
