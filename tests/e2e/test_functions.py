"""Finding functions: dropped, replaced, removed, refused, while the host runs."""
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

from lib import host as host_room, proc, threads

SAY = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n%s'\n"


@pytest.fixture
def host(start_once):
    return start_once.host({"first.cgi": SAY % "first",
                            "alice/a.sh": SAY % "a"},
                           {"defaults": {"idle": "5s"}})


def listing(host):
    """`list --json` as {name: facts}."""
    done = host.verb("list", "--json")
    assert done.returncode == 0, done.stderr
    facts = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({fact["function"] for fact in facts}) == len(facts)
    return {fact["function"]: fact for fact in facts}


def wait_answer(host, url, text, timeout=30):
    """Seconds until the URL answers with the text."""
    start = time.monotonic()
    while True:
        answer = host.fetch(url)
        took = time.monotonic() - start
        if answer.status == 200 and answer.text == text:
            return took
        assert took < timeout, \
            f"{url} gives {answer!r}\n{host.log()[-2000:]}"
        time.sleep(0.005)


def wait_missing(host, url, timeout=30):
    start = time.monotonic()
    while host.fetch(url).status != 404:
        assert time.monotonic() - start < timeout, f"{url} still answers"
        time.sleep(0.005)


def test_what_stands_there_at_the_start_is_served(host):
    assert host.fetch("/fn/first").text == "first"
    assert host.fetch("/fn/alice/a").text == "a"


def test_a_dropped_file_answers_within_a_second(host):
    took = []
    for i in range(10):
        host.add(f"alice/drop{i}.sh", SAY % i)
        took.append(wait_answer(host, f"/fn/alice/drop{i}", str(i)))
    assert sorted(took)[5] < 1, took


def test_a_dropped_folder_answers_within_a_second(host):
    took = []
    for name in ("app", "app2", "app3"):
        folder = host.functions / "bob" / name
        folder.mkdir(parents=True)
        (folder / "helper.sh").write_text(SAY % "helper")
        (folder / "main.sh").write_text(SAY % "app")
        took.append(wait_answer(host, f"/fn/bob/{name}", "app"))
    assert min(took) < 1, took
    assert host.fetch("/fn/bob/app/helper").text == "app", \
        "a file below a function's folder is a function"


def is_being_written(host, url):
    """It is there, so whoever asks is to come again, and is in the books."""
    answer, record = host.execute(url)
    assert answer.status == 503 and "being written" in answer.text, answer
    assert answer.header("Retry-After") == "1"
    assert (record["outcome"], record["status"], record["billed_ms"]) == (
        "refused", 503, 0)
    assert "being written" in record["reason"]
    return record


def test_a_slow_copy_is_served_when_it_is_whole(host):
    with open(host.functions / "slow.sh", "w", encoding="ascii") as out:
        out.write("#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\n")
        out.flush()
        host.wait_served("/fn/slow", status=503)
        assert is_being_written(host, "/fn/slow")["tenant"] == "default"
        out.write("printf whole\n")
        out.flush()
        time.sleep(0.2)
        assert is_being_written(host, "/fn/slow")["tenant"] == "default"
    wait_answer(host, "/fn/slow", "whole")


def test_a_program_that_is_open_for_writing_is_503_and_then_served(host):
    """Nothing was written, so only the kernel knows of it."""
    with open(host.functions / "first.cgi", "r+", encoding="ascii"):
        for _ in range(3):
            answer, record = host.execute("/fn/first")
            assert answer.status == 503
            assert answer.header("Retry-After") == "1"
            assert "open for writing" in answer.text
            assert (record["outcome"], record["billed_ms"]) == ("refused", 0)
    answer, record = host.execute("/fn/first")
    assert (answer.text, record["outcome"]) == ("first", "ok")


def test_a_script_written_over_in_place_answers_whole_again(host):
    """What an interpreter reads of a half-written file is not the host's to
    know; that each has its record is, and that it passes."""
    host.add("over.sh", SAY % "0")
    wait_answer(host, "/fn/over", "0")
    is_over = threading.Event()

    def ask():
        found = []
        while not is_over.is_set():
            found.append(host.execute("/fn/over"))
        return found

    asked = [threads.begin(ask) for _ in range(4)]
    for i in range(1, 31):
        (host.functions / "over.sh").write_text(SAY % i)
        time.sleep(0.03)
    is_over.set()
    for answer, record in sum((one.result() for one in asked), []):
        assert answer.is_complete and answer.status == record["status"]
        assert (record["status"], record["outcome"]) in (
            (200, "ok"), (502, "error"), (503, "refused")), record
    wait_answer(host, "/fn/over", "30")


def test_a_rename_over_it_is_served_next_and_the_old_finishes(host):
    host.add("swap.sh", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\n"
             "echo begun $QUERY_STRING >&2\nsleep 1\nprintf old\n")
    host.wait_served("/fn/swap")
    asked = threads.begin(host.execute, "/fn/swap?the-old-one")
    host.wait_log("begun the-old-one")
    host.add("swap.sh", SAY % "new")
    wait_answer(host, "/fn/swap", "new")
    answer, new = host.execute("/fn/swap")
    assert answer.text == "new"
    answer, old = asked.result()
    assert (answer.is_complete, answer.text) == (True, "old")
    assert old["version"] != new["version"]
    assert old["outcome"] == new["outcome"] == "ok"


def test_renaming_over_it_again_and_again_never_gives_an_error(host):
    stop = threading.Event()
    good, bad = [], []

    def ask():
        while not stop.is_set():
            answer = host.fetch("/fn/alice/a")
            is_good = answer.status == 200 and answer.is_complete
            (good if is_good else bad).append(answer)

    thread = threading.Thread(target=ask)
    thread.start()
    for i in range(40):
        host.add("alice/a.sh", SAY % f"v{i}")
        # Slower than a start, or it never finds the file that it opened.
        until, enough = time.monotonic() + 30, len(good) + 2
        while len(good) < enough and not bad:
            assert time.monotonic() < until, "nobody is served"
            time.sleep(0.005)
    wait_answer(host, "/fn/alice/a", "v39")
    stop.set()
    thread.join()
    assert not bad, bad[0]


def test_a_removed_file_is_not_found(host):
    os.unlink(host.functions / "first.cgi")
    wait_missing(host, "/fn/first")
    os.rename(host.functions / "alice", host.functions / ".alice")
    wait_missing(host, "/fn/alice/a")
    os.rename(host.functions / ".alice", host.functions / "carol")
    wait_answer(host, "/fn/carol/a", "a")


def test_a_sidecar_counts_as_soon_as_it_is_there(host):
    host.add("env.sh", "#!/bin/sh\n"
             "printf 'Content-Type: text/plain\\n\\n%s' \"$COLOUR\"\n")
    wait_answer(host, "/fn/env", "")
    host.sidecar("env", **{"env.colour": "green"})
    wait_answer(host, "/fn/env", "green")
    os.unlink(host.functions / "env.ini")
    wait_answer(host, "/fn/env", "")
    (host.functions / "env.ini").write_text("[function]\ntimeuot = 1s\n")
    wait_missing(host, "/fn/env")
    said = listing(host)["env"]
    assert said["problem"] == "sidecar"
    assert "env.ini:2" in said["detail"]


def refuse(host, name, what):
    """Makes the file a function that may not be served."""
    path = host.functions / name
    if what == "foreign":
        os.chown(path, 12345, 12345)
    elif what == "writable":
        path.chmod(0o777)
    elif what == "unreadable":
        path.chmod(0o700)
    else:
        path.unlink()
        os.symlink({"loop": name.split("/")[-1], "out": "/bin/true",
                    "link": "../first.cgi"}[what], path)


def is_listed_with(host, name, problem, words):
    said = listing(host)[name]
    assert (said["problem"], said["route"]) == (problem, None)
    assert words in said["detail"], said
    table = host.verb("list").stdout
    line = next(text for text in table.splitlines()
                if text.startswith(name))
    assert words in line


@pytest.mark.parametrize("what,problem,words", [
    ("foreign", "owner", "chown"),
    ("writable", "mode", "chmod go-w alice/bad.sh"),
    ("unreadable", "mode", "chmod a+r alice/bad.sh"),
    ("loop", "loop", "itself"), ("out", "link_out", "out of"),
    ("link", "link", "link")])
def test_what_becomes_bad_is_404_and_list_says_why(host, what, problem, words):
    host.add("alice/bad.sh", SAY % "bad")
    wait_answer(host, "/fn/alice/bad", "bad")
    refuse(host, "alice/bad.sh", what)
    wait_missing(host, "/fn/alice/bad")
    is_listed_with(host, "alice/bad", problem, words)
    assert host.fetch("/fn/alice/a").text == "a"


def test_an_emptied_file_is_503_and_list_says_why(host):
    host.add("alice/bad.sh", SAY % "bad")
    wait_answer(host, "/fn/alice/bad", "bad")
    (host.functions / "alice/bad.sh").write_text("")
    host.wait_served("/fn/alice/bad", status=503)
    assert is_being_written(host, "/fn/alice/bad")["tenant"] == "alice"
    is_listed_with(host, "alice/bad", "writing", "empty")
    host.add("alice/bad.sh", SAY % "good")
    wait_answer(host, "/fn/alice/bad", "good")


def test_two_of_one_name_are_both_404(host):
    host.add("alice/a.cgi", SAY % "other")
    wait_missing(host, "/fn/alice/a")
    said = listing(host)["alice/a"]
    assert said["problem"] == "twice"
    assert "a.cgi" in said["detail"] and "a.sh" in said["detail"]
    os.unlink(host.functions / "alice/a.sh")
    wait_answer(host, "/fn/alice/a", "other")


def test_list_needs_no_host_and_agrees_with_it(start_once):
    host = start_once.host({"x.cgi": SAY % "x", "alice/y.sh": SAY % "y",
                            "Bad.sh": SAY % "z"}, is_started=False)
    facts = listing(host)
    assert set(facts) == {"x", "alice/y", "Bad.sh"}
    assert facts["alice/y"]["route"] == "/fn/alice/y"
    assert facts["alice/y"]["runtime"] == "sh"
    assert facts["x"]["runtime"] is None
    assert facts["Bad.sh"]["problem"] == "name"
    host.start()
    _, record = host.execute("/fn/alice/y")
    assert record["version"] == facts["alice/y"]["version"]
    assert record["tenant"] == facts["alice/y"]["tenant"] == "alice"


def test_list_fails_where_there_is_no_directory(start_once):
    host = start_once.host(is_started=False)
    host.functions.rmdir()
    for more in ((), ("--json",)):
        done = host.verb("list", *more)
        assert done.returncode == 1
        assert str(host.functions) in done.stderr
        assert done.stdout == ""


def test_an_unreadable_directory_is_said_and_mended_by_its_chmod(start_once):
    host = start_once.host({"x.cgi": SAY % "x"}, is_started=False)
    host.functions.chmod(0o700)
    done = host.verb("list")
    assert done.returncode == 1
    assert "chmod a+rx" in done.stderr and done.stdout == ""
    host.start()
    host.wait_log("event=functions_unreadable")
    assert host.fetch("/fn/x").status == 404
    host.functions.chmod(0o755)
    wait_answer(host, "/fn/x", "x")
    host.functions.chmod(0o700)
    wait_missing(host, "/fn/x")
    host.functions.chmod(0o755)
    wait_answer(host, "/fn/x", "x")


def test_list_as_an_ordinary_user_shows_his_functions(installed, tmp_path):
    """Nobody's own files are right for nobody, when he looks himself."""
    tmp_path.chmod(0o755)
    # Nobody may not enter every build directory, such as one below /root.
    command = shutil.copy(installed.command, tmp_path / "fcgi-host")
    shutil.copy(installed.libexec / "fcgi-host-scanner", tmp_path)
    environment = installed.environment(FCGI_HOST_LIBEXEC=str(tmp_path))
    for folder in tmp_path.parents:
        if folder.stat().st_uid == 0 and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    functions = tmp_path / "fn"
    functions.mkdir()
    (functions / "own.sh").write_text(SAY % "own")
    os.chown(functions / "own.sh", 65534, 65534)
    config = tmp_path / "h.ini"
    config.write_text(host_room.ini({"host": {
        "listen": tmp_path / "s", "functions": functions,
        "accounting": tmp_path / "a", "run": tmp_path / "r",
        "state": tmp_path / "t"}}) + host_room.RUNTIMES)
    found = {}
    for uid in (0, 65534):
        pid = os.fork()
        if pid == 0:
            try:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
                done = subprocess.run(
                    [command, "list", "--json", "-c", config], text=True,
                    env=environment, stdout=subprocess.PIPE,
                    timeout=60, check=False)
                (os._exit(0 if '"problem":null' in done.stdout else 3)
                 if done.returncode == 0 else os._exit(4))
            finally:
                os._exit(5)
        found[uid] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert found == {0: 3, 65534: 0}


def test_a_hostile_tree_disturbs_nobody(host):
    evil = host.functions / "evil"
    evil.mkdir()
    os.mkfifo(evil / "fifo.sh")
    os.mknod(evil / "disk.sh", 0o600 | 0o060000, os.makedev(259, 0))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(evil / "sock.sh"))
    os.symlink(".", evil / "again")
    os.symlink("/proc/self/root", evil / "root")
    (evil / "new\nline.sh").write_text(SAY % "x")
    (evil / ("ä" * 127)).write_text(SAY % "x")
    (evil / "\x1b[31m.sh").write_text(SAY % "x")
    here = os.open(evil, os.O_RDONLY)
    for _ in range(1000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    (evil / "ok.sh").write_text(SAY % "ok")
    wait_answer(host, "/fn/evil/ok", "ok")
    facts = listing(host)
    for name in ("evil/fifo", "evil/disk", "evil/sock"):
        assert facts[name]["problem"] == "type", facts[name]
    assert facts["evil/again"]["problem"] == "loop"
    assert facts["evil/root"]["problem"] == "link_out"
    table = host.verb("list").stdout
    assert "\x1b" not in table and "evil/new\\x0aline.sh" in table
    assert all(text.isprintable() for text in table.splitlines())
    # Too deep for rmtree.
    subprocess.run(["rm", "-rf", evil], check=True)
    wait_missing(host, "/fn/evil/ok")


def test_the_directory_may_go_and_come_back(host):
    aside = host.dir / "aside"
    os.rename(host.functions, aside)
    wait_missing(host, "/fn/first")
    time.sleep(0.3)
    host.functions.mkdir(mode=0o755)
    host.add("second.sh", SAY % "second")
    wait_answer(host, "/fn/second", "second", timeout=30)
    assert host.fetch("/fn/first").status == 404
    host.add("third.sh", SAY % "third")
    wait_answer(host, "/fn/third", "third")


def test_the_directory_may_be_swapped_for_another(host):
    other = host.dir / "other"
    other.mkdir()
    (other / "first.sh").write_text(SAY % "from the other")
    os.rename(host.functions, host.dir / "aside")
    os.rename(other, host.functions)
    wait_answer(host, "/fn/first", "from the other", timeout=30)
    wait_missing(host, "/fn/alice/a")


def test_reload_looks_at_everything_again(host):
    host.add("alice/b.sh", SAY % "b")
    done = host.verb("reload")
    assert done.returncode == 0, done.stderr
    wait_answer(host, "/fn/alice/b", "b")
    assert host.fetch("/fn/first").text == "first"


def test_a_killed_scanner_is_replaced_and_nothing_is_lost(host):
    scanner = host.roles()["scanner"]
    os.kill(scanner, 9)
    host.add("alice/late.sh", SAY % "while it was dead")
    os.unlink(host.functions / "alice/a.sh")
    assert host.fetch("/fn/first").text == "first"
    wait_answer(host, "/fn/alice/late", "while it was dead", timeout=30)
    wait_missing(host, "/fn/alice/a")
    assert host.roles()["scanner"] != scanner


def test_five_thousand_rewrites_leave_nothing_behind(host):
    scanner = host.roles()["scanner"]
    host.add("alice/a.sh", SAY % "warm up")
    wait_answer(host, "/fn/alice/a", "warm up")

    def held():
        with open(f"/proc/{scanner}/status", encoding="ascii") as status:
            memory = int(re.search(r"RssAnon:\s+(\d+)", status.read())[1])
        return memory, len(os.listdir(f"/proc/{scanner}/fd"))

    before = held()
    for i in range(5000):
        host.add("alice/a.sh", SAY % i)
    wait_answer(host, "/fn/alice/a", "4999")
    # It may still be looking, with folders open.
    until = time.monotonic() + 30
    while held()[1] != before[1] and time.monotonic() < until:
        time.sleep(0.05)
    after = held()
    # A sanitizer keeps freed memory to find later uses of it.
    room = 65536 if host.installed.is_sanitized else 2048
    assert after[0] < before[0] + room, (before, after)
    assert after[1] == before[1]
    assert host.roles()["scanner"] == scanner


def test_an_idle_scanner_does_not_wake(host):
    scanner = host.roles()["scanner"]

    def switches():
        with open(f"/proc/{scanner}/status", encoding="ascii") as status:
            return re.findall(r"ctxt_switches:\s+(\d+)", status.read())

    # what it had to do at the start is done when it sleeps for a second
    until, before = time.monotonic() + 30, None
    while before != switches():
        assert time.monotonic() < until, "it never sleeps"
        before = switches()
        time.sleep(1)
    for _ in range(20):
        assert host.fetch("/fn/first").text == "first"
    time.sleep(1)
    assert switches() == before, "a request or a clock woke the scanner"
    assert proc.is_alive(scanner)


@pytest.mark.parametrize("name, text, sentence", [
    ("crlf.cgi", "#!/bin/sh\r\necho\r\n", "carriage return"),
    ("absent.cgi", "#!/usr/bin/no-such-interpreter\n", "interpreter is not"),
    ("bare.cgi", "echo\n", "no #!"),
])
def test_a_program_that_cannot_be_executed_is_told_why(
        host, name, text, sentence):
    host.add(name, text)
    route = "/fn/" + name.partition(".")[0]
    host.wait_served(route, timeout=30, status=502)
    answer, record = host.execute(route)
    assert answer.status == 502 and sentence in answer.text
    assert (record["outcome"], record["exit"]) == ("error", None)
    assert sentence in record["reason"]
