"""The hostile function behind the whole host: what it tries, it must not get.

tests/probes/try runs the same probes in sandboxes with layers off, and outside;
here they run as a tenant's CGI function.  Names and expectations are those of
tests/probes/probes.ini.
"""
import configparser
import copy
import ctypes
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

from lib import proc

PORT = 8098
HERE = pathlib.Path(__file__).resolve().parent
PROBES = configparser.ConfigParser(interpolation=None, delimiters=("=",))
PROBES.read(HERE.parent / "probes/probes.ini", encoding="utf-8")
NUMBERS = [name for name in PROBES.sections() if "expects" in PROBES[name] and
           not {"tested", "through"} & set(PROBES[name])]
IPC_KEY, IPC_CREAT, IPC_RMID = 0x50524F42, 0o1000, 0
libc = ctypes.CDLL(None, use_errno=True)


def sentence(number):
    """"1-read-etc-shadow-list-root": the test's name."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", PROBES[number]["tries"])
    return f"{number}-{words}"


@pytest.fixture(scope="module")
def probe(installed, programs):
    """The static program: the built one, else compiled here."""
    built = installed.libexec / "tests/probes/probe"
    return built if built.exists() else programs.probe


@pytest.fixture(scope="module")
def stranger():
    """A process of the host that a function must not reach."""
    victim = subprocess.Popen(["sleep", "1000"])
    yield victim
    assert victim.poll() is None, "a process of the host was ended"
    assert proc.stat(victim.pid)[1] != "T", "a process of the host was stopped"
    victim.kill()
    victim.wait()


@pytest.fixture(scope="module")
def count(tmp_path_factory):
    return tmp_path_factory.mktemp("netns") / "count"


@pytest.fixture(scope="module")
def segment():
    """Shared memory of the host that everyone may read."""
    number = libc.shmget(IPC_KEY, 4096, IPC_CREAT | 0o666)
    assert number >= 0, os.strerror(ctypes.get_errno())
    yield IPC_KEY
    libc.shmctl(number, IPC_RMID, None)


@pytest.fixture(scope="module")
def host(start, installed, probe, stranger, count, segment):
    apart = copy.copy(installed)
    wrapper = count.parent / "fcgi-host"
    wrapper.write_text(
        f"#!/bin/sh\nexec {sys.executable} "
        f"{pathlib.Path(__file__).parent}/lib/netns.py {count} {PORT} "
        f"{installed.command} \"$@\"\n")
    wrapper.chmod(0o755)
    start.installed, kept = apart, start.installed
    host = start.host(is_started=False)
    start.installed = kept
    # Only `run` is started there; the verbs speak to its socket from here.
    apart.command = wrapper
    host.add("alice/probe.cgi", probe)
    host.add("bob/secret.sh", "printf 'Content-Type: text/plain\\n\\nbob'\n")
    host.sidecar("alice/probe", **{
        "env.PROBE_MARKER": host.functions / "bob/secret.sh",
        "env.PROBE_HOST_PID": str(stranger.pid),
        "env.PROBE_HOSTNAME": os.uname().nodename,
        "env.PROBE_SOCKET": host.socket, "env.PROBE_IPC_KEY": str(segment),
        "env.PROBE_PORT": str(PORT), "tmp_size": "4M", "processes": "8"})
    host.start()
    apart.command = installed.command
    return host


def is_absent_outside(host, number, said):
    """What the kernel has not got at all, it does not deny inside."""
    assert number == "15", "only int 0x80 may be absent"
    done = subprocess.run([host.functions / "alice/probe.cgi", number],
                          stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 77 and done.stdout == said, done


@pytest.mark.parametrize("number", NUMBERS, ids=sentence)
def test_a_hostile_function_is_denied(host, count, number):
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


def test_the_next_execution_finds_nothing_of_the_last(host):
    seen = set()
    for _ in range(4):
        answer, record = host.execute("/fn/alice/probe", QUERY_STRING="40")
        assert "probe 40: denied" in answer.text, answer.text
        seen.add(record["instance"])
    assert len(seen) == 1, "it was not the same sandbox"


# W27
def test_a_daemon_does_not_outlive_its_execution(host):
    for _ in range(3):
        host.execute("/fn/alice/probe", QUERY_STRING="37")
    left = [pid for pid in host.instances() if proc.program(pid) and
            "probe" in proc.program(pid)]
    assert left == []


def test_the_host_and_its_neighbours_go_on(host):
    answer, record = host.execute("/fn/bob/secret")
    assert (answer.status, answer.text) == (200, "bob")
    assert record["tenant"] == "bob"
    assert set(host.roles()) == {"spawner", "gateway", "scanner"}


def test_tenants_have_ids_of_their_own(host):
    host.add("alice/id.sh", "printf 'Content-Type: text/plain\\n\\n'; id -u\n")
    host.add("bob/id.sh", "printf 'Content-Type: text/plain\\n\\n'; id -u\n")
    host.wait_served("/fn/alice/id")
    host.wait_served("/fn/bob/id")
    alice = host.fetch("/fn/alice/id").text.strip()
    bob = host.fetch("/fn/bob/id").text.strip()
    assert alice.isdigit() and bob.isdigit()
    assert alice != bob and "0" not in (alice, bob)


def test_the_listener_would_have_seen_a_connection(host, count):
    """The probe of the network proves something only if this works."""
    pid = host.roles()["spawner"]
    code = (f"import socket; socket.create_connection(('169.254.169.254', "
            f"{PORT}), 5)")
    subprocess.run(["nsenter", "-t", str(pid), "-n", sys.executable, "-c",
                    code], check=True)
    until = time.monotonic() + 5
    while count.read_bytes() == b"" and time.monotonic() < until:
        time.sleep(0.02)
    assert count.read_bytes() == b"x"
