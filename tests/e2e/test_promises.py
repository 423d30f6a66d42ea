"""The promises of the books, each with a test that tries to break it."""
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

from lib import books, fcgi, host as host_room, threads, web


@pytest.fixture(scope="module")
def host(start, programs):
    return start.host({
        "swiss.cgi": programs.cgi, "warm.fcgi": programs.fcgi,
        "full.cgi": programs.cgi, "late.cgi": programs.cgi,
        "late/f.fcgi": programs.fcgi, "left.cgi": programs.cgi}, {
            "function full": {"instances": "1", "queue": "1",
                              "queue_timeout": "200ms"},
            "function late": {"timeout": "500ms"},
            "function late/f": {"timeout": "500ms"},
            "function left": {"abort_grace": "100ms"}})


@pytest.fixture(scope="module")
def nginx(start, host):
    return start.nginx(host)


@pytest.fixture(scope="module")
def apache(start, host):
    return start.apache(host)


# -------------------------------------------------------------- promise 1

ENDS = [
    ("ok", "/fn/swiss?head"), ("error", "/fn/swiss?head&exit=1"),
    ("error", "/fn/swiss?raw=junk%0a%0a"), ("crash", "/fn/swiss?kill=11"),
    ("crash", "/fn/swiss?head&out=99&kill=9"), ("ok", "/fn/warm?head"),
    ("crash", "/fn/warm?head&out=99&kill=11"),
    ("timeout", "/fn/late?hang"), ("timeout", "/fn/late?head&out=10&hang"),
    ("timeout", "/fn/late/f?head&out=10&hang")]


def test_every_end_has_exactly_one_record(host):
    """All at once, three times; then as many records as requests."""
    host.fetch("/fn/warm?head")  # what never answered would be left alone
    wanted = {host_room.new_id(): end for end in ENDS * 3}
    threads.all_of(lambda one: host.fetch(wanted[one][1], REQUEST_ID=one),
                   wanted)
    for request_id, (outcome, url) in wanted.items():
        record = host.books.wait_request(request_id)
        assert record["outcome"] == outcome, (url, record)
    books.check_seq(host.books.all(), True)


def test_a_refused_request_has_exactly_one_record(host):
    host.wait_served("/fn/full?head")
    running = threads.begin(
        host.execute, "/fn/full?err=it-is-full&head&sleep=2000")
    host.wait_log("it-is-full")
    ids = [host_room.new_id() for _ in range(7)]
    threads.all_of(lambda one: host.fetch("/fn/full?head", REQUEST_ID=one), ids)
    outcomes = [host.books.wait_request(one)["outcome"] for one in ids]
    assert outcomes == ["refused"] * 7
    assert running.result()[1]["outcome"] == "ok"


@pytest.mark.parametrize("url", ["/fn/left?head&tick=100,50",
                                 "/fn/left?sleep=30000"])
def test_an_aborted_request_has_exactly_one_record(host, url):
    request_id = host_room.new_id()
    connection = host.connect()
    connection.send(fcgi.request_bytes(url, REQUEST_ID=request_id))
    time.sleep(0.3)
    connection.close()
    record = host.books.wait_request(request_id)
    assert record["outcome"] == "aborted"
    assert record["run_us"] < 5000000


def test_a_killed_gateway_leaves_one_record_of_each_execution(start_once,
                                                              programs):
    """Some are done, some are running when it dies; its successor settles."""
    host = start_once.host({"swiss.cgi": programs.cgi,
                            "warm.fcgi": programs.fcgi},
                           {"defaults": {"instances": "8"}})
    done = [host_room.new_id() for _ in range(5)]
    for one in done:
        host.fetch("/fn/swiss?head", REQUEST_ID=one)
    running = [host_room.new_id() for _ in range(6)]
    connections = []
    for place, one in enumerate(running):
        connections.append(host.connect())
        connections[-1].send(fcgi.request_bytes(
            f"/fn/{'swiss' if place % 2 else 'warm'}?head&sleep=20000",
            REQUEST_ID=one))
    time.sleep(0.5)
    gateway = host.roles()["gateway"]
    os.kill(gateway, signal.SIGKILL)
    for connection in connections:
        try:
            assert not connection.read_answer().is_complete
        except ConnectionResetError:
            pass
        connection.close()
    answer = fcgi.Answer()
    until = time.monotonic() + 15
    while answer.text != "back":
        assert time.monotonic() < until, host.log()[-3000:]
        try:
            answer = host.fetch("/fn/swiss?head&raw=back", timeout=5)
        except OSError:
            pass
        time.sleep(0.1)
    for one in done:
        assert host.books.wait_request(one)["outcome"] == "ok"
    for one in running:
        record = host.books.wait_request(one)
        assert record["outcome"] == "lost", record
        assert record["function"] in ("swiss", "warm")
    assert host.roles()["gateway"] != gateway
    host.stop()
    books.check_seq(host.books.all(), True)


# -------------------------------------------------------------- promise 2

LENGTH = "field=Content-Type:+text/plain&field=Content-Length:+5000&end"


@pytest.mark.parametrize("url", [
    f"/fn/swiss?{LENGTH}&out=5000", f"/fn/swiss?{LENGTH}&out=5000&cpu=50",
    f"/fn/warm?{LENGTH}&out=5000", "/fn/swiss?head&out=5000",
    "/fn/warm?head&out=5000", "/fn/warm?head"])
def test_no_last_byte_comes_before_the_record(host, url):
    """The moment that a client could know the answer to be complete, the
    line is in the file."""
    has_length = "Length" in url
    for _ in range(30):
        request_id = host_room.new_id()
        with host.connect() as connection:
            connection.send(fcgi.request_bytes(url, REQUEST_ID=request_id))
            answer = connection.read_answer(
                stop=lambda a: a.stdout_ended or
                (has_length and len(a.body) >= 5000))
            is_written = host.books.holds(request_id)
        assert is_written, f"complete without its record: {answer!r}"


def test_the_last_byte_waits_for_the_end_of_the_function(host):
    """What is not the last byte flows; the last one comes when the function
    has ended and its whole time is known."""
    request_id = host_room.new_id()
    with host.connect() as connection:
        started = time.monotonic()
        connection.send(fcgi.request_bytes(
            f"/fn/swiss?{LENGTH}&out=5000&sleep=3000", REQUEST_ID=request_id))
        early = connection.read_answer(stop=lambda a: len(a.body) >= 4000)
        assert time.monotonic() - started < 2.8, "the answer was held back"
        assert len(early.body) < 5000
        late = connection.read_answer(answer=early)
        assert time.monotonic() - started >= 2.99
        assert host.books.holds(request_id)
    assert len(late.body) == 5000 and late.is_complete
    record = host.books.wait_request(request_id)
    assert record["run_us"] >= 2990000


@pytest.mark.parametrize("method,query,status", [
    ("HEAD", "head&sleep=100", 200), ("HEAD", f"{LENGTH}&sleep=100", 200),
    ("GET", "field=Status:+204&field=Content-Type:+a/b&end&sleep=100", 204),
    ("GET", "field=Status:+304&field=Content-Type:+a/b&end&sleep=100", 304),
    ("GET", "field=Content-Type:+a/b&field=Content-Length:+0&end&sleep=100",
     200)])
@pytest.mark.parametrize("function", ["swiss", "warm"])
def test_an_answer_without_a_body_waits_for_its_record(host, nginx, function,
                                                       method, query, status):
    """There the header alone is the whole answer."""
    for port in (nginx.plain, nginx.stream):
        before = len(host.books.executions(function))
        with web.Client(port) as client:
            client.ask(f"/fn/{function}?{query}", method)
            head = client.read_head()
            after = len(host.books.executions(function))
        assert head.status == status
        assert after == before + 1, "the client had all before the record"


def supports_immutable(path):
    """Whether an immutable file cannot be written through a descriptor that
    was open before either; a tmpfs asks at the opening alone."""
    probe = path / "probe"
    with probe.open("wb", buffering=0) as file:
        subprocess.run(["chattr", "+i", probe], check=False,
                       stderr=subprocess.DEVNULL)
        try:
            file.write(b"x")
            is_immutable = False
        except PermissionError:
            is_immutable = True
    subprocess.run(["chattr", "-i", probe], check=False,
                   stderr=subprocess.DEVNULL)
    probe.unlink()
    return is_immutable


@pytest.mark.parametrize("query", [f"{LENGTH}&out=5000", "head&out=5000"])
def test_an_answer_whose_record_cannot_be_written_is_not_completed(
        start_once, programs, query):
    """The log becomes immutable while the function runs: the space was
    reserved, and the write fails all the same."""
    host = start_once.host({"swiss.cgi": programs.cgi})
    if not supports_immutable(host.dir):
        pytest.skip("NOT RUN: this file system knows no immutable files "
                    "(chattr +i); use ext4 or xfs for /tmp")
    host.fetch("/fn/swiss?head")
    request_id = host_room.new_id()
    connection = host.connect(timeout=2)
    connection.send(fcgi.request_bytes(
        f"/fn/swiss?err=begun&sleep=1000&{query}", REQUEST_ID=request_id))
    host.wait_log("begun")
    subprocess.run(["chattr", "+i", host.accounting], check=True)
    try:
        answer = fcgi.Answer()
        try:
            connection.read_answer(answer=answer)
        except TimeoutError:
            pass
        assert not answer.is_complete
        assert not answer.stdout_ended
        assert len(answer.body) < 5000 or "Length" not in query
        assert not host.books.holds(request_id)
        host.wait_log("event=accounting_write .*not permitted.*chattr -ia")
        assert "chattr -ia" in host.verb("status").stdout
    finally:
        subprocess.run(["chattr", "-i", host.accounting], check=True)
        connection.close()
    record = host.books.wait_request(request_id)
    assert record["outcome"] in ("ok", "aborted")
    answer, _ = host.execute("/fn/swiss?head&raw=well+again", timeout=15)
    assert answer.text == "well again"
    assert "it can be written again" in host.verb("status").stdout
    books.check_seq(host.books.all(), True)


# -------------------------------------------------------------- promise 3

def mixed_load(host):
    """Work in every place where it can hide."""
    urls = ["/fn/c?head&cpu=40", "/fn/c?head&sys=40", "/fn/c?head&kill=9",
            "/fn/c?head&daemon=200&sleep=20", "/fn/c?cpu=20&exit=3",
            "/fn/f?head&cpu=40", "/fn/f?head&after=60",
            "/fn/f?head&daemon=150", "/fn/late?cpu=5000",
            "/fn/zero?head&cpu=10", "/fn/f?head&cpu=20&kill=11",
            "/fn/py", "/fn/late/f?cpu=5000", "/fn/f?head&out=3000000"] * 6
    for at in range(0, len(urls), 12):
        threads.all_of(host.fetch, urls[at:at + 12])


def test_the_books_balance_with_the_cgroups_clock(start_once, programs):
    host = start_once.host({
        "c.cgi": programs.cgi, "f.fcgi": programs.fcgi,
        "zero.cgi": programs.cgi, "late.cgi": programs.cgi,
        "late/f.fcgi": programs.fcgi,
        "py.py": "print('Content-Type: text/plain\\n')\n"}, {
            "defaults": {"idle": "1s"}, "function zero": {"idle": "0"},
            "function late": {"timeout": "200ms"},
            "function late/f": {"timeout": "200ms"}})
    host.fetch("/fn/f?head")
    group = host.find_cgroup()
    assert group is not None
    mixed_load(host)
    seen = clock_us(group)
    host.stop()
    records = host.books.all()
    executed = sum(r["cpu_us"] for r in records if r["type"] == "exec")
    between = sum(r["start_cpu_us"] + r["idle_cpu_us"] for r in records
                  if r["type"] == "instance")
    total = records[-1]["cgroup_cpu_us"]
    assert total >= seen > 2000000
    share = (executed + between) / total
    assert 0.99 <= share <= 1.01, \
        f"{share:.4f}: {executed} + {between} of {total} µs"
    for one in (r for r in records if r["type"] == "instance"):
        mine = sum(r["cpu_us"] for r in records if r["type"] == "exec" and
                   r["instance"] == one["instance"])
        assert one["exec_cpu_us"] == mine


def clock_us(group):
    return int((group / "cpu.stat").read_text().split()[1])


def test_work_between_executions_is_in_the_instances_record(start_once,
                                                            programs):
    host = start_once.host({"f.fcgi": programs.fcgi})
    _, record = host.execute("/fn/f?head&after=600")
    assert record["cpu_us"] < 300000
    group, until = host.find_cgroup(), time.monotonic() + 30
    used, before = clock_us(group), 0
    while used < 600000 or used != before:
        assert time.monotonic() < until, "it works on and on"
        time.sleep(0.5)
        used, before = clock_us(group), used
    host.stop()
    ended = host.books.wait(lambda r: r["type"] == "instance" and
                            r["executions"] == 1)
    assert ended["idle_cpu_us"] >= 300000
    assert ended["idle_cpu_us"] + record["cpu_us"] >= 600000


# -------------------------------------------------------------- promise 4

@pytest.fixture
def tiny_log(start_once, programs):
    """A host whose log lies on a tmpfs of 256 KiB; and the mount's place."""
    host = start_once.host({"swiss.cgi": programs.cgi}, is_started=False)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=755",
                    "fh-test", host.log_dir], check=True)
    try:
        yield host.start()
        host.stop()
    finally:
        subprocess.run(["umount", "-l", host.log_dir], check=True)


def fill(path):
    """Fills the file system of a file to its last byte."""
    with open(path, "wb", buffering=0) as ballast:
        for size in (4096, 512, 1):
            try:
                while True:
                    ballast.write(b"x" * size)
            except OSError:
                pass


def test_a_full_disk_refuses_and_serves_again_when_there_is_room(tiny_log):
    host = tiny_log
    ballast = host.log_dir / "ballast"
    assert host.fetch("/fn/swiss?head&raw=x").text == "x"
    fill(ballast)
    served = refused = 0
    for _ in range(400):
        answer = host.fetch("/fn/swiss?head&raw=x")
        assert answer.is_complete
        if answer.status == 503:
            refused += 1
            assert answer.header("Retry-After")
            if refused == 10:
                break
        else:
            assert answer.text == "x"
            served += 1
    assert refused == 10, f"{served} served on a full disk"
    assert len(host.books.executions()) == served + 1, \
        "served and records differ"
    ballast.unlink()
    until = time.monotonic() + 30
    while True:
        answer = host.fetch("/fn/swiss?head&raw=again")
        if answer.status == 200:
            break
        refused += 1
        assert time.monotonic() < until, "it does not serve again"
        time.sleep(0.1)
    assert answer.text == "again"
    host.stop()
    records = host.books.all()
    counted = sum(r["refused_unrecorded"] for r in records
                  if r["type"] == "host")
    assert counted == refused
    assert len([r for r in records if r["type"] == "exec"]) == served + 2
    books.check_seq(records, True)


def test_on_a_full_disk_no_answer_completes_without_a_record(tiny_log):
    """Requests in flight while the disk fills up."""
    host = tiny_log
    done, lock = [], threading.Lock()

    def ask():
        request_id = host_room.new_id()
        answer = host.fetch("/fn/swiss?head&sleep=30&raw=x",
                            REQUEST_ID=request_id)
        with lock:
            done.append((request_id, answer))

    threads = [threading.Thread(target=ask) for _ in range(60)]
    for place, thread in enumerate(threads):
        thread.start()
        if place == 10:
            fill(host.log_dir / "ballast")
    for thread in threads:
        thread.join()
    for request_id, answer in done:
        if answer.is_complete and answer.status == 200:
            assert host.books.by_request(request_id), answer
    os.unlink(host.log_dir / "ballast")


# -------------------------------------------------------------- promise 6

CUTS = ["swiss?head&out=3000&sleep=50&kill=9",
        "swiss?field=Content-Type:+a/b&field=Content-Length:+9000&end"
        "&out=3000&sleep=50&kill=11",
        "warm?head&out=3000&sleep=50&kill=11", "late?head&out=3000&hang",
        "late/f?head&out=3000&hang",
        "late?field=Content-Type:+a/b&field=Content-Length:+9000&end"
        "&out=3000&hang"]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("port", ["plain", "kept", "stream"])
def test_behind_nginx_a_cut_answer_never_looks_whole(nginx, port, cut):
    reply = web.get(getattr(nginx, port), f"/fn/{cut}")
    assert reply.status in (200, 502, 504, None)
    assert reply.status in (502, 504) or not reply.is_whole, reply


@pytest.mark.parametrize("cut", CUTS)
def test_behind_apache_a_cut_answer_never_looks_whole(apache, cut):
    reply = web.get(apache.plain, f"/fn/{cut}")
    assert reply.status in (200, 500, 502, 503, 504, None)
    assert (reply.status or 0) >= 500 or not reply.is_whole, reply


def test_an_answer_shorter_than_its_length_never_looks_whole(host, nginx):
    query = ("swiss?field=Content-Type:+a/b&field=Content-Length:+9000&end"
             "&out=3000")
    for port in (nginx.plain, nginx.kept, nginx.stream):
        reply = web.get(port, f"/fn/{query}")
        assert reply.status == 502 or not reply.is_whole
    _, record = host.execute(f"/fn/{query}")
    assert record["outcome"] == "error"


def test_an_answer_longer_than_its_length_is_cut_there(host):
    answer, record = host.execute(
        "/fn/swiss?field=Content-Type:+a/b&field=Content-Length:+10&end"
        "&out=3000")
    assert len(answer.body) <= 10
    assert record["outcome"] == "error"


def test_the_needed_tools_are_here():
    for tool in ("chattr", "mount", "umount"):
        assert shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin"), tool
