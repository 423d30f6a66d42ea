"""kill -9 of every part at every system call of an execution, and of a rotation:
whatever had been done by then, an answer that is whole has its record, once, and
no line is lost or doubled.  programs/before.c counts the calls, and kills before
one of them is done."""
import contextlib
import os
import re
import subprocess
import time

import pytest

from lib import books, chain, fcgi, host as host_room, load as load_room, proc
from lib import programs as room

# 1: at every one of them; else at every so many.
EVERY = int(os.environ.get("FAULT_POINTS", "16"))
FEW = max(1, EVERY // 4)  # of a deed of few calls
HELD = "?head&raw=0123456789"
LONG = ("?field=Content-Type:+text/plain&field=Content-Length:+10&end"
        "&raw=0123456789")
SAYS = "printf 'Content-Type: text/plain\\n\\nit is %d'\n"


@pytest.fixture
def host(start_once, programs):
    made = start_once.host({
        "swiss.cgi": programs.cgi, "warm.fcgi": programs.fcgi,
        "cold/swiss.cgi": programs.cgi},
        {"host": {"max_prepared": "0"}, "function cold/swiss": {"idle": "0"}})
    made.first_key = chain.begin(made)
    made.old, made.whole, made.asked = [], [], []
    made.programs = programs
    return made


@pytest.fixture
def alone(start_once, programs):
    """A host whose function is told of later; one instance serves it at a time,
    so that whoever asks next waits for who was hunted."""
    made = start_once.host(
        {}, {"host": {"max_prepared": "0"}, "defaults": {"instances": "1"},
             "function cold/swiss": {"idle": "0"}})
    made.first_key = chain.begin(made)
    made.old, made.programs = [], programs
    return made


class Hunt:
    """Kills before one call, and tells what it has seen; of number 0 it only
    looks on."""

    def __init__(self, host, number, whose, pid):
        self.number, self.calls, self.has_killed = number, 0, False
        self.process = subprocess.Popen(
            [host.programs.before, str(number), whose, str(pid)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            start_new_session=True, preexec_fn=room.end_with_parent)

    def __enter__(self):
        # the call that it waits in is begun anew, perhaps before it is told
        while (line := self.process.stdout.readline()) != "attached\n":
            assert line, "it cannot be traced"
            self.calls += 1
        return self

    def __exit__(self, *_):
        time.sleep(0.02)  # what is done behind the deed has points, too
        self.process.terminate()
        lines = self.process.stdout.read().split()
        self.process.wait(30)
        self.process.stdout.close()
        self.has_killed = "killed" in lines
        self.calls += len(lines) - self.has_killed


def sweep(host, whose, find, deed, stride):
    """The hunts of a deed that is done again and again: who is found is killed
    before its first call, its next, and so on, until the deed is over before it
    comes to that.  The last one, and those that killed."""
    with Hunt(host, 0, whose, find(host)) as seen:
        deed(seen)
    hunts = []
    for number in range(1, 4 * seen.calls + 200, stride):
        with Hunt(host, number, whose, find(host)) as hunt:
            deed(hunt)
        if not hunt.has_killed:
            print(f"killed at {len(hunts)} of {hunt.calls} calls")
            return hunt, hunts
        hunts.append(hunt)
    raise AssertionError(f"of {seen.calls} calls {hunt.number} were killed")


def back(host):
    """All that served before serves again."""
    until = time.monotonic() + 30
    for name in ("swiss", "warm"):
        while True:
            try:
                if host.fetch(f"/fn/{name}?head&raw=back").text == "back":
                    break
            except (OSError, EOFError):
                pass
            assert time.monotonic() < until, "service is not back"
            time.sleep(0.01)


def kill_everywhere(host, victim, deed):
    """Service is back after each; the spawner's end is everybody's, and it is
    started anew."""
    hunts, below = [], []

    def find(host):
        if victim == "spawner" and hunts and hunts[-1].has_killed:
            host.process.wait(30)
            assert not host_room.wait_gone(below)
            host.start()
        back(host)
        below[:] = proc.descendants(host.pid)
        return host.roles()[victim]

    def do(hunt):
        hunts.append(hunt)
        deed(f"{victim}-{hunt.number}")

    last, _ = sweep(host, "self", find, do, EVERY)
    print(f"{len(host.whole)} of {len(host.asked)} answers whole")
    assert f"{victim}-{last.number}" in host.whole
    back(host)


def asker(host, url):
    """A deed: a request; an answer that is whole is told."""
    def ask(name):
        answer = fcgi.Answer()
        host.asked.append(name)
        try:
            with host.connect(timeout=30) as connection:
                connection.send(fcgi.request_bytes(url + HELD,
                                                   REQUEST_ID=name))
                connection.read_answer(1, answer)
        except (OSError, EOFError):
            return
        if answer.is_complete and answer.status == 200:
            assert answer.text == "0123456789"
            host.whole.append(name)
    return ask


def judge_books(host):
    """All logs together: {an execution's id: its record}."""
    paths = [path for path in (*host.old, host.accounting) if path.exists()]
    records = [r for path in paths for r in books.Books(path).all()]
    for run in books.runs(records):
        books.check_seq(run, True)
    told = {}
    for record in records:
        if record["type"] == "exec":
            assert told.setdefault(record["id"], record) is record, \
                f"recorded twice: {record}"
    chain.follow(paths, host.first_key)
    return told


def judge(host):
    """The books against what the clients have."""
    host.stop()
    told = list(judge_books(host).values())
    names = [record["request_id"] for record in told]
    for name in host.asked:
        assert names.count(name) <= 1, f"{name} stands twice"
    by_name = dict(zip(names, told))
    for name in host.whole:
        assert name in by_name, f"{name}: a whole answer without a record"
        assert by_name[name]["outcome"] == "ok", by_name[name]


@pytest.mark.parametrize("name", ["swiss", "warm", "cold/swiss"])
def test_a_gateway_killed_at_any_call_of_an_execution(host, name):
    kill_everywhere(host, "gateway", asker(host, f"/fn/{name}"))
    judge(host)


def test_a_spawner_killed_at_any_call_of_a_start(host):
    kill_everywhere(host, "spawner", asker(host, "/fn/cold/swiss"))
    judge(host)


def killed(host, victim, number):
    """kill -9 of a role before that call of it, of whichever request it is; the
    spawner is started anew."""
    below, pid = proc.descendants(host.pid), host.roles()[victim]
    with Hunt(host, number, "self", pid) as hunt:
        until = time.monotonic() + 30
        while proc.is_alive(pid):
            assert time.monotonic() < until, f"call {number} never comes"
            time.sleep(0.005)
    assert hunt.has_killed
    if victim == "spawner":
        host.process.wait(30)
        assert not host_room.wait_gone(below)
        host.start()
    back(host)


@pytest.mark.parametrize("victim, last", [("gateway", 160), ("spawner", 64)])
def test_killed_at_any_call_with_eight_requests_in_flight(host, victim, last):
    """Of functions that are warm and of one that is started each time; by then
    each request is at another point."""
    load = load_room.Load("sleep=30&", least=0)
    for kind in (load_room.Raw, load_room.Kept):
        load.add(kind, ("swiss", "cold/swiss", "warm"), host.socket, threads=4)
    with load:
        for number in range(1, last, 2 * EVERY):
            load.wait_answered(8)
            killed(host, victim, number)
        load.wait_answered(8)
    host.stop()
    told = judge_books(host).values()
    load.judge(told)
    assert {r["outcome"] for r in told} >= {"ok", "lost"}


# ------------------------------------------- init, its program and the scanner

def judge_answer(answer):
    """All of the function's, or in words that there is none, or visibly cut."""
    if answer.is_complete and answer.status == 502:
        assert len(answer.text) > 10, answer
    elif answer.is_complete:
        assert (answer.status, answer.text) == (200, "0123456789"), answer
    else:
        assert "0123456789".startswith(answer.text), answer


def judge_death(hunt, causes, ends):
    """The record of a request that had to do with somebody's death; and that of
    the instance, from its end's reason by its number."""
    record, answer = hunt.record, hunt.answer
    is_whole = answer.is_complete and answer.status == 200
    judge_answer(answer)
    if record["outcome"] == "ok":  # it was over
        assert is_whole, (hunt.number, record, answer)
    elif record["outcome"] == "crash":
        assert record["cause"] in causes, (hunt.number, record)
        assert record["signal"] == 9, (hunt.number, record)
    else:  # nobody had it yet
        assert record["outcome"] == "error", (hunt.number, record)
        assert record["cause"] in (None, "answer"), (hunt.number, record)
        assert answer.status == 502, (hunt.number, answer)
    if record["cause"] == "died":
        assert ends[record["instance"]] == "died", (hunt.number, record)


def attempt(host, name):
    """A deed: a request to what is served, whose end the hunt tells."""
    def ask(hunt):
        hunt.answer, request_id = fcgi.Answer(), host_room.new_id()
        with host.connect() as connection:
            connection.send(fcgi.request_bytes(f"/fn/{name}{LONG}",
                                               REQUEST_ID=request_id))
            with contextlib.suppress(ConnectionResetError):
                connection.read_answer(1, hunt.answer)
        hunt.record = host.books.wait_request(request_id)
    return ask


def strike_all(host, name, whose, find, stride):
    """The hunts that killed, and those of them that an execution did not
    survive.  No role is replaced, and what is asked for then is served."""
    def find_served(host):
        host.wait_served(f"/fn/{name}?head")
        return find(host)

    host.add(f"{name}.{host.kind}", getattr(host.programs, host.kind))
    host.wait_served(f"/fn/{name}?head")
    roles = host.roles()
    last, hunts = sweep(host, whose, find_served, attempt(host, name), stride)
    assert last.record["outcome"] == "ok" and last.answer.is_complete
    assert host.roles() == roles, "a role was replaced"
    return hunts, [h for h in hunts if h.record["outcome"] != "ok"]


def judge_deaths(host, hunts, causes):
    host.stop()
    judge_books(host)
    ended = host.books.of_type("instance")
    ends = {record["instance"]: record["reason"] for record in ended}
    assert len(ends) == len(ended), "an instance ended twice"
    for hunt in hunts:
        judge_death(hunt, causes, ends)


def find_init(host):
    init, = host.wait_instances(1)
    return init


def find_program(host):
    program, = proc.descendants(find_init(host))
    return program


def test_an_init_killed_at_any_call_of_an_execution(alone):
    alone.kind = "cgi"
    hunts, bad = strike_all(alone, "swiss", "self", find_init, FEW)
    assert len(bad) >= len(hunts) / 2
    judge_deaths(alone, hunts, ["died"])


@pytest.mark.parametrize("kind", ["cgi", "fcgi"])
def test_a_program_killed_at_any_call_of_an_execution(alone, kind):
    """CGI: its sandbox outlives it.  FastCGI: it lives with its program."""
    alone.kind = kind
    is_cgi = kind == "cgi"
    hunts, bad = strike_all(alone, "swiss", "children" if is_cgi else "self",
                            find_init if is_cgi else find_program, FEW)
    assert len(bad) >= (len(hunts) if is_cgi else len(hunts) / 4)
    if is_cgi:
        assert len({h.record["instance"] for h in hunts}) == 1
    judge_deaths(alone, hunts, ["signal"])


@pytest.mark.parametrize("kind", ["cgi", "fcgi"])
def test_a_sandbox_killed_at_any_call_from_its_start_on(alone, kind):
    """Each execution has its own: who enters it, its init, or the program."""
    alone.kind = kind
    hunts, bad = strike_all(alone, "cold/swiss", "children",
                            lambda host: host.pid, 2 * EVERY - 1)
    assert len(bad) >= len(hunts) / 2
    judge_deaths(alone, hunts, ["died", "signal"])


def replaced(host, number):
    """A function says another number, and then the next answers do."""
    host.add("word.sh", SAYS % number)
    until = time.monotonic() + 30
    while (text := host.fetch("/fn/word").text) != f"it is {number}":
        assert re.fullmatch(r"it is -?\d+", text), text
        assert time.monotonic() < until, f"{text!r} is still served"
        time.sleep(0.005)


def test_a_scanner_killed_at_any_call_of_a_replacement(alone):
    """It has no part in an execution; what it did not tell of the next does."""
    def replace(hunt):
        replaced(alone, hunt.number)
        ask(hunt)
        judge_answer(hunt.answer)
        assert hunt.record["outcome"] == "ok" and hunt.answer.is_complete

    def find(host):
        pid = host.wait_role("scanner")
        replaced(host, -1)  # it has looked at all
        return pid

    ask = attempt(alone, "swiss")
    alone.add("swiss.cgi", alone.programs.cgi)
    alone.add("word.sh", SAYS % -2)
    alone.wait_served("/fn/swiss?head")
    alone.wait_served("/fn/word")
    _, hunts = sweep(alone, "self", find, replace, EVERY)
    assert len(hunts) >= 2
    alone.stop()
    judge_books(alone)


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
