"""The books balance: what the records say that was used is what the clock of
all instances together shows, whatever the functions do and whoever is killed."""
import contextlib
import itertools
import os
import random
import signal
import threading
import time

import pytest

from lib import books, fcgi, proc

SECONDS = 11  # the first totals are told after ten
SEED = 5
CORES = os.cpu_count()

# tenant/function?steps: threads, children, work behind the answer, daemons that
# spin while nothing is asked for, crashes, time-outs, memory, endings
LOAD = """a/c?threads=3,30&head
a/c?forks=3,20&head
a/f?threads=2,25&head
a/f?forks=2,25&head
b/f?head&after=40
b/f?cpu=20&head
b/f?head&daemon=60
c/c?head&daemon=60
c/c?cpu=15&kill=11
c/f?cpu=15&kill=11
c/f?head&cpu=10&exit=3
d/late?cpu=2000
d/late?head&out=100&hang
d/zero?cpu=5&head
d/zero?sys=10&head
d/small?hold=60000&cpu=10&head""".split()


@pytest.fixture(scope="module")
def host(start, programs):
    made = start.host({
        **{f"{tenant}/{kind}.{ending}": getattr(programs, ending)
           for tenant in "abc" for kind, ending in (("c", "cgi"),
                                                    ("f", "fcgi"))},
        "d/late.fcgi": programs.fcgi, "d/zero.cgi": programs.cgi,
        "d/small.cgi": programs.cgi, "spin/f.fcgi": programs.fcgi}, {
            "defaults": {"idle": "2s", "instances": "2"},
            "function d/late": {"timeout": "150ms"},
            "function d/zero": {"idle": "0"},
            "function d/small": {"memory": "32M"},
            "function spin/f": {"idle": "10m"}})
    assert made.find_cgroup() is not None, "no instance has a clock"
    return made


def drive(host, seed, until):
    load = LOAD[:]
    random.Random(seed).shuffle(load)
    for url in itertools.cycle(load):
        if time.monotonic() > until:
            break
        try:
            host.fetch("/fn/" + url)
        except (OSError, EOFError):
            pass  # the gateway was killed


def spin(host):
    """It goes on while nobody asks for anything, and is nobody's execution."""
    host.fetch(f"/fn/spin/f?head&daemon={SECONDS * 1000}")


def inits(host):
    return [pid for pid in host.instances()
            if (proc.stat(pid) or [0, 0, 0])[2] == host.pid]


def disturb(host, until):
    """Kills instances and, once, the gateway; rotates the log, once."""
    rng = random.Random(SEED)
    acts = 0
    while time.monotonic() < until - 1:
        time.sleep(0.8)
        acts += 1
        if acts == 3:
            os.kill(host.wait_role("gateway"), signal.SIGKILL)
            host.wait_role("gateway")
            spin(host)
        elif acts == 6:
            host.accounting.rename(host.log_dir / "a.old")
            assert host.verb("reopen").returncode == 0
        else:
            found = inits(host)
            for pid in rng.sample(found, min(2, len(found))):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def die(host):
    """Whole instances, one of which is certainly in the middle of an answer:
    those that disturb() hits may all be idle."""
    with host.connect() as connection:
        connection.send(fcgi.request_bytes("/fn/a/f?head&out=10&hang"))
        connection.read_answer(stop=lambda answer: b"\r\n\r\n" in answer.stdout)
        for pid in inits(host):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(EOFError, OSError):
            connection.read_answer()


@pytest.fixture(scope="module")
def records(host):
    until = time.monotonic() + SECONDS
    spin(host)
    clients = [threading.Thread(target=drive, args=(host, n, until))
               for n in range(3)]
    for client in clients:
        client.start()
    disturb(host, until)
    for client in clients:
        client.join()
    die(host)
    host.stop()
    return [one for path in (host.log_dir / "a.old", host.accounting)
            for one in books.Books(path).all()]


def test_every_kind_of_work_and_end_was_in_the_load(records):
    outcomes = {r["outcome"] for r in records if r["type"] == "exec"}
    assert {"ok", "error", "crash", "timeout"} <= outcomes
    causes = {r["cause"] for r in records if r["type"] == "exec"}
    assert {"signal", "exit", "deadline", "died"} <= causes
    events = {r["event"] for r in records if r["type"] == "host"}
    assert {"start", "restart", "reopen", "totals", "stop"} <= events


def test_all_records_together_are_the_clock_of_all_instances(records):
    event, recorded, unrecorded, clock = books.balances(records)[-1]
    assert (event, unrecorded) == ("stop", 0)
    assert clock > 5000000
    assert 0.99 <= recorded / clock <= 1.01, (recorded, clock)


def test_while_it_runs_the_rest_is_said_to_be_open(records):
    """Of what is being made or ended in that moment nobody knows yet."""
    for event, recorded, unrecorded, clock in books.balances(records)[:-1]:
        off = abs(recorded + unrecorded - clock)
        assert off <= 0.01 * clock + 50000, \
            (event, recorded, unrecorded, clock)


def test_no_entry_is_negative_or_more_than_there_was(records):
    for record in records:
        wrong = {k: v for k, v in record.items()
                 if isinstance(v, int) and not isinstance(v, bool) and v < 0}
        assert not wrong, record
    assert not books.impossible(records, CORES)


def test_each_tenants_work_is_charged_to_him(records):
    spent = {}
    for one in records:
        if one["type"] != "host":
            tenant = one["tenant"]
            spent[tenant] = spent.get(tenant, 0) + books.cpu_of(one)
    assert set(spent) == {"a", "b", "c", "d", "spin"}
    assert min(spent.values()) > 50000, spent


def test_spinning_between_requests_is_its_instances(records):
    idle = sum(r["idle_cpu_us"] for r in records
               if r["type"] == "instance" and r["tenant"] == "spin")
    used = sum(r["cpu_us"] for r in records
               if r["type"] == "exec" and r["tenant"] == "spin")
    assert idle > 200000 and used < 100000, (idle, used)


def test_an_instance_sums_up_its_executions(records):
    """Those whose records were not lost with their gateway."""
    sums = {}
    for one in records:
        if one["type"] == "exec":
            sums[one["instance"]] = sums.get(one["instance"], 0) + one["cpu_us"]
    for one in records:
        if one["type"] == "instance":
            assert one["exec_cpu_us"] == sums.get(one["instance"], 0), one
