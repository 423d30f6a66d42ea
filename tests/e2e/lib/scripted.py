"""Runtimes that are scripts: their sections of the sample configuration with the
programs of this tree, and a runtime's program alone, without a host."""
import json
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

SAMPLE = programs.TREE / "conf/fcgi-host.ini.in"
FUNCTIONS = programs.HERE / "runtime"


def section(name):
    """[runtime NAME] as installed, and the paths of its programs in this tree."""
    found = re.findall(rf"^\[runtime {name}\]\n(?:(?!\[|;).*\n)*",
                       SAMPLE.read_text(), re.MULTILINE)
    assert len(found) == 1, f"{len(found)} [runtime {name}] in {SAMPLE}"
    named = re.findall(r"@runtimesdir@/(\S+)", found[0])
    return found[0].strip() + "\n", {
        program: path for program in named
        for path in (programs.TREE / "functions").glob(f"*/{program}")}


def command(name):
    """The command of a runtime, and the function's path behind it."""
    text, paths = section(name)
    words = re.search(r"^command = (.*) %f$", text, re.MULTILINE)[1].split()
    return [str(paths.get(word.removeprefix("@runtimesdir@/"), word))
            for word in words]


def all_sections():
    """The text of all [runtime] sections of the sample."""
    return "\n".join(re.findall(r"^\[runtime \w+\]\n(?:(?!\[|; A tenant).*\n)*",
                                SAMPLE.read_text(), re.MULTILINE))


class Shelf:
    """The scripts where a sandbox can show them: /tmp is its own there."""

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fh-", dir="/var/lib"))
        self.dir.chmod(0o755)
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)

    def all(self):
        """All runtimes; those of compiled programs are not on the shelf."""
        for name in ("psgi", "rack"):
            self.section(name)
        shutil.copytree(programs.TREE / "functions/node", self.dir / "node",
                        dirs_exist_ok=True)
        return "\n" + all_sections().replace(
            "@runtimesdir@", str(self.dir)).replace(
                "@runtimesbind@", f"bind = {self.dir}") + "\n"

    def section(self, name, **more):
        text, paths = section(name)
        for path in paths.values():
            shutil.copytree(path.parent, self.dir, dirs_exist_ok=True)
        return text.replace("@runtimesdir@", str(self.dir)).replace(
            "@runtimesbind@", f"bind = {self.dir}") + "".join(
                f"{key} = {value}\n" for key, value in more.items()) + "\n"


def clock_of(pid):
    """(state, ticks of its own, ticks of the kernel for it), or None."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    rest = text[text.rindex(")") + 2:].split()
    return rest[0], rest[11], rest[12]


class Alone:
    """A runtime's program with a listening socket as its descriptor 0."""

    def __init__(self, name, function, **env):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fh-", dir="/tmp"))
        self.address = str(self.dir / "s")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.address)
        listener.listen(8)
        with listener, open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen(
                [*command(name), str(function)], stdin=listener, stdout=log,
                stderr=log, cwd="/", preexec_fn=programs.end_with_parent,
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **env})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def connect(self):
        return fcgi.Connection(self.address)

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

    def end(self, number=signal.SIGTERM, timeout=30):
        """Its exit code behind the signal."""
        os.kill(self.process.pid, number)
        return self.process.wait(timeout)


def request(path="/", body=b"", request_id=1, **extra):
    """What the host would send: the URL's path is split."""
    return fcgi.request_bytes(
        f"/fn/x{path}", body, request_id, SCRIPT_NAME="/fn/x",
        PATH_INFO=path.partition("?")[0], **extra)


def begin_body(connection, path, length, **extra):
    """A request whose body is still to come, on a connection to a program or a
    host."""
    params = fcgi.request_params(path, "POST", length, **extra)
    connection.send(fcgi.begin() +
                    fcgi.stream(fcgi.PARAMS, 1, fcgi.pairs(params)))


def send_body(connection, data):
    connection.send(fcgi.record(fcgi.STDIN, 1, data))


def talk(connection, lines, answers):
    """Sends each line when the answer to the one before is there."""
    answer = None
    for line, expected in zip(lines[:-1], answers):
        send_body(connection, line)
        answer = connection.read_answer(
            answer=answer, stop=lambda a: a.body.endswith(expected))
        assert answer.body.endswith(expected) and not answer.is_complete, answer
    send_body(connection, lines[-1])
    send_body(connection, b"")
    return connection.read_answer(answer=answer)


def wait_spare(host, timeout=30):
    """Until the only instance that is left is a spare."""
    until = time.monotonic() + timeout
    while True:
        found = [one["state"] for one in json.loads(
            host.verb("status", "--json").stdout)["instances"]]
        if found == ["spare"]:
            return
        assert time.monotonic() < until, (found, host.log()[-2000:])
        time.sleep(0.03)


def read_until(client, text):
    """Reads a web server's answer up to a text."""
    while text not in client.pending:
        more = client.sock.recv(65536)
        assert more, f"the answer ended behind {client.pending!r}"
        client.pending += more
