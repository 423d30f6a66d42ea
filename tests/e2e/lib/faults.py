"""Making a machine short of something, for a while and for the host alone."""
from concurrent import futures
import contextlib
import os
import pathlib
import re
import subprocess
import threading
import time

from lib import host as host_room
from lib import proc


def set_files_limit(pid, limit):
    """As the process's own user, who alone may do that without a capability
    that containers lack."""
    facts = proc.status(pid)
    owner, group = (int(facts[key].split()[0]) for key in ("Uid", "Gid"))
    subprocess.run(["prlimit", f"--pid={pid}", f"--nofile={limit}:"],
                   user=owner, group=group, extra_groups=[], check=True)


@contextlib.contextmanager
def files_limit(pid, limit):
    """The process may have no descriptor of this number or above."""
    text = pathlib.Path(f"/proc/{pid}/limits").read_text()
    before = re.search(r"Max open files +(\d+)", text)[1]
    set_files_limit(pid, limit)
    try:
        yield
    finally:
        set_files_limit(pid, before)


def free_numbers(pid, count):
    """The lowest descriptor numbers that the process could still use."""
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    found, number = [], 0
    while len(found) < count:
        if number not in used:
            found.append(number)
        number += 1
    return found


class Neighbour(threading.Thread):
    """A function that is asked again and again while another one has its bad
    day: every answer must be right."""

    def __init__(self, host, url="/fn/good?head&raw=", pause=0.02, kept=None):
        super().__init__(daemon=True)
        self.host, self.url, self.pause, self.kept = host, url, pause, kept
        self.is_over = threading.Event()
        self.wrong, self.right = [], 0

    def run(self):
        while not self.is_over.is_set():
            text = host_room.new_id()
            try:
                answer = self.host.fetch(f"{self.url}{text}",
                                         REQUEST_ID=text)
            except OSError as error:
                self.wrong.append(error)
                continue
            if answer.status == 200 and answer.text == text:
                self.right += 1
            else:
                self.wrong.append(answer)
            time.sleep(self.pause)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        self.is_over.set()
        self.join()
        if kind is None:
            assert not self.wrong, f"the neighbour got {self.wrong[:3]!r}"
            assert self.right > 0, "the neighbour was never served"


def ask_all(asks, threads=64):
    """Runs the calls, so many at a time; their results in order."""
    def ask(call):
        try:
            return call()
        except OSError as error:
            return error

    with futures.ThreadPoolExecutor(threads) as pool:
        return list(pool.map(ask, asks))


def in_words(answer, *statuses):
    """A whole answer with one of the statuses, and a sentence if it is ours."""
    assert not isinstance(answer, Exception), repr(answer)
    assert answer.is_complete, answer
    assert answer.status in statuses, answer
    if answer.status == 503:
        assert answer.header("Retry-After"), answer
        assert len(answer.text) > 10, answer
    return answer.status


class ProcessLimit:
    """Lets the host and its instances have so many processes: by the pids
    controller of its own cgroup, or (version 1) of one made for it.

    Where the controller is delegated, the roles stand beside the instances'
    parent, so that the cgroup of both is the one above."""

    V1 = pathlib.Path("/sys/fs/cgroup/pids")

    def __init__(self, host):
        group = host.find_cgroup()
        self.made = None
        if group is not None and (group / "pids.max").exists():
            self.group = group.parent
        elif (self.V1 / "cgroup.procs").exists():
            self.made = self.group = self.V1 / f"fh-test-{host.pid}"
            self.group.mkdir()
            for pid in [host.pid, *proc.descendants(host.pid)]:
                (self.group / "cgroup.procs").write_text(str(pid))
        else:
            self.group = None

    def __bool__(self):
        return self.group is not None

    @property
    def current(self):
        return int((self.group / "pids.current").read_text())

    def at_rest(self, timeout=30):
        """How many there are when none comes or goes for a while."""
        until, last, since = time.monotonic() + timeout, -1, 0
        while True:
            now = self.current
            if now != last:
                last, since = now, time.monotonic()
            if time.monotonic() - since > 0.5:
                return now
            assert time.monotonic() < until, "processes come and go"
            time.sleep(0.02)

    def set(self, most):
        (self.group / "pids.max").write_text(str(most))

    def end(self):
        # one that went with the host limits nobody any more
        with contextlib.suppress(FileNotFoundError):
            self.set("max")
        if self.made is None or not self.made.exists():
            return
        for pid in (self.made / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (self.V1 / "cgroup.procs").write_text(pid)
        until = time.monotonic() + 30
        while True:
            try:
                self.made.rmdir()
                return
            except OSError:
                assert time.monotonic() < until, "the test's cgroup is left"
                time.sleep(0.05)
