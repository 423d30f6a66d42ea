"""A runtime's program without a host: a listening socket is its descriptor 0, and
what it says is in a file."""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from lib import fcgi, programs


def clock_of(pid):
    """(state, ticks of its own, ticks of the kernel for it), or None."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    rest = text[text.rindex(")") + 2:].split()
    return rest[0], rest[11], rest[12]


class Alone:
    def __init__(self, command, **env):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fh-", dir="/tmp"))
        self.path = str(self.dir / "s")
        self.heard = 0  # of its words, what a test has no interest in any more
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen(16)
        with listener, open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=listener, stdout=log, stderr=log, cwd="/",
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **env},
                start_new_session=True, preexec_fn=programs.end_with_parent)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def connect(self, timeout=60):
        return fcgi.Connection(self.path, timeout)

    def fetch(self, path="/", body=b"", **extra):
        with self.connect() as connection:
            connection.send(request(path, body, **extra))
            return connection.read_answer()

    def log(self):
        return (self.dir / "log").read_text("utf-8", "replace")

    def wait_log(self, text, timeout=30):
        until = time.monotonic() + timeout
        while text not in self.log():
            assert time.monotonic() < until, f"no {text!r} in:\n{self.log()}"
            time.sleep(0.02)

    def wait_asleep(self, timeout=30):
        """Until it waits: its clock stands, and it sleeps, at twenty looks."""
        until, seen, looks = time.monotonic() + timeout, None, 0
        while looks < 20:
            now = clock_of(self.process.pid)
            assert now, f"it has ended:\n{self.log()}"
            looks = looks + 1 if now == seen and now[0] == "S" else 0
            seen = now
            assert time.monotonic() < until, "it does not rest"
            time.sleep(0.01)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout=30):
        """Its exit code; negative: a signal's number."""
        return self.process.wait(timeout)

    def end(self, number=signal.SIGTERM, timeout=30):
        """Its exit code behind the signal."""
        os.kill(self.process.pid, number)
        return self.wait(timeout)

    def environ(self):
        return pathlib.Path(f"/proc/{self.process.pid}/environ").read_bytes()

    def catches(self, number):
        """Whether it has a handler for a signal."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        caught = int(re.search(r"^SigCgt:\s*(\w+)", status, re.MULTILINE)[1], 16)
        return bool(caught >> (number - 1) & 1)


def request(path="/", body=b"", request_id=1, flags=0, **extra):
    """What the host would send: the URL's path is split."""
    return fcgi.request_bytes(
        f"/fn/x{path}", body, request_id, flags,
        **{"SCRIPT_NAME": "/fn/x", "PATH_INFO": path.partition("?")[0], **extra})


def begin_body(connection, path, length=None, **extra):
    """A request whose body is still to come, on a connection to a program or a
    host."""
    params = fcgi.request_params(path, "POST", length, **extra)
    connection.send(fcgi.begin() +
                    fcgi.stream(fcgi.PARAMS, 1, fcgi.pairs(params)))


def send_body(connection, data):
    connection.send(fcgi.record(fcgi.STDIN, 1, data))


def end_body(connection, data=b""):
    """The rest of a body and its end in one send: who answers without having
    read the end may be gone before a second one."""
    connection.send(fcgi.stream(fcgi.STDIN, 1, data))
