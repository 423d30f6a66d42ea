"""kill -9 of gateway and spawner at every system call of an execution, and of a
rotation: whatever had been done by then, an answer that is whole has its record,
once, and no line is lost or doubled.  strace tells the calls, and then kills
before one of them is done."""
import contextlib
import os
import re
import signal
import subprocess
import time

import pytest

from lib import books, chain, fcgi, host as host_room, proc, programs as room

# 1: at every one of them; else at every so many.
EVERY = int(os.environ.get("FAULT_POINTS", "16"))
CALL = re.compile(r"^(\w+)\(", re.M)
HELD = "?head&raw=0123456789"


@pytest.fixture
def host(start_once, programs):
    made = start_once.host({
        "swiss.cgi": programs.cgi, "warm.fcgi": programs.fcgi,
        "cold/swiss.cgi": programs.cgi},
        {"host": {"max_prepared": "0"}, "function cold/swiss": {"idle": "0"}})
    made.first_key = chain.begin(made)
    made.old, made.whole, made.asked = [], [], []
    return made


@contextlib.contextmanager
def traced(pid, *options):
    strace, = room.need("strace")
    tracer = subprocess.Popen(
        [strace, "-p", str(pid), *options], stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL, text=True, start_new_session=True)
    try:
        said = tracer.stderr.readline()
        assert "attached" in said, said
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
        tracer.stderr.close()


def calls(host, victim, deed):
    """[(a call's name, which of that name)] of the deed, in order."""
    path = host.dir / "calls"
    with traced(host.roles()[victim], "-o", str(path)):
        deed("watched")
        time.sleep(0.1)
    seen, found = {}, []
    for name in CALL.findall(path.read_text()):
        seen[name] = seen.get(name, 0) + 1
        found.append((name, seen[name]))
    return found


def back(host):
    """All that served before serves again."""
    until = time.monotonic() + 30
    for name in ("swiss", "warm"):
        while True:
            try:
                if host.fetch(f"/fn/{name}?head&raw=back").text == "back":
                    break
            except OSError:
                time.sleep(0.01)
            assert time.monotonic() < until, "service is not back"


def kill_at(host, victim, call, number, deed):
    """Whether it was there to be killed."""
    pid, below = host.roles()[victim], proc.descendants(host.pid)
    with traced(pid, "-o", "/dev/null", "-e", f"trace={call}", "-e",
                f"inject={call}:signal=SIGKILL:when={number}"):
        deed(f"{victim}-{call}-{number}")
        time.sleep(0.02)
    facts = proc.stat(pid)
    if facts is not None and facts[1] != "Z":
        return False
    if victim == "spawner":
        host.process.wait(30)
        assert not host_room.wait_gone(below)
        host.start()
    return True


def kill_everywhere(host, victim, deed):
    back(host)
    all_of_them = calls(host, victim, deed)
    killed = []
    for call, number in all_of_them[::EVERY]:
        back(host)
        killed.append(kill_at(host, victim, call, number, deed))
    print(f"{victim}: {sum(killed)} of {len(all_of_them)} points, "
          f"{len(host.whole)} of {len(host.asked)} answers whole")
    assert sum(killed) >= 0.5 * len(killed), f"{killed}: it went other ways"
    back(host)


def asker(host, url):
    """A deed: a request; an answer that is whole is told."""
    def ask(name):
        answer = fcgi.Answer()
        host.asked.append(name)
        try:
            with host.connect(timeout=5) as connection:
                connection.send(fcgi.request_bytes(url + HELD,
                                                   REQUEST_ID=name))
                connection.read_answer(1, answer)
        except (OSError, EOFError):
            return
        if answer.is_complete and answer.status == 200:
            assert answer.text == "0123456789"
            host.whole.append(name)
    return ask


def judge(host):
    """All logs together, against what the clients have."""
    host.stop()
    paths = [path for path in (*host.old, host.accounting) if path.exists()]
    records = [r for path in paths for r in books.Books(path).all()]
    for run in books.runs(records):
        books.check_seq(run, True)
    told = {}
    for record in records:
        if record["type"] == "exec":
            told.setdefault(record["id"], []).append(record)
    assert all(len(found) == 1 for found in told.values()), "recorded twice"
    names = [found[0]["request_id"] for found in told.values()]
    for name in host.asked:
        assert names.count(name) <= 1, f"{name} stands twice"
    by_name = {found[0]["request_id"]: found[0] for found in told.values()}
    for name in host.whole:
        assert name in by_name, f"{name}: a whole answer without a record"
        assert by_name[name]["outcome"] == "ok", by_name[name]
    chain.follow(paths, host.first_key)


@pytest.mark.parametrize("name", ["swiss", "warm", "cold/swiss"])
def test_a_gateway_killed_at_any_call_of_an_execution(host, name):
    kill_everywhere(host, "gateway", asker(host, f"/fn/{name}"))
    judge(host)


def test_a_spawner_killed_at_any_call_of_a_start(host):
    kill_everywhere(host, "spawner", asker(host, "/fn/cold/swiss"))
    judge(host)


@pytest.mark.parametrize("victim", ["gateway", "spawner"])
def test_killed_at_any_call_of_a_rotation(host, victim):
    """The file of before is the log, or the next one, and nothing is in both."""
    def rotate(name):
        place = host.log_dir / f"old.{len(host.old):03}"
        host.old.append(place)
        if host.accounting.exists():
            host.accounting.rename(place)
        host.verb("reopen", timeout=15)
        ask(name)

    ask = asker(host, "/fn/warm")
    kill_everywhere(host, victim, rotate)
    judge(host)
