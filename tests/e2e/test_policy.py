"""Prepared instances, ceilings, min_instances, functions that keep dying."""
import json
import math
import os
import signal
import threading
import time

import pytest

from lib import proc, threads
from lib.host import new_id

FAST = {"defaults": {"idle": "150ms"}}
BROKEN = "#!/bin/sh\nexit 3\n"


def status(host):
    return json.loads(host.verb("status", "--json").stdout)


def crowd(host, url, count):
    """count requests at once, not waited for."""
    return [threads.begin(host.execute, url) for _ in range(count)]


# ------------------------------------------------------------------ prepared


@pytest.fixture(scope="module")
def host(start, programs):
    return start.host({"a.cgi": programs.cgi, "b.fcgi": programs.fcgi,
                       "changing.cgi": programs.cgi,
                       "never.cgi": programs.cgi, "last.cgi": programs.cgi},
                      {**FAST, "function a": {"instances": "1"},
                       "function b": {"instances": "1"}})


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_function_that_scaled_to_zero_finds_a_prepared_sandbox(host, name):
    assert host.execute(f"/fn/{name}?head")[1]["start"] == "fresh"
    host.wait_states(name, ["prepared"])
    # the second waits for the first
    got = threads.all_of(host.execute, [f"/fn/{name}?head&sleep=300"] * 2)
    assert sorted((record["start"], record["cold"]) for _, record in got) == [
        ("prepared", True), ("warm", False)]


def test_a_request_that_finds_one_does_not_need_the_spawner(host):
    host.execute("/fn/a?head")
    host.wait_states("a", ["prepared"])
    spawner = host.roles().get("spawner", host.pid)
    os.kill(spawner, signal.SIGSTOP)
    try:
        _, record = host.execute("/fn/a?head")
    finally:
        os.kill(spawner, signal.SIGCONT)
    assert (record["outcome"], record["start"]) == ("ok", "prepared")


def test_status_shows_prepared_instances_with_their_memory(host):
    host.execute("/fn/a?head")
    one, = host.wait_states("a", ["prepared"])
    assert 20 < one["memory_kib"] < 2048
    assert one["memory_source"] in ("cgroup", "pss")
    assert one["executions"] == 0
    row, = [f for f in status(host)["functions"] if f["function"] == "a"]
    assert (row["prepared"], row["idle"], row["busy"]) == (1, 0, 0)
    assert "prepared" in host.verb("status").stdout


def test_a_function_that_nobody_used_costs_nothing(host):
    assert host.instances_of("never") == []


def test_a_prepared_sandbox_never_serves_an_old_version(host, programs):
    host.execute("/fn/changing?head")
    old, = host.wait_states("changing", ["prepared"])
    host.add("changing.cgi", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n"
             "\\nsecond'\n")
    until = time.monotonic() + 30
    while host.fetch("/fn/changing").text != "second":
        assert time.monotonic() < until
        time.sleep(0.02)
    assert old["instance"] not in [
        i["instance"] for i in host.instances_of("changing")]
    host.wait_states("changing", ["prepared"])
    answer, record = host.execute("/fn/changing")
    assert (answer.text, record["start"]) == ("second", "prepared")


def test_a_reload_with_other_settings_makes_prepared_ones_anew(host):
    host.execute("/fn/last?head")
    old, = host.wait_states("last", ["prepared"])
    host.configure({"function last": {"env.word": "new"}})
    assert host.verb("reload").returncode == 0
    until = time.monotonic() + 30
    while True:
        found = host.instances_of("last")
        if [i["state"] for i in found] == ["prepared"] and \
                found[0]["instance"] != old["instance"]:
            break
        assert time.monotonic() < until, found
        time.sleep(0.03)


def prepared(host):
    return [i["state"] for i in status(host)["instances"]].count("prepared")


def test_prepared_ones_are_bounded_in_number(start_once, programs):
    names = [f"f{i}" for i in range(6)]
    host = start_once.host({f"{n}.cgi": programs.cgi for n in names},
                           {"defaults": {"idle": "100ms"},
                            "host": {"max_prepared": "2"}})
    for name in names:
        host.execute(f"/fn/{name}?head")
        assert prepared(host) <= 2
    until = time.monotonic() + 30
    while [i["state"] for i in status(host)["instances"]] != ["prepared"] * 2:
        assert time.monotonic() < until, status(host)["instances"]
    for _ in range(10):
        assert prepared(host) <= 2
        time.sleep(0.03)


def test_max_prepared_0_keeps_none(start_once, programs):
    host = start_once.host({"a.cgi": programs.cgi},
                           {"defaults": {"idle": "100ms"},
                            "host": {"max_prepared": "0"}})
    host.execute("/fn/a?head")
    until = time.monotonic() + 30
    while status(host)["instances"]:
        assert prepared(host) == 0
        assert time.monotonic() < until, status(host)["instances"]
    time.sleep(0.3)
    assert status(host)["instances"] == []
    assert host.execute("/fn/a?head")[1]["start"] == "fresh"


# ------------------------------------------------------- those that keep dying


def starts_of(host, name):
    """How many instances of the function there have been."""
    return len({r["instance"] for r in host.books.of_type("instance")
                if r["function"] == name})


def most_starts(begun):
    """How often one that never answers may have been started since then: twice,
    and after 250 ms, 500 ms, 1 s, …"""
    return 2 + int(math.log2((time.monotonic() - begun) / 0.25 + 1))


def wait_left_alone(host):
    """`status` says so, in both forms; a pause may be over before it has looked, and
    the next one is longer."""
    until = time.monotonic() + 30
    while True:
        row, = [f for f in status(host)["functions"]
                if f["function"] == "broken"]
        said = host.verb("status").stdout
        if row["throttled_ms"] > 0 and \
                "broken ends before its first answer" in said:
            return
        assert time.monotonic() < until, (row, said)
        host.execute("/fn/broken")


def test_a_function_that_keeps_dying_is_left_alone_and_nobody_else(
        start_once, programs):
    host = start_once.host({"broken.fcgi": BROKEN, "good.fcgi": programs.fcgi})
    host.execute("/fn/good?head")
    begun, answers, told = time.monotonic(), [], []
    while time.monotonic() < begun + 2 or len(told) <= 5:
        assert time.monotonic() < begun + 30
        answers.append(host.execute("/fn/broken"))
        assert host.execute("/fn/good?head&raw=x")[0].text == "x"
        told = [r for _, r in answers if r["instance"] is None]
    assert {a.status for a, _ in answers} == {502}
    assert all(a.is_complete for a, _ in answers)
    assert all(r["billed_ms"] == 0 for r in told)
    count = starts_of(host, "broken")
    assert count <= most_starts(begun), "each request cost a start"
    assert "again and again" in told[-1]["reason"]
    wait_left_alone(host)
    # the mended version is tried at once
    host.add("broken.fcgi", programs.fcgi)
    until = time.monotonic() + 30
    while host.execute("/fn/broken?head&raw=y")[0].status != 200:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_program_that_cannot_be_executed_is_left_alone_too(start_once):
    host = start_once.host({"bad.cgi": "#!/no/such/interpreter\n"})
    begun = time.monotonic()
    answers = [host.execute("/fn/bad") for _ in range(20)]
    assert {a.status for a, _ in answers} == {502}
    count = starts_of(host, "bad")
    assert count <= most_starts(begun)
    assert "interpreter" in answers[0][1]["reason"]


def test_a_cgi_program_that_crashes_is_started_for_each_request(host):
    """Its sandbox lives on: nothing is saved by leaving it alone."""
    for _ in range(6):
        _, record = host.execute("/fn/a?head&kill=11")
        assert (record["outcome"], record["signal"]) == ("crash", 11)
    assert host.execute("/fn/a?head&raw=x")[0].text == "x"


def test_a_request_that_ends_its_program_does_not_keep_it_from_others(
        start_once, programs):
    host = start_once.host({"f.fcgi": programs.fcgi})
    assert host.execute("/fn/f?head&raw=x")[0].text == "x"
    begin = time.monotonic()
    stop = begin + 5
    crashes = []

    def attack():
        while time.monotonic() < stop:
            crashes.append(host.fetch("/fn/f?kill=9").status)

    attackers = [threads.begin(attack) for _ in range(4)]
    good = []
    while time.monotonic() < stop:
        good.append(host.execute("/fn/f?head&raw=x", timeout=30)[0].text)
        time.sleep(0.1)
    for one in attackers:
        one.result()
    told = {r["status"]: r["reason"] for r in host.books.of_type("exec")}
    assert set(crashes) == {502} and len(crashes) > 4, told
    assert set(good) == {"x"}, f"{good.count('x')} of {len(good)} answered"
    # and what it costs is bounded: behind a pause of 250 ms four may start
    # (`instances`), of which the first death is the next pause; an answer
    # between begins a new row, in which four more are free
    pauses = (time.monotonic() - begin) / 0.25 + 1
    assert starts_of(host, "f") <= 4 * pauses + 8 * (len(good) + 1)


# -------------------------------------------------------------- min_instances


def test_min_instances_are_booted_before_the_first_request(start_once,
                                                           programs):
    host = start_once.host({"kept.fcgi": programs.fcgi},
                           {"function kept": {"min_instances": "2",
                                              "idle": "100ms"}})
    host.wait_states("kept", ["idle", "idle"])
    answer, record = host.execute("/fn/kept?head&self")
    assert (record["cold"], record["start"]) == (False, "warm")
    assert "served=1" in answer.text
    # they outlast the idle window, and one is prepared for a third request
    host.wait_states("kept", ["idle", "idle", "prepared"])
    time.sleep(0.4)
    before = host.wait_states("kept", ["idle", "idle", "prepared"])
    # one that dies is made good
    _, record = host.execute("/fn/kept?head&kill=9")
    assert record["outcome"] == "crash"
    after = host.wait_states("kept", ["idle", "idle", "prepared"])
    assert {i["instance"] for i in after} != {i["instance"] for i in before}


def test_min_instances_of_a_changed_function_run_the_new_version(start_once,
                                                                programs):
    host = start_once.host({"kept.fcgi": BROKEN},
                           {"function kept": {"min_instances": "1"}})
    time.sleep(1)
    assert starts_of(host, "kept") <= 5, "it is started without a pause"
    host.wait_log("event=program_ended function=kept .*exit=3")
    assert {r["exit"] for r in host.books.of_type("instance")} == {3}
    host.add("kept.fcgi", programs.fcgi)
    host.wait_states("kept", ["idle"])
    _, record = host.execute("/fn/kept?head")
    assert (record["outcome"], record["start"]) == ("ok", "warm")


# ------------------------------------------------------------------- ceilings


def test_at_the_hosts_ceiling_an_idle_instance_gives_way(start_once, programs):
    host = start_once.host({f"{n}.cgi": programs.cgi for n in "abc"},
                           {"host": {"max_instances": "2",
                                     "max_prepared": "0"}})
    first = host.execute("/fn/a?head")[1]["instance"]
    host.execute("/fn/b?head")
    assert host.execute("/fn/c?head")[1]["outcome"] == "ok"
    record = host.books.wait(lambda r: r["type"] == "instance" and
                             r["instance"] == first, what="its end")
    assert record["reason"] == "ceiling"


def test_a_tenant_that_fills_the_host_gives_places_to_another(start_once,
                                                              programs):
    host = start_once.host({"alice/f.cgi": programs.cgi,
                            "bob/f.cgi": programs.cgi},
                           {"host": {"max_instances": "3",
                                     "max_prepared": "0"}})
    alice = crowd(host, "/fn/alice/f?head&sleep=300", 40)
    until = time.monotonic() + 30
    while len(host.instances_of("alice/f")) < 3:
        assert time.monotonic() < until
        time.sleep(0.02)
    begun = time.monotonic()
    _, record = host.execute("/fn/bob/f?head")
    waited = time.monotonic() - begun
    left = sum(not one.done() for one in alice)
    outcomes = [one.result()[1]["outcome"] for one in alice]
    assert record["outcome"] == "ok"
    assert left > 15, f"bob waited {waited:.2f} s, for alice's whole queue"
    assert outcomes == ["ok"] * 40


def test_a_tenant_at_its_own_ceiling_waits_alone(start_once, programs):
    host = start_once.host(
        {"alice/f.cgi": programs.cgi, "alice/g.cgi": programs.cgi,
         "alice/hasty.cgi": programs.cgi, "bob/f.cgi": programs.cgi},
        {"host": {"max_prepared": "0"},
         "function alice/hasty": {"queue_timeout": "500ms"},
         "tenant alice": {"max_instances": "2", "queue_timeout": "30s"}})
    slow = crowd(host, "/fn/alice/f?head&sleep=3000", 2)
    until = time.monotonic() + 30
    while [i["state"] for i in host.instances_of("alice/f")] != ["busy"] * 2:
        assert time.monotonic() < until
        time.sleep(0.02)
    answer, record = host.execute("/fn/alice/hasty?head")
    assert (answer.status, record["outcome"]) == (503, "refused")
    assert answer.header("Retry-After")
    _, record = host.execute("/fn/bob/f?head")
    # whoever waits for alice waits for the rest of her three seconds
    assert record["outcome"] == "ok" and record["queue_us"] < 1500000
    assert [one.result()[1]["outcome"] for one in slow] == ["ok"] * 2
    assert host.execute("/fn/alice/g?head")[1]["outcome"] == "ok"


# W44
def test_max_requests_do_not_end_all_at_the_same_moment(start_once, programs):
    host = start_once.host({"f.cgi": programs.cgi},
                           {"defaults": {"max_requests": "40"}})
    done, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            done.append(host.fetch("/fn/f?head&sleep=3",
                                   REQUEST_ID=new_id()).status)

    clients = [threads.begin(ask) for _ in range(4)]
    until = time.monotonic() + 30
    while len([r for r in host.books.of_type("instance")
               if r["reason"] == "max_requests"]) < 8:
        assert time.monotonic() < until
        time.sleep(0.05)
    stop.set()
    for one in clients:
        one.result()
    assert set(done) == {200}
    counts = [r["executions"] for r in host.books.of_type("instance")
              if r["reason"] == "max_requests"]
    assert min(counts) >= 36 and max(counts) <= 40
    assert len(set(counts)) > 1, counts
    assert proc.is_alive(host.pid)
