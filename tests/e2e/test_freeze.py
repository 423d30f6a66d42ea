"""freeze_idle: what a FastCGI instance may do between two executions: nothing."""
import json
import os
import signal
import time

import pytest

from lib import threads

FREEZE = {"defaults": {"freeze_idle": "yes", "idle": "60s"}}


def instances(host):
    return json.loads(host.verb("status", "--json").stdout)["instances"]


def wait_frozen(host, count=1, timeout=30):
    """Until so many are frozen, and no other is there."""
    until = time.monotonic() + timeout
    while True:
        found = [i["state"] for i in instances(host)
                 if i["state"] != "prepared"]
        if found == ["frozen"] * count:
            return
        assert time.monotonic() < until, f"{found}, not {count} frozen"
        time.sleep(0.02)


def leaves(host, word):
    """The leaves of the host whose cgroup.events have the line."""
    return [path.parent for path in
            host.find_cgroup().glob("*/**/cgroup.events")
            if path.parent.name.startswith("i") and
            word in path.read_text().splitlines()]


def wait_leaf(host, word="frozen 1", timeout=30):
    """The one leaf with the line; the kernel freezes by and by."""
    until = time.monotonic() + timeout
    while len(leaves(host, word)) != 1:
        assert time.monotonic() < until, leaves(host, word)
        time.sleep(0.02)
    return leaves(host, word)[0]


def usage_us(leaf):
    return int((leaf / "cpu.stat").read_text().split()[1])


@pytest.fixture
def host(start_once, programs):
    return start_once.host({"f.fcgi": programs.fcgi, "c.cgi": programs.cgi},
                           FREEZE)


def test_what_comes_after_the_answer_goes_on_with_the_next_request(host):
    _, first = host.execute("/fn/f?head&after=1500")
    wait_frozen(host)
    leaf = wait_leaf(host)
    before = usage_us(leaf)
    time.sleep(0.5)
    assert usage_us(leaf) == before
    assert first["cpu_us"] + before < 1200000
    answer, second = host.execute("/fn/f?head&self")
    assert answer.status == 200 and "served=2" in answer.text
    assert (first["instance"], second["start"]) == (second["instance"], "warm")
    assert second["cpu_us"] > 250000


def test_a_child_that_it_left_behind_stands_still_too(host):
    host.execute("/fn/f?head&daemon=20000")
    leaf = wait_leaf(host)
    before = usage_us(leaf)
    time.sleep(0.3)
    assert usage_us(leaf) == before
    # and goes on in each execution, as far as a busy machine lets it
    until = time.monotonic() + 30
    while usage_us(leaf) <= before + 50000:
        assert time.monotonic() < until, usage_us(leaf) - before
        host.execute("/fn/f?head&sleep=200")


def test_many_requests_find_it_awake_one_after_the_other_and_at_once(host):
    for i in range(100):
        assert host.fetch(f"/fn/f?head&raw={i}").text == str(i)
    answers = threads.all_of(host.fetch, [
        f"/fn/f?head&sleep=50&raw={i}" for i in range(60)])
    assert [a.text for a in answers] == [str(i) for i in range(60)]
    wait_frozen(host, 4)
    assert {r["outcome"] for r in host.books.executions()} == {"ok"}


def test_a_large_body_and_a_large_answer_pass_through_one_that_was_frozen(host):
    body = os.urandom(3000000)
    for _ in range(3):
        assert host.fetch("/fn/f?head&echo", body).body == body
        wait_frozen(host)


def test_without_the_key_and_in_a_cgi_function_nothing_is_frozen(start_once,
                                                                 programs):
    host = start_once.host({"f.fcgi": programs.fcgi, "c.cgi": programs.cgi},
                           {"function c": {"freeze_idle": "yes"}})
    host.execute("/fn/f?head&after=300")
    host.execute("/fn/c?head")
    until = time.monotonic() + 30
    while {i["state"] for i in instances(host)} - {"idle", "prepared"}:
        assert time.monotonic() < until, instances(host)
    time.sleep(0.3)
    assert {i["state"] for i in instances(host)} <= {"idle", "prepared"}
    assert not leaves(host, "frozen 1")


def test_a_program_that_is_started_ahead_gets_ready_first(start_once,
                                                          programs):
    host = start_once.host({"f.fcgi": programs.fcgi}, {
        "defaults": {"freeze_idle": "yes"}, "function f":
        {"min_instances": "1"}})
    until = time.monotonic() + 30
    while "idle" not in [i["state"] for i in instances(host)]:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert not leaves(host, "frozen 1")
    assert host.execute("/fn/f?head")[1]["start"] == "warm"
    wait_leaf(host)


@pytest.mark.parametrize("how", ["idle", "reload", "stop", "gateway",
                                 "changed"])
def test_one_that_is_frozen_ends_as_any_other(start_once, programs, how):
    host = start_once.host(
        {"f.fcgi": programs.fcgi}, {"host": {"max_prepared": "0"}, "defaults":
         {"freeze_idle": "yes", "idle": "2s" if how == "idle" else "60s"}})
    host.execute("/fn/f?head&daemon=60000")
    leaf = wait_leaf(host)
    pids = [int(pid) for pid in (leaf / "cgroup.procs").read_text().split()]
    assert len(pids) >= 3
    if how == "reload":
        host.configure({"defaults": {"freeze_idle": "yes", "memory": "100M"}})
        assert host.verb("reload").returncode == 0
    elif how == "changed":
        host.sidecar("f", memory="100M")
    elif how == "gateway":
        os.kill(host.roles()["gateway"], signal.SIGKILL)
    elif how == "stop":
        host.stop()
    until = time.monotonic() + 30
    while leaf.exists():
        assert time.monotonic() < until, "it is still there"
        time.sleep(0.02)
    while any(os.path.exists(f"/proc/{pid}") for pid in pids):
        assert time.monotonic() < until, "some live on without it"
        time.sleep(0.02)
    if how != "stop":
        host.wait_served("/fn/f?head")


def test_the_deadline_counts_for_one_that_was_frozen(start_once, programs):
    host = start_once.host({"f.fcgi": programs.fcgi}, {
        "defaults": {"freeze_idle": "yes", "timeout": "2s"}})
    host.execute("/fn/f?head")
    wait_frozen(host)
    answer, record = host.execute("/fn/f?hang")
    assert (answer.status, record["outcome"]) == (504, "timeout")
    assert host.execute("/fn/f?head")[0].status == 200


def test_a_functions_own_file_asks_for_it_and_cannot_refuse_it(start_once,
                                                               programs):
    host = start_once.host(
        {"alice/f.fcgi": programs.fcgi, "bob/f.fcgi": programs.fcgi,
         "alice/f.ini": "[function]\nfreeze_idle = no\n",
         "bob/f.ini": "[function]\nfreeze_idle = yes\n"},
        {"tenant alice": {"freeze_idle": "yes"}})
    details = {f["function"]: f["detail"] for f in map(
        json.loads, host.verb("list", "--json").stdout.splitlines())}
    assert "freeze_idle" in details["alice/f"] and not details["bob/f"]
    host.execute("/fn/alice/f?head")
    host.execute("/fn/bob/f?head")
    wait_frozen(host, 2)


def test_the_books_balance_with_frozen_instances(start_once, programs):
    host = start_once.host({"f.fcgi": programs.fcgi}, FREEZE)
    threads.all_of(host.fetch, ["/fn/f?head&cpu=30&after=30"] * 40)
    host.stop()
    records = host.books.all()
    mine = sum(r["cpu_us"] for r in records if r["type"] == "exec") + \
        sum(r["start_cpu_us"] + r["idle_cpu_us"] for r in records
            if r["type"] == "instance")
    assert 0.99 <= mine / records[-1]["cgroup_cpu_us"] <= 1.01
