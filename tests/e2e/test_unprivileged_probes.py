"""The hostile function behind a host that an ordinary user has started: all is
that user's to the machine, and still it must not get what it tries."""
import os
import pathlib
import subprocess
import sys
import time

import pytest

from lib import host as host_room, proc
# pylint: disable=unused-import
from test_probes import NUMBERS, PORT, count, is_absent_outside, probe, \
    sentence

pytestmark = pytest.mark.any_user


@pytest.fixture(scope="module")
def stranger():
    """A process of the same user's, which a function must not reach."""
    victim = subprocess.Popen([*host_room.become_user(), "sleep", "1000"])
    yield victim
    assert victim.poll() is None, "a process of the user's was ended"
    assert proc.stat(victim.pid)[1] != "T", "a process was stopped"
    victim.kill()
    victim.wait()


@pytest.fixture(scope="module")
def host(start, reachable, probe, stranger, count):
    if os.geteuid() != 0:
        pytest.skip("NOT RUN: the listener that a probe must not reach has a "
                    "network namespace that root makes")
    start.installed = reachable
    host = start.host(is_started=False, as_user=True, wrap=(
        sys.executable, f"{pathlib.Path(__file__).parent}/lib/netns.py",
        str(count), str(PORT)))
    host.add("alice/probe.cgi", probe)
    host.add("bob/secret.sh", "printf 'Content-Type: text/plain\\n\\nbob'\n")
    host.sidecar("alice/probe", **{
        "env.PROBE_MARKER": host.functions / "bob/secret.sh",
        "env.PROBE_HOST_PID": str(stranger.pid),
        "env.PROBE_PORT": str(PORT), "tmp_size": "4M", "processes": "8"})
    return host.start()


@pytest.mark.parametrize("number", NUMBERS, ids=sentence)
def test_a_hostile_function_of_the_users_is_denied(host, count, number):
    answer, record = host.execute("/fn/alice/probe", QUERY_STRING=number)
    assert answer.status == 200, (answer.text, record)
    if answer.text.startswith("absent:"):
        is_absent_outside(host, number, answer.text)
        return
    assert f"probe {number}: denied" in answer.text, answer.text
    assert "HOLE" not in answer.text, answer.text
    assert (record["outcome"], record["exit"]) == ("ok", 0)
    assert count.read_bytes() == b"", "the listener was reached"


def test_the_next_execution_finds_nothing_of_the_last(host):
    seen = set()
    for _ in range(4):
        answer, record = host.execute("/fn/alice/probe", QUERY_STRING="40")
        assert "probe 40: denied" in answer.text, answer.text
        seen.add(record["instance"])
    assert len(seen) == 1, "it was not the same sandbox"


def test_the_host_and_its_neighbours_go_on(host):
    answer, record = host.execute("/fn/bob/secret")
    assert (answer.status, answer.text) == (200, "bob")
    assert record["tenant"] == "bob"
    assert set(host.roles()) == {"spawner", "gateway", "scanner"}


def test_the_listener_would_have_seen_a_connection(host, count):
    """The probe of the network proves something only if this works."""
    code = (f"import socket; socket.create_connection(('169.254.169.254', "
            f"{PORT}), 5)")
    subprocess.run(["nsenter", "-t", str(host.pid), "-n", sys.executable,
                    "-c", code], check=True)
    until = time.monotonic() + 5
    while count.read_bytes() == b"" and time.monotonic() < until:
        time.sleep(0.02)
    assert count.read_bytes() == b"x"
