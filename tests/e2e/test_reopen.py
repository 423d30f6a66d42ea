"""Rotating the accounting log loses and doubles no line."""
import glob
import gzip
import json
import os
import pathlib
import pwd
import re
import signal
import subprocess
import threading
import time

import pytest

from lib import books, fcgi, host as host_room, programs as programs_room

pytestmark = pytest.mark.any_user


@pytest.fixture
def host(start_once, programs):
    return start_once.host({"swiss.cgi": programs.cgi,
                            "warm.fcgi": programs.fcgi})


class Load:
    """Clients that ask without a pause; counts what they were told."""

    def __init__(self, host, clients=8):
        self.host, self.stopping = host, threading.Event()
        self.done, self.wrong = [], []
        self.threads = [threading.Thread(target=self.run, args=(n,))
                        for n in range(clients)]

    def run(self, client):
        with self.host.connect() as connection:
            lap = 0
            while not self.stopping.is_set():
                lap += 1
                name = "warm" if lap % 2 else "swiss"
                request_id = f"c{client}-{lap}"
                connection.send(fcgi.request_bytes(
                    f"/fn/{name}?head&raw={lap}", flags=fcgi.KEEP_CONN,
                    REQUEST_ID=request_id))
                answer = connection.read_answer()
                if answer.text != str(lap) or not answer.is_complete:
                    self.wrong.append(answer)
                self.done.append(request_id)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


def check(host, load, files):
    """All lines of all files, oldest first, against what was answered."""
    assert not load.wrong, load.wrong[0]
    records = [r for path in files for r in books.Books(path).all()]
    for path in files:
        assert not books.Books(path).lines() or \
            books.Books(path).lines()[-1].endswith(b"\n"), path
    books.check_seq(records, True)
    told = [r["request_id"] for r in records if r["type"] == "exec"]
    assert len(told) == len(set(told)), "a line stands twice"
    assert sorted(told) == sorted(load.done)


def test_reopen_under_load_loses_and_doubles_no_line(host):
    old = []
    with Load(host) as load:
        for lap in range(15):
            time.sleep(0.1)
            place = host.log_dir / f"old.{lap:02}"
            host.accounting.rename(place)
            done = host.verb("reopen")
            assert done.returncode == 0, done.stderr
            size = place.stat().st_size
            assert host.accounting.exists()
            time.sleep(0.05)
            assert place.stat().st_size == size, \
                "the old file was still written after reopen had returned"
            old.append(place)
        until = time.monotonic() + 60
        while len(load.done) <= 100:
            assert time.monotonic() < until, f"{len(load.done)} answers"
            time.sleep(0.1)
    host.stop()
    check(host, load, [*old, host.accounting])


def test_the_new_file_has_mode_and_owner_of_a_log(host):
    before = host.accounting.stat()
    host.accounting.rename(host.log_dir / "old")
    assert host.verb("reopen").returncode == 0
    after = host.accounting.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == \
        (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_mode & 0o007 == 0, "anybody may read who was billed"


def test_a_reopen_that_cannot_be_keeps_the_old_file(host):
    place = host.log_dir / "old"
    host.execute("/fn/swiss?head")
    host.accounting.rename(place)
    host.accounting.mkdir()
    done = host.verb("reopen")
    assert done.returncode == 1
    assert str(host.accounting) in done.stderr + done.stdout
    answer = host.fetch("/fn/swiss?head&raw=x", REQUEST_ID="kept")
    assert answer.text == "x"
    assert books.Books(place).by_request("kept")
    host.accounting.rmdir()
    assert host.verb("reopen").returncode == 0
    answer = host.fetch("/fn/swiss?head&raw=x", REQUEST_ID="switched")
    assert books.Books(host.accounting).by_request("switched")


def make_foreign(path):
    """A log of somebody else's, whose last line has no end."""
    path.write_text("a line that is no record")
    owner = pwd.getpwnam(host_room.ACCOUNT)
    os.chown(path, owner.pw_uid, owner.pw_gid)
    path.chmod(0o640)


def test_a_log_that_ends_in_no_record_is_refused_at_once_and_not_held(host):
    place = host.log_dir / "old"
    host.execute("/fn/swiss?head")
    host.accounting.rename(place)
    make_foreign(host.accounting)
    begun = time.monotonic()
    done = host.verb("reopen")
    assert done.returncode == 1
    assert time.monotonic() - begun < 15
    assert f"{host.accounting}: its last line is no record" in done.stderr
    host.fetch("/fn/swiss?head", REQUEST_ID="kept")
    assert books.Books(place).by_request("kept")
    host.accounting.unlink()
    done = host.verb("reopen")
    assert done.returncode == 0, done.stderr
    size = place.stat().st_size
    pid = host.roles()["gateway"]
    os.kill(pid, signal.SIGKILL)
    host.books.wait(lambda r: r.get("event") == "restart")
    host.fetch("/fn/swiss?head", REQUEST_ID="after")
    assert host.books.by_request("after")
    assert place.stat().st_size == size, "the old file was written again"
    books.check_seq(books.Books(place).all() + host.books.all(), True)


def test_a_reload_that_cannot_switch_the_log_says_so(host):
    other = host.log_dir / "b.log"
    make_foreign(other)
    host.configure({"host": {"accounting": other},
                    "defaults": {"env.word": "new"}})
    done = host.verb("reload")
    assert done.returncode == 1
    assert "the new configuration serves, but" in done.stderr, done.stderr
    assert f"{other}: its last line is no record" in done.stderr
    host.fetch("/fn/swiss?head", REQUEST_ID="kept")
    assert host.books.by_request("kept")
    assert other.read_text() == "a line that is no record"
    other.unlink()
    done = host.verb("reload")
    assert done.returncode == 0, done.stderr
    host.fetch("/fn/swiss?head", REQUEST_ID="switched")
    assert books.Books(other).by_request("switched")


def test_a_reopen_without_a_rename_changes_nothing(host):
    host.execute("/fn/swiss?head")
    inode = host.accounting.stat().st_ino
    assert host.verb("reopen").returncode == 0
    host.execute("/fn/swiss?head")
    assert host.accounting.stat().st_ino == inode
    books.check_seq(host.books.all(), True)


def test_what_is_lost_between_a_copy_and_its_cut_is_told(host):
    """As copytruncate does it, with the moment between held open."""
    copy = pathlib.Path(f"{host.accounting}.1")
    for _ in range(3):
        host.execute("/fn/swiss?head")
    copy.write_bytes(host.accounting.read_bytes())
    for _ in range(2):
        host.execute("/fn/swiss?head")
    os.truncate(host.accounting, 0)
    host.execute("/fn/swiss?head")
    done = host.installed.run("usage", "--json", "-c", host.ini_path)
    assert done.returncode == 1
    assert re.search(r"\d+ records are missing", done.stderr), done.stderr
    assert sum(json.loads(line)["executions"] for line in
               done.stdout.splitlines()) == 4
    # without a reopen, that who copies and cuts has no need of
    deadline = time.monotonic() + 30
    while "event=accounting_shortened" not in host.log():
        assert time.monotonic() < deadline
        host.execute("/fn/swiss?head")
    assert "copytruncate loses records" in host.log()
    assert host.verb("reopen").returncode == 0
    host.execute("/fn/swiss?head")
    assert host.log().count("event=accounting_shortened") == 1


def test_what_is_put_back_after_a_cut_that_was_noticed_is_kept(host):
    """In place: what the host knows of the file's end is too little then."""
    for _ in range(9):
        host.execute("/fn/swiss?head")
    taken = host.accounting.read_bytes()
    os.truncate(host.accounting, 0)
    deadline = time.monotonic() + 30
    while "event=accounting_shortened" not in host.log():
        assert time.monotonic() < deadline
        host.execute("/fn/swiss?head")
    host.accounting.write_bytes(taken + host.accounting.read_bytes())
    host.execute("/fn/swiss?head")
    assert host.verb("reopen").returncode == 0
    host.execute("/fn/swiss?head")
    books.check_seq(host.books.all(), True)
    assert host.accounting.read_bytes().startswith(taken)


def test_the_installed_logrotate_rules_rotate_under_load(host):
    """conf/fcgi-host.logrotate.in, with only the places filled in."""
    logrotate, = programs_room.need("logrotate")
    text = (programs_room.TREE / "conf/fcgi-host.logrotate.in").read_text()
    command = host.dir / "bin"
    command.mkdir()
    script = command / "fcgi-host"
    script.write_text(
        f"#!/bin/sh\nFCGI_HOST_LIBEXEC={host.installed.libexec}\n"
        f"export FCGI_HOST_LIBEXEC\n"
        f"exec {host.installed.command} \"$@\" -c {host.ini_path}\n")
    script.chmod(0o755)
    text = text.replace("@localstatedir@/log/fcgi-host", str(host.log_dir))
    text = text.replace("@bindir@", str(command))
    text = text.replace("@hostrundir@", str(host.run_dir))
    assert "@" not in text
    # a second rotation on one day needs a name of its own
    rules = host.dir / "rotate.conf"
    rules.write_text(text.replace("dateext", "dateext\n\tdateformat -%s"))
    rules.chmod(0o644)
    with Load(host, 4) as load:
        for _ in range(3):
            time.sleep(1.05)
            # an empty one is not rotated
            host.books.wait(lambda record: True)
            subprocess.run([logrotate, "-f", "-s", host.dir / "rotate.state",
                            rules], check=True, timeout=30)
    host.stop()
    # packed and plain, they are one ledger to who sums it up
    done = host.installed.run("usage", "--json", "-c", host.ini_path)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert sum(json.loads(line)["executions"] for line in
               done.stdout.splitlines()) == len(load.done)
    old = []
    for path in sorted(glob.glob(f"{host.log_dir}/a.log-*")):
        if path.endswith(".gz"):
            plain = pathlib.Path(path[:-3])
            plain.write_bytes(gzip.decompress(
                pathlib.Path(path).read_bytes()))
            os.unlink(path)
            path = str(plain)
        old.append(path)
    assert len(old) == 3, os.listdir(host.log_dir)
    check(host, load, [*old, host.accounting])
