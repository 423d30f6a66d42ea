"""The accounting log's file system becomes read-only under a host that runs: a
real ext4 finds itself damaged, and does with that what most are mounted to do."""
import contextlib
import os
import pathlib
import subprocess
import time

import pytest

from lib import books, chain, fcgi
from lib import host as host_room
from lib import programs as room
from lib.faults import in_words

# Says half of its answer, and the other when it may.
HALVES = r"""printf 'Content-Type: text/plain\nContent-Length: 10\n\n01234'
: > /data/here
until [ -e /data/go ]; do sleep 0.02; done
printf 56789
"""
SYSFS = pathlib.Path("/sys/fs/ext4")


def mount(image, place):
    subprocess.run(["mount", "-o", "loop,errors=remount-ro", image, place],
                   check=True)


def damage(place):
    """The kernel's own way to try that; the file system stays read-only."""
    source = subprocess.run(["findmnt", "-no", "SOURCE", place], check=True,
                            stdout=subprocess.PIPE, text=True).stdout.strip()
    name = pathlib.Path(source).name
    (SYSFS / name / "trigger_fs_error").write_text("a test's\n")


@pytest.fixture
def host(start_once, programs):
    """Its log lies on an ext4 of its own, host.image."""
    made = start_once.host({"good.cgi": programs.cgi, "halves.sh": HALVES},
                           {"host": {"sync": "yes"}}, is_started=False)
    made.image = made.dir / "disk"
    made.image.touch()
    os.truncate(made.image, 16 << 20)
    mkfs, = room.need("mkfs.ext4")
    subprocess.run([mkfs, "-q", made.image], check=True)
    try:
        mount(made.image, made.log_dir)
    except subprocess.CalledProcessError:
        pytest.skip("NOT RUN: no ext4 in a file can be mounted here")
    try:
        if not list(SYSFS.glob("*/trigger_fs_error")):
            pytest.skip("NOT RUN: this kernel makes no ext4 error to order")
        made.start()
        yield made
        made.stop()
    finally:
        for place in (made.log_dir, made.dir / "before"):
            if os.path.ismount(place):
                subprocess.run(["umount", "-l", place], check=True)


def half_answered(host):
    """A request whose answer is half there, and what lets it go on."""
    connection, answer = host.connect(), fcgi.Answer()
    connection.send(fcgi.request_bytes("/fn/halves", REQUEST_ID="halves"))
    connection.read_answer(1, answer, lambda a: a.body == b"01234")
    until = time.monotonic() + 30
    while not (found := list(host.state.glob("data/*/here"))):
        assert time.monotonic() < until, "it has no /data"
        time.sleep(0.01)
    return connection, answer, found[0].with_name("go")


def judge(host, before, first_key, answered):
    """Both files are one ledger, and each answer has its line."""
    records = [r for path in (before, host.accounting)
               for r in books.Books(path).all()]
    for run in books.runs(records):
        books.check_seq(run, True)
    chain.follow([before, host.accounting], first_key)
    names = [r["request_id"] for r in records if r["type"] == "exec"]
    assert names == answered
    return records


def test_a_log_whose_disk_becomes_read_only_goes_on_on_another(host):
    first_key = chain.begin(host)
    served = [host_room.new_id() for _ in range(3)]
    for name in served:
        assert host.fetch("/fn/good?head", REQUEST_ID=name).status == 200
    connection, answer, go = half_answered(host)
    damage(host.log_dir)
    go.touch()
    host.wait_log("event=accounting_write .*Read-only.*mount the accounting")
    with connection, contextlib.suppress(ConnectionResetError):
        connection.read_answer(1, answer)
    assert not answer.is_complete and "012345678".startswith(answer.text)
    assert not host.books.holds("halves")
    refused = [in_words(host.fetch("/fn/good?head"), 503) for _ in range(5)]
    assert "writable" in host.verb("status").stdout
    failed = host.verb("reopen")
    assert failed.returncode == 1
    assert "Read-only file system" in failed.stderr + failed.stdout
    # what lies below it is another disk
    subprocess.run(["umount", "-l", host.log_dir], check=True)
    assert host.verb("reopen").returncode == 0
    assert host.books.wait_request("halves")["outcome"] == "ok"
    served += ["halves", host_room.new_id()]
    assert host.fetch("/fn/good?head", REQUEST_ID=served[-1]).status == 200
    host.stop()
    # looked at anew, it has all that was answered before
    (host.dir / "before").mkdir()
    mount(host.image, host.dir / "before")
    records = judge(host, host.dir / "before/a.log", first_key, served)
    assert sum(r["refused_unrecorded"] for r in records
               if r["type"] == "host") == len(refused)
