"""`fcgi-host logs`: the lines of functions, out of a log that is rotated, or out of
the journal."""
import json
import os
import queue
import stat
import subprocess
import threading

import pytest

from lib import host as host_room, proc

pytestmark = pytest.mark.any_user

HOSTILE = r"""#!/bin/sh
printf 'Content-Type: text/plain\n\n'
printf 'caf\303\251 \033[31m "quoted" \\x41\nx" function=quiet request=none\n' >&2
"""
FLOOD = r"""#!/bin/sh
printf 'Content-Type: text/plain\n\n'
i=0
while [ $i -lt 1500 ]; do echo "flood $i"; i=$((i+1)); done >&2
"""


@pytest.fixture(scope="module")
def host(start, programs):
    made = start.host({"swiss.cgi": programs.cgi, "quiet.cgi": programs.cgi,
                       "hostile.sh": HOSTILE, "flood.sh": FLOOD},
                      is_started=False)
    made.configure({"host": {"log": made.log_dir / "host.log"}})
    made.start()
    return made


def write(host, mark, name="swiss"):
    """A line of a function, and the id of its request."""
    request_id = host_room.new_id()
    host.fetch(f"/fn/{name}?err={mark}&head", REQUEST_ID=request_id)
    host.books.wait_request(request_id)
    return request_id


def logs(host, *args, **more):
    done = host.verb("logs", *args, **more)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.splitlines()


def marks(lines, mark):
    return [line.split()[-1] for line in lines if mark in line]


def rotate(host, name):
    os.rename(host.log_dir / "host.log", host.log_dir / name)
    done = host.verb("reopen")
    assert done.returncode == 0, done.stderr


def test_the_lines_of_one_function_or_of_all_are_shown(host):
    request_id = write(host, "mine")
    write(host, "other", "quiet")
    [line] = [line for line in logs(host, "swiss") if "mine" in line]
    assert line.endswith(f"Z swiss {request_id} mine")
    assert not marks(logs(host, "swiss"), "other")
    both = logs(host)
    assert marks(both, "mine") and marks(both, "other")


def test_the_lines_of_one_request_are_found_by_its_id(host):
    write(host, "not-this")
    request_id = write(host, "this-one")
    write(host, "nor-that")
    [line] = logs(host, "--request", request_id)
    assert line.endswith(f"swiss {request_id} this-one")
    fact = json.loads(logs(host, "--json", "--request", request_id)[0])
    assert (fact["function"], fact["text"], fact["cut"]) == \
        ("swiss", "this-one", 0)


def test_why_a_request_failed_stands_there_too(host):
    request_id = host_room.new_id()
    host.fetch("/fn/swiss?exit=3", REQUEST_ID=request_id)
    host.books.wait_request(request_id)
    [line] = logs(host, "--request", request_id)
    assert "fcgi-host: execution" in line and "status=502" in line


def test_what_a_function_writes_rules_no_terminal_and_names_no_other(host):
    request_id = host_room.new_id()
    host.fetch("/fn/hostile", REQUEST_ID=request_id)
    host.books.wait_request(request_id)
    first, second = logs(host, "hostile", "--request", request_id)
    assert first.endswith('café \\x1b[31m "quoted" \\x41')
    assert second.endswith('x" function=quiet request=none')
    assert not marks(logs(host, "quiet"), "function=quiet")
    assert not logs(host, "--request", "none")


def test_a_flood_is_bounded_and_counted(host):
    request_id = host_room.new_id()
    host.fetch("/fn/flood", REQUEST_ID=request_id)
    host.books.wait_request(request_id)
    lines = logs(host, "flood", "--request", request_id)
    assert len(lines) == 1001
    assert lines[-1].endswith("fcgi-host: stderr_dropped instance=" +
                              lines[-1].split("instance=")[1].split()[0] +
                              " lines=500")


def test_rotated_files_are_read_first_compressed_or_not(host):
    write(host, "turn-1")
    rotate(host, "host.log.2")
    subprocess.run(["gzip", host.log_dir / "host.log.2"], check=True)
    write(host, "turn-2")
    rotate(host, "host.log.1")
    write(host, "turn-3")
    assert marks(logs(host, "swiss"), "turn-") == ["turn-1", "turn-2", "turn-3"]
    assert marks(logs(host, "-n", "2", "swiss"), "turn-") == ["turn-2", "turn-3"]


class Follower:
    """`logs -f`, its lines as they come."""

    def __init__(self, host, *args, **more):
        self.process = subprocess.Popen(
            [*host.become, str(host.installed.command), "logs", "-c",
             str(host.ini_path), "-f", *args], text=True,
            env=host.installed.environment(**more), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def wait(self, mark):
        while True:
            line = self.lines.get(timeout=30)
            if mark in line:
                return line

    def end(self):
        self.process.kill()
        self.process.communicate()


def test_lines_are_followed_over_rotations(host):
    write(host, "begun")
    follower = Follower(host, "swiss")
    try:
        follower.wait("begun")
        for lap in range(3):
            write(host, f"lap-{lap}")
            follower.wait(f"lap-{lap}")
            rotate(host, f"host.log-2026010{lap}")
            write(host, f"new-{lap}")
            follower.wait(f"new-{lap}")
        write(host, "of-another", "quiet")
        write(host, "the-last")
        while True:
            line = follower.lines.get(timeout=30)
            assert "of-another" not in line
            if "the-last" in line:
                break
    finally:
        follower.end()


JOURNAL = """#!/bin/sh
# As journalctl answers: a cursor behind what is there, and what follows on it.
for word; do [ "$word" != --follow ] || is_followed=yes; done
line() {
	echo "time=2026-11-27T10:00:00.000000Z level=info role=gateway event=stderr" \
	    "request=r function=swiss instance=1 cut=0 text=\\"$1\\""
}
if [ -n "$is_followed" ]; then
	case "$*" in *"-u fcgi-host.service "*"--after-cursor s=1;i=2") line later;; esac
	exec sleep 60
fi
line earlier
echo "-- cursor: s=1;i=2"
"""


@pytest.fixture
def journal(start_once, programs, tmp_path):
    """A host that logs to its stderr, and a stand-in for journalctl."""
    made = start_once.host({"swiss.cgi": programs.cgi}, is_started=False)
    folder = made.dir / "bin"
    folder.mkdir(mode=0o755)
    program = folder / "journalctl"
    program.write_text(JOURNAL)
    program.chmod(0o755)
    made.search = str(folder)
    return made


def test_the_journal_is_read_and_followed_where_the_host_logs_to_it(journal):
    done = journal.installed.run("logs", "-c", journal.ini_path,
                                 FCGI_HOST_BIN=journal.search)
    assert done.stdout == "2026-11-27T10:00:00.000000Z swiss r earlier\n"
    assert done.returncode == 0 and not done.stderr
    follower = Follower(journal, FCGI_HOST_BIN=journal.search)
    try:
        follower.wait("earlier")
        follower.wait("later")
    finally:
        child = proc.descendants(follower.process.pid)
        follower.end()
        assert child and not host_room.wait_gone(child)


def test_what_cannot_be_read_is_told_and_wrong_use_too(host, journal):
    for words in (["Bad Name"], ["a", "b"], ["-n", "0"], ["-n", "x"]):
        done = host.verb("logs", *words)
        assert done.returncode == 2 and "--help" in done.stderr
    done = journal.installed.run("logs", "-c", journal.ini_path,
                                 FCGI_HOST_BIN=str(journal.dir))
    assert done.returncode == 1
    assert done.stderr == "fcgi-host: journalctl is not there: install it\n"
    journal.configure({"host": {"log": journal.log_dir / "none.log"}})
    done = journal.verb("logs")
    assert done.returncode == 1 and "none.log: No such file" in done.stderr
    assert stat.S_IMODE((host.log_dir / "host.log").stat().st_mode) & 0o007 == 0
