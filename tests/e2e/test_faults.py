"""Faults: processes, clock, files and directories fail, one at a time.

Each test is a row of docs/FAULTS.md."""
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

from lib import books, fcgi, proc, threads
from lib import host as host_room
from lib.faults import Neighbour, ProcessLimit, ask_all, in_words

APART = ("unshare", "--mount", "--propagation", "private")


def inside(host, *command):
    """Runs a command in the mount namespace of the host alone."""
    subprocess.run(["nsenter", f"--target={host.pid}", "--mount", *command],
                   check=True)


def ask(connection, url, body=b"", **extra):
    connection.send(fcgi.request_bytes(url, body, flags=fcgi.KEEP_CONN,
                                       **extra))
    return connection.read_answer()


# --------------------------------------------------------------- processes

@pytest.fixture
def few_processes(start_once, programs):
    host = start_once.host({"good.fcgi": programs.fcgi,
                            "warm.cgi": programs.cgi,
                            "cold.cgi": programs.cgi},
                           {"host": {"max_prepared": "0"}},
                           # LeakSanitizer looks for leaks in a process of its
                           # own, and finds none either
                           wrap=("env", "LSAN_OPTIONS=detect_leaks=0"))
    limit = ProcessLimit(host)
    if not limit:
        pytest.skip("NOT RUN: no pids controller, neither of version 2 below "
                    "the host's cgroup nor of version 1")
    try:
        host.fetch("/fn/good?head")
        host.fetch("/fn/warm?head")
        yield host, limit
    finally:
        limit.end()


@pytest.mark.parametrize("url,step", [("/fn/cold?head", "clone3"),
                                      ("/fn/warm?head", "")])
def test_what_finds_no_process_is_refused_in_words(few_processes, url, step):
    """A start in the spawner, and an execution in a warm init."""
    host, limit = few_processes
    roles = host.roles()
    limit.set(limit.at_rest())
    with Neighbour(host):
        for _ in range(5):
            answer, record = host.execute(url)
            in_words(answer, 503)
            assert "process" in answer.text
            assert record["outcome"] == "refused" and record["status"] == 503
            assert record["billed_ms"] == 0
        if step:
            host.wait_log(f"instance_failed .*step=\"{step}\" "
                          "error=\"Resource temporarily unavailable\"")
        limit.set("max")
        answer, record = host.execute(url)
        assert in_words(answer, 200) and record["outcome"] == "ok"
    assert host.roles() == roles


def test_a_role_that_finds_no_process_comes_back_when_there_is_one(
        few_processes):
    host, limit = few_processes
    scanner = host.roles()["scanner"]
    with Neighbour(host):
        limit.set(1)
        os.kill(scanner, signal.SIGKILL)
        host.wait_log("event=role_not_started which=scanner")
        limit.set("max")
        host.wait_log("(?s)event=ready.*event=role_started which=scanner")
        host.add("new.cgi", host.functions / "cold.cgi")
        host.wait_served("/fn/new?head")


def test_a_host_whose_gateway_finds_no_process_still_ends(few_processes):
    host, limit = few_processes
    gateway = host.roles()["gateway"]
    limit.set(1)
    os.kill(gateway, signal.SIGKILL)
    host.wait_log("event=role_not_started which=gateway")
    host.signal(signal.SIGTERM)
    started = time.monotonic()
    assert host.process.wait(60) == 0
    # far below what a gateway has to finish
    assert time.monotonic() - started < 20
    limit.end()
    host.start()
    assert in_words(host.execute("/fn/cold?head")[0], 200)


@pytest.mark.parametrize("name,whom", [
    ("late.cgi", "program"), ("late.cgi", "init"), ("late.fcgi", "program")])
def test_a_stopped_instance_ends_at_its_deadline(start_once, programs, name,
                                                 whom):
    """SIGSTOP to the program, or to the init that tells its end, in the
    middle.  (A FastCGI program answers without its init.)"""
    source = programs.fcgi if name.endswith("fcgi") else programs.cgi
    host = start_once.host({"good.cgi": programs.cgi, name: source},
                           {"function late": {"timeout": "2s"}})
    host.fetch("/fn/good?head")
    answer, first = host.execute("/fn/late?head")
    one = host_room.new_id()
    with Neighbour(host):
        asked = threads.begin(host.fetch, "/fn/late?sleep=1000&head",
                              REQUEST_ID=one)
        time.sleep(0.1)
        stopped = stop_instance(host, whom)
        answer = asked.result()
        if whom == "init": # its answer had begun, and is cut
            assert not answer.is_complete
        else:
            assert answer.status == 504 and answer.is_complete
        record = host.books.wait_request(one)
        assert record["outcome"] == "timeout"
        assert record["instance"] == first["instance"]
        assert not host_room.wait_gone(stopped)
        answer, record = host.execute("/fn/late?head&raw=fresh")
        assert answer.text == "fresh"
        assert record["instance"] != first["instance"]


def late_instance(host):
    """(init, the program's processes), or None."""
    facts = [(pid, proc.stat(pid)) for pid in host.instances()]
    for init in [pid for pid, fact in facts if fact and fact[2] == host.pid]:
        program = proc.descendants(init)
        if any(proc.program(pid).startswith("late.") for pid in program):
            return init, program
    return None


def stop_instance(host, whom):
    """Stops the init, or all but the init, of the instance of `late` that has
    a program, as soon as it has; their pids."""
    found, until = None, time.monotonic() + 30
    while found is None:
        assert time.monotonic() < until, "no instance has a program"
        time.sleep(0.01)
        found = late_instance(host)
    pids = [found[0]] if whom == "init" else found[1]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    return pids


# ------------------------------------------------------------------- clock

@pytest.fixture
def wild_clock(start_once, programs, tmp_path):
    """A host all of whose roles read a wall clock that jumps by hours."""
    host = start_once.host({
        "good.cgi": programs.cgi, "warm.fcgi": programs.fcgi,
        "late.cgi": programs.cgi, "one.cgi": programs.cgi}, {
            "function late": {"timeout": "400ms"},
            "function warm": {"idle": "300ms"},
            "function one": {"instances": "1", "queue_timeout": "500ms"}},
        is_started=False)
    libexec = tmp_path / "libexec"
    libexec.mkdir()
    tmp_path.chmod(0o755)
    shutil.copy(programs.clock, libexec / "clock.so")
    for role in ("spawner", "gateway", "scanner"):
        real = host.installed.libexec / f"fcgi-host-{role}"
        wrapper = libexec / f"fcgi-host-{role}"
        wrapper.write_text(f"#!/bin/sh\nLD_PRELOAD={libexec}/clock.so "
                           f"exec {real} \"$@\"\n")
        wrapper.chmod(0o755)
    shutil.copy(host.installed.libexec / "fcgi-host-init", libexec)
    host.wrap += ["env", f"FCGI_HOST_LIBEXEC={libexec}"]
    if host.installed.is_sanitized:
        pytest.skip("NOT RUN: a sanitizer must be the first library; build "
                    "without one")
    return host.start()


def test_a_wall_clock_that_jumps_moves_no_deadline_and_no_bill(wild_clock):
    """It jumps by hours: what is below a minute was moved by none."""
    host = wild_clock
    stamps = set()
    for lap in range(12):
        answer, record = host.execute(f"/fn/good?sleep=50&head&raw={lap}")
        assert answer.text == str(lap) and record["outcome"] == "ok"
        assert 50000 <= record["run_us"] < 60000000
        assert record["queue_us"] < 60000000 and record["init_us"] < 60000000
        assert 50 <= record["billed_ms"] < 60000
        stamps.add(record["time"][:13])
        time.sleep(0.07)
    assert len(stamps) > 1, "the clock did not jump"
    started = time.monotonic()
    answer, record = host.execute("/fn/late?hang")
    assert answer.status == 504 and record["outcome"] == "timeout"
    assert 0.4 <= time.monotonic() - started < 60
    host.fetch("/fn/warm?head")
    ended = host.books.wait(lambda r: r["type"] == "instance" and
                            r["function"] == "warm")
    assert ended["reason"] == "idle" and ended["lifetime_us"] < 60000000
    host.wait_served("/fn/one?head")
    answers = ask_all([lambda: host.fetch("/fn/one?head&sleep=2500")] * 2, 2)
    assert sorted(a.status for a in answers) == [200, 503]
    host.add("new.cgi", host.functions / "good.cgi")
    host.wait_served("/fn/new?head")
    assert host.verb("reload").returncode == 0
    host.stop()
    records = host.books.all()
    books.check_seq(records, True)
    ids = [r["id"] for r in records if r["type"] == "exec"]
    assert len(set(ids)) == len(ids)


# ------------------------------------------------------ functions directory

def test_a_functions_directory_that_goes_and_comes_back_loses_nothing(
        start_once, programs):
    """Under load: whole answers of the function, or 404, nothing else; what
    runs when it goes finishes."""
    host = start_once.host({"good.cgi": programs.cgi})
    aside, answers = host.dir / "aside", []
    over = threading.Event()

    def load():
        while not over.is_set():
            answers.append(host.fetch("/fn/good?head&sleep=20&raw=x"))

    clients = [threads.begin(load) for _ in range(4)]
    for lap in range(1, 4):
        time.sleep(0.3)
        host.functions.rename(aside)
        host.wait_served("/fn/good?head", status=404)
        # It is said behind the reports by which nothing is found any more.
        until = time.monotonic() + 30
        while host.log().count("event=functions_missing") < lap:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert host.log().count("event=functions_missing") == lap
        aside.rename(host.functions)
        host.wait_served("/fn/good?head")
    over.set()
    for one in clients:
        one.result()
    for answer in answers:
        if in_words(answer, 200, 404) == 200:
            assert answer.text == "x"
    assert all(r["outcome"] in ("ok", "refused")
               for r in host.books.executions())
    assert not [line for line in host.log().splitlines()
                if "level=error" in line]


def copy_whole(there, copy):
    subprocess.run(["cp", "-a", copy, there], check=True)


def copy_into(there, copy):
    there.mkdir()
    for one in copy.iterdir():
        time.sleep(0.2)
        shutil.copy(one, there)


def move_copy(there, copy):
    copy.rename(there)


@pytest.mark.parametrize("again", [copy_whole, copy_into, move_copy])
@pytest.mark.parametrize("pause", [2, 0])
def test_a_functions_directory_deleted_and_made_again_is_served(
        start_once, programs, again, pause):
    """And what replaces it later by two renames is served, too."""
    host = start_once.host({"good.cgi": programs.cgi})
    copy, swapped = host.dir / "copy", host.dir / "swapped"
    for place in (copy, swapped):
        copy_whole(place, host.functions)
    host.fetch("/fn/good?head")
    shutil.rmtree(host.functions)
    if pause:
        host.wait_served("/fn/good?head", status=404)
        host.wait_log("event=functions_missing")
        time.sleep(pause)
    again(host.functions, copy)
    host.wait_served("/fn/good?head")
    scanner = host.wait_role("scanner")
    host.functions.rename(host.dir / "old")
    swapped.rename(host.functions)
    (host.functions / "late.cgi").write_bytes(
        (host.functions / "good.cgi").read_bytes())
    (host.functions / "late.cgi").chmod(0o755)
    host.wait_served("/fn/late?head")
    assert host.wait_role("scanner") != scanner


def test_a_sidecar_rewritten_a_thousand_times_fails_no_request(start_once,
                                                               programs):
    host = start_once.host({"good.cgi": programs.cgi, "busy.cgi":
                            programs.cgi, "busy/f.fcgi": programs.fcgi})
    host.sidecar("busy", **{"env.lap": "0"})
    host.sidecar("busy/f", **{"env.lap": "0"})
    time.sleep(0.5)
    with Neighbour(host), Neighbour(host, "/fn/busy?head&raw="), \
            Neighbour(host, "/fn/busy/f?head&raw="):
        for lap in range(1, 1001):
            host.sidecar("busy", **{"env.lap": str(lap)})
            host.sidecar("busy/f", **{"env.lap": str(lap)})
            time.sleep(0.004)
    for url in ("/fn/busy", "/fn/busy/f"):
        until = time.monotonic() + 30
        while "LAP=1000" not in host.fetch(f"{url}?head&env=LAP").text:
            assert time.monotonic() < until, "the last sidecar is not served"
            time.sleep(0.05)
    assert {r["outcome"] for r in host.books.executions()} == {"ok"}


# --------------------------------------------------------- accounting log

def test_a_log_that_may_not_grow_refuses_and_serves_again(start_once,
                                                          programs):
    """A limit on the size of files (LimitFSIZE): the kernel's signal kills
    nobody, and what cannot be recorded is not run."""
    old = b'{"v":1,"seq":1,"type":"old"}\n' * 200000
    host = start_once.host({"good.cgi": programs.cgi}, is_started=False,
                           wrap=("prlimit", f"--fsize={len(old) + 150000}:"))
    host.accounting.write_bytes(old)
    host.start()
    roles = host.roles()
    served = 0
    while True:
        answer = host.fetch("/fn/good?head&raw=x")
        if in_words(answer, 200, 503) == 503:
            break
        served += 1
        assert served < 1000
    assert served > 10
    assert len(host.books.executions()) == served
    # Beside the ledgers, all of whose lines are held against the schema.
    aside = host.log_dir.parent / "old"
    host.accounting.rename(aside)
    assert host.verb("reopen").returncode == 0
    assert host.wait_served("/fn/good?head&raw=again").text == "again"
    assert host.roles() == roles
    hosts = [r for path in (aside, host.accounting)
             for r in books.Books(path).of_type("host")]
    assert sum(r["refused_unrecorded"] for r in hosts) >= 1


def test_a_quota_that_is_used_up_refuses_and_serves_again(start_once,
                                                          programs):
    host = start_once.host({"good.cgi": programs.cgi}, is_started=False)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "mode=755,usrquota,"
         "usrquota_block_hardlimit=400k", "fh-test", host.log_dir],
        check=False, stderr=subprocess.PIPE)
    if made.returncode != 0:
        pytest.skip("NOT RUN: this kernel has no quota on tmpfs "
                    "(CONFIG_TMPFS_QUOTA, Linux 6.6)")
    try:
        host.accounting.touch()
        shutil.chown(host.accounting, host_room.ACCOUNT)
        host.start()
        ballast = host.log_dir / "ballast"
        subprocess.run(["dd", "if=/dev/zero", f"of={ballast}", "bs=1k"],
                       user=host_room.ACCOUNT, check=False,
                       stderr=subprocess.DEVNULL)
        statuses = [in_words(host.fetch("/fn/good?head"), 200, 503)
                    for _ in range(400)]
        assert statuses[-1] == 503, "the quota did not bind"
        assert len(host.books.executions()) == statuses.count(200)
        if ballast.exists():
            ballast.unlink()
        host.wait_served("/fn/good?head")
        host.stop()
    finally:
        subprocess.run(["umount", "-l", host.log_dir], check=True)


def test_a_read_only_log_directory_keeps_the_log_that_is_open(start_once,
                                                              programs):
    host = start_once.host({"good.cgi": programs.cgi}, wrap=APART)
    place = host.log_dir / "old"
    host.execute("/fn/good?head")
    with Neighbour(host):
        host.accounting.rename(place)
        inside(host, "mount", "--bind", host.log_dir, host.log_dir)
        inside(host, "mount", "-o", "remount,bind,ro", host.log_dir)
        done = host.verb("reopen")
        assert done.returncode == 1
        assert "Read-only file system" in done.stderr + done.stdout
        host.fetch("/fn/good?head", REQUEST_ID="kept")
        assert books.Books(place).by_request("kept")
        inside(host, "umount", host.log_dir)
        assert host.verb("reopen").returncode == 0
    host.fetch("/fn/good?head", REQUEST_ID="switched")
    assert host.books.by_request("switched")


# ------------------------------------------------------------ directories

def test_a_full_spool_refuses_bodies_in_words(start_once, programs):
    """Only those that need it: what fits into memory is served on."""
    host = start_once.host({"good.cgi": programs.cgi, "big.cgi":
                            programs.cgi}, is_started=False)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=755",
                    "fh-test", host.state], check=True)
    try:
        host.start()
        host.fetch("/fn/good?head")
        with Neighbour(host):
            big = [lambda: host.fetch("/fn/big?sleep=300&head&sum",
                                      b"x" * 1500000)] * 8
            answers = [big[0](), *ask_all(big, 8), big[0]()]
            statuses = [in_words(a, 200, 503) for a in answers]
            assert statuses[0] == statuses[-1] == 200
            assert 503 in statuses, statuses
            refused = next(a for a in answers if a.status == 503)
            assert "spool" in refused.text
            assert in_words(host.fetch("/fn/big?head&sum",
                                       b"x" * 17000000), 413)
            small = host.fetch("/fn/big?head&sum", b"x" * 10000)
            assert "length=10000" in small.text
        wanted = [r["status"] for r in host.books.executions("big")]
        assert sorted(wanted) == sorted([*statuses, 413, 200])
        host.stop()
    finally:
        subprocess.run(["umount", "-l", host.state], check=True)


def wipe(directory):
    """Each name goes at once, as a whole."""
    away = f"{directory}.wiped"
    os.mkdir(away)
    for entry in os.listdir(directory):
        os.rename(f"{directory}/{entry}", f"{away}/{entry}")
    shutil.rmtree(away)


def test_a_wiped_state_directory_stops_nothing_that_runs(start_once,
                                                         programs):
    host = start_once.host({"good.cgi": programs.cgi, "data.cgi":
                            programs.cgi, "other/data.cgi": programs.cgi},
                           {"function good": {"instances": "1"}})
    host.fetch("/fn/data?head&data=x")
    host.fetch("/fn/good?head")
    with Neighbour(host):
        wipe(host.state)
        in_words(host.fetch("/fn/good?head"), 200)
        answer = host.fetch("/fn/good?sleep=200&head&sum", b"x" * 3000000)
        assert in_words(answer, 503) and "spool" in answer.text
        in_words(host.fetch("/fn/other/data?head&data=x"), 200)
    host.wait_log("event=data_gone")
    host.stop()
    host.start()
    assert "length=3000000" in host.fetch("/fn/good?sleep=200&head&sum",
                                          b"x" * 3000000).text
    in_words(host.fetch("/fn/other/data?head&data=x"), 200)


def test_a_wiped_run_directory_is_said_and_needs_a_restart(start_once,
                                                           programs):
    """What is connected is served on: web servers, CGI, and FastCGI programs
    whose connection is kept; others cannot be reached without their sockets."""
    host = start_once.host({"good.cgi": programs.cgi, "f.fcgi":
                            programs.fcgi, "cold/f.fcgi": programs.fcgi})
    host.fetch("/fn/f?head")
    with host.connect() as kept:
        ask(kept, "/fn/good?head")
        wipe(host.run_dir)
        for url, status in (("good", 200), ("f", 200), ("cold/f", 502),
                            ("good", 200)):
            one = host_room.new_id()
            answer = ask(kept, f"/fn/{url}?head", REQUEST_ID=one)
            assert in_words(answer, status)
            assert host.books.wait_request(one)["status"] == status
        host.wait_log("event=instance_failed .*listening socket.*restart")
        status = host.verb("status")
        assert status.returncode == 1
        assert f"a host runs (process {host.pid})" in status.stderr
        assert "emptied; stop it" in status.stderr
        second = host.installed.run("run", "-c", host.ini_path, "--takeover",
                                    timeout=60)
        assert second.returncode == 1
        said = second.stdout + second.stderr
        assert "emptied; stop that host by SIGTERM" in said
        assert f"another host (process {host.pid})" in said
    host.stop()
    host.start()
    for url in ("good", "f", "cold/f"):
        in_words(host.fetch(f"/fn/{url}?head"), 200)


# -------------------------------------------------------------- a hung bind

class HungMount:
    """A FUSE file system whose server never answers, in the host's mount
    namespace alone."""

    def __init__(self, host, path):
        script = (
            "import ctypes, os, sys, time\n"
            "fd = os.open('/dev/fuse', os.O_RDWR)\n"
            "libc = ctypes.CDLL(None, use_errno=True)\n"
            "done = libc.mount(b'hung', sys.argv[1].encode(), b'fuse', 6, "
            "f'fd={fd},rootmode=40000,user_id=0,group_id=0'.encode())\n"
            "print(done, ctypes.get_errno(), flush=True)\n"
            "time.sleep(600)\n")
        self.server = subprocess.Popen(
            ["nsenter", f"--target={host.pid}", "--mount", "/usr/bin/python3",
             "-c", script, path], stdout=subprocess.PIPE, text=True)
        self.answer = self.server.stdout.readline().strip()

    def end(self):
        self.server.kill()
        self.server.wait()


@pytest.fixture
def hung(start_once, programs):
    host = start_once.host(
        {"good.cgi": programs.cgi, "cold.cgi": programs.cgi,
         "bound.cgi": programs.cgi}, is_started=False, wrap=APART)
    # what lies below /tmp cannot be shared with a sandbox
    place = f"/opt/fh-hung-{os.getpid()}"
    os.mkdir(place)
    try:
        host.configure({"function bound": {"bind": place}})
        host.start()
        mount = HungMount(host, place)
    except BaseException:
        os.rmdir(place)
        raise
    if mount.answer != "0 0":
        mount.end()
        os.rmdir(place)
        pytest.skip("NOT RUN: no FUSE here (/dev/fuse): " + mount.answer)
    try:
        yield host
    finally:
        mount.end()
        os.rmdir(place)


def test_a_bind_whose_server_hangs_holds_up_nobody(hung):
    """Not even the function, unless it asks for what lies there."""
    host = hung
    host.fetch("/fn/good?head")
    with Neighbour(host):
        answer, record = host.execute("/fn/bound?head")
        assert in_words(answer, 200) and record["outcome"] == "ok"
        assert record["init_us"] < 5000000
        in_words(host.fetch("/fn/cold?head"), 200)


# ------------------------------------------------------------ a hung start

def test_a_start_that_hangs_in_a_mount_ends_after_five_seconds(
        start_once, programs, tmp_path):
    """What is warm is served meanwhile."""
    held = tmp_path / "held"
    host = start_once.host(
        {"good.cgi": programs.cgi, "cold.cgi": programs.cgi},
        {"host": {"max_prepared": "0"}}, wrap=(str(programs.hold), str(held)))
    in_words(host.fetch("/fn/good?head"), 200)
    before = set(host.instances())
    held.touch()
    with Neighbour(host):
        started = time.monotonic()
        answer, record = host.execute("/fn/cold?head")
        took = time.monotonic() - started
    assert 4.9 < took < 20
    assert in_words(answer, 502)
    assert (record["outcome"], record["instance"]) == ("error", None)
    host.wait_log("event=instance_failed .*mounts, within 5 seconds")
    assert set(host.instances()) == before, "the child still hangs there"
    held.unlink()
    in_words(host.wait_served("/fn/cold?head"), 200)
