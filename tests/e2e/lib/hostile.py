"""The probes of tests/probes as a tenant's function, and a host that stands in a
network of its own, where listeners count who is reached."""
import configparser
import ctypes
import os
import pathlib
import re
import subprocess
import sys
import time

from lib import host as host_room, proc

PORT = 8098
HERE = pathlib.Path(__file__).resolve().parent
PROBES = configparser.ConfigParser(interpolation=None, delimiters=("=",))
PROBES.read(HERE.parent.parent / "probes/probes.ini", encoding="utf-8")
NUMBERS = [name for name in PROBES.sections() if "expects" in PROBES[name] and
           not {"tested", "through"} & set(PROBES[name])]
# Not of a host that an ordinary user started; the value says why.
NOT_AS_USER = {name: PROBES[name]["not as user"] for name in PROBES.sections()
               if "not as user" in PROBES[name]}
IPC_KEY, IPC_CREAT, IPC_RMID = 0x50524F42, 0o1000, 0
libc = ctypes.CDLL(None, use_errno=True)


def sentence(number):
    """"1-read-etc-shadow-list-root": the test's name."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", PROBES[number]["tries"])
    return f"{number}-{words}"


def program(installed, programs):
    """The static program: the built one, else compiled here."""
    built = installed.libexec / "tests/probes/probe"
    return built if built.exists() else programs.probe


class Stranger:
    """A process of the machine that a function must not reach, under the uid
    that is to the machine the host's own, if it is an ordinary user's."""

    def __init__(self, as_user):
        become = host_room.become_user() if as_user else []
        self.process = subprocess.Popen([*become, "sleep", "1000"])

    @property
    def pid(self):
        return self.process.pid

    def end(self):
        assert self.process.poll() is None, "a process of the host was ended"
        assert proc.stat(self.pid)[1] != "T", \
            "a process of the host was stopped"
        self.process.kill()
        self.process.wait()


class Segment:
    """Shared memory of the machine that everyone may read."""

    def __init__(self):
        self.number = libc.shmget(IPC_KEY, 4096, IPC_CREAT | 0o666)
        assert self.number >= 0, os.strerror(ctypes.get_errno())

    def end(self):
        libc.shmctl(self.number, IPC_RMID, None)


def host_of(start, probe, stranger, count, as_user=False):
    """A started host with /fn/alice/probe and /fn/bob/secret; each connection
    to a listener adds a byte to the file count."""
    host = start.host(is_started=False, as_user=as_user, wrap=(
        sys.executable, str(HERE / "netns.py"), str(count), str(PORT)))
    host.add("alice/probe.cgi", probe)
    host.add("bob/secret.sh", "printf 'Content-Type: text/plain\\n\\nbob'\n")
    host.sidecar("alice/probe", **{
        "env.PROBE_MARKER": host.functions / "bob/secret.sh",
        "env.PROBE_HOST_PID": str(stranger.pid),
        "env.PROBE_HOSTNAME": os.uname().nodename,
        "env.PROBE_SOCKET": host.socket, "env.PROBE_IPC_KEY": str(IPC_KEY),
        "env.PROBE_PORT": str(PORT), "tmp_size": "4M", "processes": "8"})
    return host.start()


def expect_counted(host, count):
    """A connection to the metadata address out of the host's network is seen:
    the probe of the network proves something only if this works."""
    pid, into = host.pid, ["--net"]
    if os.geteuid() != 0:
        # the host's namespaces are not open to its user; the listener's, which
        # it was started from, are
        pid = pathlib.Path(f"{count}.pid").read_text()
        into = ["--user", "--preserve-credentials", "--net"]
    code = (f"import socket; socket.create_connection(('169.254.169.254', "
            f"{PORT}), 5)")
    subprocess.run(["nsenter", f"--target={pid}", *into, sys.executable, "-c",
                    code], check=True)
    until = time.monotonic() + 30
    while count.read_bytes() == b"" and time.monotonic() < until:
        time.sleep(0.02)
    assert count.read_bytes() == b"x"


def is_absent_outside(host, number, said):
    """What the kernel has not got at all, it does not deny inside."""
    assert number in ("15", "66"), "only int 0x80 and Landlock may be absent"
    done = subprocess.run([host.functions / "alice/probe.cgi", number],
                          stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 77 and done.stdout == said, done


def expect_denied(host, count, number):
    """One execution of a probe: it is told what probes.ini says."""
    answer, record = host.execute("/fn/alice/probe", QUERY_STRING=number)
    assert answer.status == 200, (answer.text, record)
    if answer.text.startswith("absent:"):
        is_absent_outside(host, number, answer.text)
        return
    assert f"probe {number}: denied" in answer.text, answer.text
    assert "HOLE" not in answer.text, answer.text
    expected = PROBES[number]["expects"].split(" | ")
    assert any(one in answer.text for one in expected), answer.text
    assert (record["outcome"], record["exit"]) == ("ok", 0)
    assert count.read_bytes() == b"", "the listener was reached"


def expect_nothing_left(host):
    """What one execution leaves behind the next does not find, in one sandbox."""
    seen = set()
    for _ in range(4):
        answer, record = host.execute("/fn/alice/probe", QUERY_STRING="40")
        assert "probe 40: denied" in answer.text, answer.text
        seen.add(record["instance"])
    assert len(seen) == 1, "it was not the same sandbox"
