"""kill -9 at chosen points of an execution: before its start, between head and
body, with the last byte held, around the write of its record, and behind it.

At each point: one record of the execution, of the right outcome; the client is
never told that the answer is whole; and service is back."""
import contextlib
import os
import pathlib
import signal
import subprocess
import time

import pytest

from lib import books, fcgi, host as host_room, load as load_room, proc
from lib import programs as room

HELD = "field=Content-Type:+text/plain&field=Content-Length:+10&end"
URLS = {"cgi": "/fn/swiss", "fastcgi": "/fn/warm"}
BOTH = pytest.mark.parametrize("kind", ["cgi", "fastcgi"])
HOSTS = pytest.mark.parametrize("victim", ["gateway", "spawner"])


@pytest.fixture
def host(start_once, programs):
    return start_once.host({
        "swiss.cgi": programs.cgi, "warm.fcgi": programs.fcgi,
        "cold/swiss.cgi": programs.cgi, "cold/warm.fcgi": programs.fcgi},
        # nothing goes on behind a request but the request
        {"host": {"max_prepared": "0"}})


class Asked:
    """One request that is under way, and what its client has got of it."""

    def __init__(self, host, url):
        self.host, self.id = host, host_room.new_id()
        self.connection, self.answer = host.connect(), fcgi.Answer()
        self.connection.send(fcgi.request_bytes(url, REQUEST_ID=self.id))

    def read_until(self, body):
        """The answer's body is this so far, and nothing follows."""
        self.connection.read_answer(
            1, self.answer, lambda a: a.body == body and a.head)
        assert self.answer.body == body and not self.answer.is_complete

    def end(self, *bodies):
        """It ends with one of these, and is not told to be whole."""
        try:
            self.connection.read_answer(1, self.answer)
        except ConnectionResetError:
            pass
        self.connection.close()
        assert self.answer.body in bodies, self.answer
        assert not self.answer.is_complete, self.answer


def strike(host, victim, tracer=None):
    """kill -9 of a role; the spawner's end is everybody's, and it is started
    anew.  The reason in the record of what was in flight."""
    pid = host.roles()[victim]
    below = proc.descendants(host.pid)
    os.kill(pid, signal.SIGKILL)
    if victim == "spawner":
        host.process.wait(30)
    if tracer is not None:  # it holds the dead gateway, too
        tracer.kill()
        tracer.wait()
    if victim == "gateway":
        return "the gateway died"
    left = host_room.wait_gone(below)
    assert not left, [(p, proc.program(p)) for p in left]
    host.start()
    return "the host died"


def settled(host, asked, outcome, reason=None):
    """Service is back, the books are whole, and the execution is in them
    once."""
    until = time.monotonic() + 30
    while True:
        try:
            if host.fetch("/fn/swiss?head&raw=back").text == "back":
                break
        except ConnectionError:
            time.sleep(0.005)
        assert time.monotonic() < until, "service is not back"
    record = host.books.wait_request(asked.id)
    assert record["outcome"] == outcome, record
    if reason:
        assert record["reason"] == reason
    host.stop()
    runs = []
    for one in host.books.all():
        if one["type"] == "host" and one["event"] == "start":
            runs.append([])
        runs[-1].append(one)
    for run in runs:
        books.check_seq(run, True)
    assert len(host.books.by_request(asked.id)) == 1
    return record


def balanced(host, used_us):
    """What is in no other record is lost_cpu_us: little, as of these two
    executions nearly all is recorded or nearly all lost."""
    if host.find_cgroup() is None:
        return
    lost = sum(r.get("lost_cpu_us", 0) for r in host.books.all())
    spent = sum(r["cpu_us"] for r in host.books.executions())
    assert 100000 <= spent + lost <= 1.3 * (used_us + 50000), (spent, lost)


@contextlib.contextmanager
def held_in_write(pid, log, where):
    """The process is held at its next write to the log: delay_enter, before the
    kernel has done it, or delay_exit, before the process knows."""
    strace, = room.need("strace")
    tracer = subprocess.Popen(
        [strace, "-p", str(pid), "-o", "/dev/null", "-e", "trace=write",
         "-P", str(log), "-e", f"inject=write:{where}=60000000"],
        stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        start_new_session=True)
    try:
        said = tracer.stderr.readline()
        while "attached" not in said:
            assert said and "Requested path" in said, said
            said = tracer.stderr.readline()
        yield tracer
    finally:
        tracer.kill()
        tracer.wait()
        tracer.stderr.close()


def wait_held(pid):
    """Until a tracer has stopped it, and goes on holding it."""
    until, since = time.monotonic() + 30, None
    while since is None or time.monotonic() < since + 0.3:
        assert time.monotonic() < until, "it never came to that point"
        facts = proc.stat(pid)
        if facts[1] != "t":
            since = None
        elif since is None:
            since = time.monotonic()
        time.sleep(0.005)


# ------------------------------------------------------------ gateway, spawner

@BOTH
@HOSTS
def test_killed_while_a_request_waits_for_its_start(host, kind, victim):
    """The spawner is stopped: the instance that was asked for never comes."""
    spawner = host.roles()["spawner"]
    os.kill(spawner, signal.SIGSTOP)
    asked = Asked(host, URLS[kind].replace("/fn/", "/fn/cold/") + "?head")
    asked.connection.wait_taken()
    time.sleep(0.3)
    if victim == "gateway":
        os.kill(host.roles()["gateway"], signal.SIGKILL)
        os.kill(spawner, signal.SIGCONT)
        reason = "the gateway died"
    else:
        reason = strike(host, victim)
    asked.end(b"")
    record = settled(host, asked, "lost", reason)
    assert record["instance"] is None and record["run_us"] == 0


@BOTH
@HOSTS
def test_killed_between_head_and_body(host, kind, victim):
    asked = Asked(host, URLS[kind] + "?head&sleep=20000&raw=x")
    asked.read_until(b"")
    reason = strike(host, victim)
    asked.end(b"")
    record = settled(host, asked, "lost", reason)
    assert record["run_us"] > 0


@BOTH
@HOSTS
def test_killed_while_the_last_byte_is_held(host, kind, victim):
    asked = Asked(host, f"{URLS[kind]}?{HELD}&raw=0123456789&sleep=20000")
    asked.read_until(b"012345678")
    reason = strike(host, victim)
    asked.end(b"012345678")
    settled(host, asked, "lost", reason)


@BOTH
@HOSTS
@pytest.mark.parametrize("where, outcome", [("delay_enter", "lost"),
                                            ("delay_exit", "ok")])
def test_killed_around_the_write_of_the_record(host, kind, victim, where,
                                               outcome):
    """Written, it stands and is none of those that are lost, even if nobody
    lived to note that; either way its answer was not released."""
    host.execute(URLS[kind] + "?head&cpu=50")
    gateway = host.roles()["gateway"]
    with held_in_write(gateway, host.accounting, where) as tracer:
        asked = Asked(host, f"{URLS[kind]}?{HELD}&raw=0123456789&cpu=50")
        wait_held(gateway)
        assert host.books.holds(asked.id) == (outcome == "ok")
        reason = strike(host, victim, tracer)
    asked.end(b"012345678", b"")
    record = settled(host, asked, outcome, reason if outcome == "lost" else
                     None)
    balanced(host, record["cpu_us"] + 50000)


# More than a socket takes, however it is cut into pieces.
MANY = 294912


def read_until_recorded(host, asked):
    """As little as that takes: how much lies in the socket before the gateway
    keeps the rest depends on the size of each piece."""
    until, waiting = time.monotonic() + 30, -1
    while not host.books.holds(asked.id):
        assert time.monotonic() < until, "no record"
        before, waiting = waiting, asked.connection.count_waiting()
        if waiting == before > 0:
            asked.connection.take(16384)
        time.sleep(0.1)
    assert host.books.wait_request(asked.id)["outcome"] == "ok"


def is_kept(asked, size):
    """Whether the gateway has some of the body still, once it sends no more."""
    before, waiting = -1, asked.connection.count_waiting()
    while waiting != before:
        time.sleep(0.3)
        before, waiting = waiting, asked.connection.count_waiting()
    return len(asked.connection.pending) + waiting < size


def ask_and_leave_unread(host):
    """An answer of some size of which a part is still the gateway's."""
    for size in range(MANY, MANY + 20 * 20480, 20480):
        asked = Asked(host, f"/fn/swiss?head&out={size}")
        read_until_recorded(host, asked)
        if is_kept(asked, size):
            return asked, size
        asked.connection.close()  # all of it had room in the socket
    raise AssertionError("the socket takes whatever comes")


@HOSTS
def test_killed_while_the_client_has_not_read_all(host, victim):
    """The answer is recorded and lies in buffers that die with the gateway."""
    asked, size = ask_and_leave_unread(host)
    strike(host, victim)
    with contextlib.suppress(ConnectionResetError):
        asked.connection.read_answer(1, asked.answer)
    assert not asked.answer.is_complete
    assert len(asked.answer.body) < size
    asked.connection.close()
    settled(host, asked, "ok")


# ------------------------------------------------------------------ under load

def judged(host, load, asked, outcome):
    """All the load, and each of these once with that outcome."""
    host.stop()
    records = host.books.all()
    for run in books.runs(records):
        books.check_seq(run, True)
    load.judge(records)
    for one in asked:
        record, = host.books.by_request(one.id)
        assert record["outcome"] == outcome, record


@pytest.fixture
def load(host, programs):
    """Eight requests in flight at any time; none of them for `held`."""
    host.add("held.fcgi", programs.fcgi)
    host.wait_served("/fn/held?head")
    made = load_room.Load("sleep=30&", least=1)
    for kind in (load_room.Raw, load_room.Kept):
        made.add(kind, ("swiss", "warm", "cold/swiss"), host.socket, threads=4)
    return made


@HOSTS
def test_killed_at_chosen_points_with_eight_more_in_flight(host, load, victim):
    all_asked = []
    with load:
        for query, body in (("?head&sleep=20000&raw=x", b""),
                            (f"?{HELD}&raw=0123456789&sleep=20000",
                             b"012345678")):
            load.wait_answered(8)
            asked = Asked(host, "/fn/held" + query)
            asked.read_until(body)
            strike(host, victim)
            asked.end(body)
            all_asked.append(asked)
        load.wait_answered(8)
    judged(host, load, all_asked, "lost")


@pytest.mark.parametrize("victim", ["init", "program"])
def test_an_instance_killed_with_eight_more_in_flight_cuts_none(host, load,
                                                                victim):
    """But the one that it served."""
    all_asked, roles = [], host.roles()
    with load:
        for query, body in (("?head&cpu=20&sleep=20000", b""),
                            (f"?{HELD}&raw=0123456789&cpu=20&sleep=20000",
                             b"012345678")):
            load.wait_answered(8)
            asked = Asked(host, "/fn/held" + query)
            asked.read_until(body)
            program, = [pid for pid in host.instances()
                        if proc.program(pid).startswith("held.")]
            os.kill(program if victim == "program" else proc.stat(program)[2],
                    signal.SIGKILL)
            asked.connection.read_answer(1, asked.answer)
            asked.connection.close()
            all_asked.append(asked)
        load.wait_answered(8)
    load.check()
    assert host.roles() == roles
    judged(host, load, all_asked, "crash")


# ------------------------------------------------------- init and its program

def find_victim(host, victim):
    """The one init, or the program that it runs."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        facts = [(pid, proc.stat(pid)) for pid in host.instances()]
        inits = [pid for pid, fact in facts if fact and fact[2] == host.pid]
        ran = [pid for pid, fact in facts if fact and fact[2] in inits]
        if ran:
            parent = proc.stat(ran[0])
            return ran[0] if victim == "program" else parent[2]
        time.sleep(0.01)
    raise AssertionError("no program runs")


def wait_busy(pid):
    """Until a program has used a millisecond of a processor."""
    until = time.monotonic() + 30
    while int(pathlib.Path(f"/proc/{pid}/schedstat").read_text()
              .split()[0]) < 1000000:
        assert time.monotonic() < until, f"{pid} computes nothing"
        time.sleep(0.01)


# What the client has when the instance is killed, and whether what it gets then
# is whole: 502 in words, a cut answer, or all that the function had to say.
POINTS = [("?cpu=20&sleep=20000&head", None, 502),
          ("?head&cpu=20&sleep=20000", b"", None),
          (f"?{HELD}&raw=0123456789&cpu=20&sleep=20000", b"012345678", 200)]


@BOTH
@pytest.mark.parametrize("victim", ["init", "program"])
@pytest.mark.parametrize("query, body, status", POINTS,
                         ids=["before-head", "after-head", "last-byte-held"])
def test_an_instance_killed_at_a_point_is_a_crash_and_no_more(
        host, kind, victim, query, body, status):
    roles = host.roles()
    asked = Asked(host, URLS[kind] + query)
    if body is not None:
        asked.read_until(body)
    wait_busy(find_victim(host, "program"))
    os.kill(find_victim(host, victim), signal.SIGKILL)
    if status is None:
        asked.end(body)
    else:
        answer = asked.connection.read_answer(1, asked.answer)
        assert answer.is_complete and answer.status == status, answer
        asked.connection.close()
    assert host.roles() == roles
    record = settled(host, asked, "crash")
    assert record["cpu_us"] > 0


def test_a_scanner_killed_in_the_middle_of_executions_cuts_none(host):
    asked = Asked(host, "/fn/swiss?head&sleep=500&raw=whole")
    asked.read_until(b"")
    os.kill(host.roles()["scanner"], signal.SIGKILL)
    asked.connection.read_answer(1, asked.answer)
    assert asked.answer.is_complete and asked.answer.text == "whole"
    asked.connection.close()
    settled(host, asked, "ok")
