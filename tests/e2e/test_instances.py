"""Instances: how many start, how long they stay, who waits, who is killed."""
import time

import pytest

from lib import fcgi, proc, threads


@pytest.fixture(scope="module")
def host(start, programs):
    names = ("one.cgi", "herd.cgi", "more.cgi", "window.cgi", "zero.cgi",
             "full.cgi", "patient.cgi", "late.cgi", "tree.cgi", "stall.cgi",
             "endless.cgi", "busy.cgi", "peak.cgi")
    functions = {name: programs.cgi for name in names}
    functions["late/f.fcgi"] = programs.fcgi
    functions["tree/f.fcgi"] = programs.fcgi
    functions["zero/f.fcgi"] = programs.fcgi
    return start.host(functions, {
        "function more": {"instances": "3"},
        "function window": {"idle": "1500ms"},
        "function zero": {"idle": "0"},
        "function zero/f": {"idle": "0"},
        "function full": {"instances": "1", "queue": "2"},
        "function patient": {"instances": "1", "queue_timeout": "300ms"},
        "function late": {"timeout": "1s"},
        "function late/f": {"timeout": "1s"},
        "function tree": {"timeout": "1s"},
        "function tree/f": {"timeout": "1s"},
        "function stall": {"timeout": "0", "stall_timeout": "1s"},
        "function endless": {"timeout": "1500ms", "stall_timeout": "1s"},
        "function busy": {"instances": "2", "idle": "500ms"},
        "function peak": {"instances": "4", "idle": "1s"}})


def ended(host, instance, timeout=30):
    return host.books.wait(lambda r: r["type"] == "instance" and
                           r["instance"] == instance, timeout,
                           f"record of instance {instance}")


def test_requests_one_after_the_other_share_one_instance(host):
    records = [host.execute("/fn/one?head")[1] for _ in range(5)]
    assert len({r["instance"] for r in records}) == 1
    assert [r["cold"] for r in records] == [True] + [False] * 4
    assert [r["start"] for r in records] == ["fresh"] + ["warm"] * 4


# W46
def test_a_herd_on_a_cold_function_waits_for_few_starts(host):
    """One is asked for, and the next when that one is up and others wait."""
    got = threads.all_of(host.execute, ["/fn/herd?head&raw=x"] * 8)
    assert [a.text for a, _ in got] == ["x"] * 8
    cold = [r for _, r in got if r["cold"]]
    assert 1 <= len(cold) <= 4
    assert {r["instance"] for r in cold} == {r["instance"] for _, r in got}
    waits = sorted(r["queue_us"] for _, r in got)
    assert waits[-1] > 0, "eight at once, and none has waited"


def test_more_start_only_while_requests_wait_and_up_to_the_bound(host):
    got = threads.all_of(host.execute, ["/fn/more?head&sleep=400&raw=x"] * 9)
    assert [a.status for a, _ in got] == [200] * 9
    names = {r["instance"] for _, r in got}
    assert len(names) == 3, f"{len(names)} instances"
    again = [host.execute("/fn/more?head")[1] for _ in range(3)]
    assert len({r["instance"] for r in again}) == 1
    assert all(r["instance"] in names for r in again)


# W43
def test_an_instance_ends_after_its_idle_window(host):
    _, one = host.execute("/fn/window?head")
    time.sleep(0.5)
    _, two = host.execute("/fn/window?head")
    assert two["instance"] == one["instance"]
    record = ended(host, one["instance"])
    assert record["executions"] == 2
    assert record["idle_us"] >= 1900000
    assert record["lifetime_us"] >= record["idle_us"]
    assert "idle" in record["reason"]
    _, three = host.execute("/fn/window?head")
    assert three["instance"] != one["instance"] and three["cold"] is True


# W56
def test_a_pool_shrinks_after_a_peak(host):
    """Who comes alone is served by the instance used last, so that the windows
    of the others run out; by turns none would ever end."""
    until, peak, ended_ones = time.monotonic() + 60, set(), []
    while len(peak) < 4:
        peak |= {record["instance"] for _, record in threads.all_of(
            host.execute, ["/fn/peak?head&sleep=500"] * 4)}
        assert time.monotonic() < until, "four at once have not four"
    while len(ended_ones) < 3:
        assert host.fetch("/fn/peak?head&raw=x").text == "x"
        assert time.monotonic() < until, "it does not shrink"
        ended_ones = [r for r in host.books.all() if r["type"] == "instance"
                      and r["instance"] in peak]
    assert {r["reason"] for r in ended_ones} == {"idle"}


@pytest.mark.parametrize("name", ["zero", "zero/f"])
def test_idle_zero_gives_every_execution_a_fresh_sandbox(host, name):
    records = [host.execute(f"/fn/{name}?head&keep=x")[1] for _ in range(3)]
    assert len({r["instance"] for r in records}) == 3
    assert all(r["cold"] is True for r in records)
    for record in records:
        assert ended(host, record["instance"])["executions"] == 1


# W11
def test_a_full_queue_is_503_with_retry_after_at_once(host):
    first = []
    for query in ("head&sleep=4000", "head", "head"):
        first.append(threads.begin(host.execute, f"/fn/full?{query}"))
        host.wait_asked("full", len(first))
    started = time.monotonic()
    answer, record = host.execute("/fn/full?head")
    took = time.monotonic() - started
    results = [one.result() for one in first]
    assert took < 2, f"the refusal took {took:.2f} s"
    assert (answer.is_complete, answer.status) == (True, 503)
    assert answer.protocol_status == fcgi.REQUEST_COMPLETE
    assert int(answer.header("Retry-After")) >= 1
    assert (record["outcome"], record["status"]) == ("refused", 503)
    assert (record["billed_ms"], record["instance"]) == (0, None)
    assert [a.status for a, _ in results] == [200] * 3


# W11
def test_who_waits_too_long_is_503_with_retry_after(host):
    host.wait_served("/fn/patient?head")
    holder = threads.begin(host.execute, "/fn/patient?head&sleep=3000")
    host.wait_asked("patient", 1)
    started = time.monotonic()
    answer, record = host.execute("/fn/patient?head")
    took = time.monotonic() - started
    holder.result()
    assert 0.25 < took < 2.5, f"{took:.2f} s"
    assert (answer.status, answer.protocol_status) == \
        (503, fcgi.REQUEST_COMPLETE)
    assert int(answer.header("Retry-After")) >= 1
    assert (record["outcome"], record["billed_ms"]) == ("refused", 0)
    assert 290000 <= record["queue_us"] < 2500000


@pytest.mark.parametrize("name", ["late", "late/f"])
def test_the_deadline_is_504_and_the_instance_ends(host, name):
    started = time.monotonic()
    answer, record = host.execute(f"/fn/{name}?sleep=30000&head")
    assert time.monotonic() - started < 15
    assert (answer.is_complete, answer.status) == (True, 504)
    assert (record["outcome"], record["status"]) == ("timeout", 504)
    assert record["run_us"] + record["init_us"] >= 995000
    assert record["billed_ms"] >= 995
    if name == "late/f":
        ended(host, record["instance"])
    answer, record = host.execute(f"/fn/{name}?head&raw=again")
    assert (answer.status, answer.text) == (200, "again")


def test_a_deadline_in_mid_answer_never_looks_whole(host):
    answer, record = host.execute("/fn/late?head&out=500&sleep=30000")
    assert not answer.is_complete and not answer.stdout_ended
    assert answer.body, "what came before the deadline was held back"
    assert (record["outcome"], record["status"]) == ("timeout", 200)


@pytest.mark.parametrize("name", ["tree", "tree/f"])
# W41
def test_the_deadline_kills_the_whole_tree(host, name):
    before = set(host.instances())
    answer, record = host.execute(
        f"/fn/{name}?stubborn&daemon=60000&orphan=60000&hang")
    assert (answer.status, record["outcome"]) == (504, "timeout")
    until = time.monotonic() + 30
    while time.monotonic() < until:
        left = [pid for pid in set(host.instances()) - before
                if proc.program(pid) != "fcgi-host-init"]
        if not left:
            break
        time.sleep(0.05)
    assert not left, f"still there: {left}"
    # on a busy machine far less than the deadline's second
    assert record["cpu_us"] > 30000, "the tree's work is not in the record"


# W42
def test_no_progress_is_stopped_by_the_stall_deadline(host):
    answer, record = host.execute("/fn/stall?head&tick=5,300&sleep=30000")
    assert answer.body.count(b"tick") == 5, "it was stopped while it worked"
    assert not answer.is_complete
    assert record["outcome"] == "stalled"
    assert record["run_us"] >= 2000000
    answer, record = host.execute("/fn/stall?sleep=30000")
    assert (answer.status, record["outcome"]) == (504, "stalled")


# W42
def test_the_total_deadline_holds_where_progress_never_ends(host):
    answer, record = host.execute("/fn/endless?head&tick=1000,50")
    assert not answer.is_complete
    assert record["outcome"] == "timeout"
    assert record["run_us"] < 10000000


# W17
def test_retiring_never_takes_an_instance_with_a_request_in_hand(host):
    """Executions far longer than the idle window, and requests that arrive
    just when it ends."""
    bad = []
    for lap in range(6):
        got = threads.all_of(host.execute,
                             ["/fn/busy?head&sleep=700&raw=whole"] * 2)
        bad += [a for a, _ in got if a.text != "whole" or not a.is_complete]
        time.sleep(0.48 + lap * 0.01)
    assert not bad


def test_every_execution_here_has_one_record_and_seq_is_whole(host):
    records = host.books.all()
    seqs = [r["seq"] for r in records]
    assert seqs == list(range(1, len(seqs) + 1))
    ids = [r["id"] for r in records if r["type"] == "exec"]
    assert len(ids) == len(set(ids))


def test_system_v_objects_have_ceilings_in_every_sandbox(start_once):
    """Its own, however many sandboxes there were before."""
    host = start_once.host({"limits.sh": "#!/bin/sh\n"
                            "printf 'Content-Type: text/plain\\n\\n'\n"
                            "ipcs -l\n"}, {"defaults": {"idle": "0"}})
    for _ in range(80):
        text = host.fetch("/fn/limits").text
        assert "max number of segments = 64\n" in text
        assert "max total shared memory (kbytes) = 131076\n" in text
        assert "max queues system wide = 16\n" in text
        assert "max number of arrays = 64\n" in text
        assert "max semaphores per array = 250\n" in text
