"""fcgi-host-python: in a host's sandboxes, and by itself."""
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from lib import fcgi, programs

SOURCES = programs.HERE / "runtime/python"
NAME = "fcgi-host-python"


def program(installed):
    for path in (installed.libexec / "functions/python" / NAME,
                 installed.libexec / "runtimes" / NAME):
        if path.exists():
            return path
    raise AssertionError(f"{NAME} was not built: ./check installs what it needs")


class Place:
    """The program where a sandbox can show it, which has a /tmp of its own; a
    context that gives the runtime's section."""

    def __init__(self, installed):
        self.installed = installed

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fh-", dir="/var/lib"))
        self.dir.chmod(0o755)
        shutil.copy(program(self.installed), self.dir)
        sample = (programs.TREE / "conf/fcgi-host.ini.in").read_text()
        section = re.search(r"^\[runtime wsgi\]\n(?:.+\n)*", sample,
                            re.MULTILINE)[0]
        return "\n" + section.replace("@runtimesdir@", str(self.dir)).replace(
            "@runtimesbind@", f"bind = {self.dir}")

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)


class Alone:
    """The program with a listening socket as its descriptor 0, without a host."""

    def __init__(self, installed, file, **env):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fh-", dir="/tmp"))
        self.path = str(self.dir / "s")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen(8)
        with listener, open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen(
                [program(installed), file], stdin=listener, stdout=log, stderr=log,
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **env}, cwd="/",
                preexec_fn=programs.end_with_parent)

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

    def wait_for_end(self, timeout=30):
        return self.process.wait(timeout)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def catches(self, number):
        """Whether it has a handler for a signal."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        caught = int(re.search(r"^SigCgt:\s*(\w+)", status, re.MULTILINE)[1], 16)
        return bool(caught >> (number - 1) & 1)


def request(path="/", body=b"", request_id=1, flags=0, **extra):
    """What the host sends: the URL's path is split."""
    return fcgi.request_bytes(
        f"/fn/x{path}", body, request_id, flags,
        **{"SCRIPT_NAME": "/fn/x", "PATH_INFO": path.partition("?")[0], **extra})


def begin(connection, path, length=None, **extra):
    """A request whose body is still to come, to the program or to a host."""
    params = fcgi.request_params(path, "POST", length, **extra)
    connection.send(fcgi.begin() +
                    fcgi.stream(fcgi.PARAMS, 1, fcgi.pairs(params)))


def send_body(connection, data):
    connection.send(fcgi.record(fcgi.STDIN, 1, data))
