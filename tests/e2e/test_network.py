"""What a function reaches by `network`: nothing, itself, or what is said of egress.

The host runs in a network namespace of the test's own, where the metadata address
and a private one stand with listeners that count (lib/netns.py).
"""
import pathlib
import subprocess
import sys
import time

import pytest

from lib import threads

HERE = pathlib.Path(__file__).parent
NET = (HERE / "programs/net.py").read_text()
PORT = 8097
# the virtual machine's kernel has it not
HAS_IPV6 = pathlib.Path("/proc/net/if_inet6").exists()
NO_IPV6 = pytest.mark.skipif(not HAS_IPV6, reason="NOT RUN: this kernel has no "
                             "IPv6")
OWN = [said for kind in ("tcp", "udp")
       for said in (kind, kind if HAS_IPV6 else "EAFNOSUPPORT")]
INSIDE = [["1", "0"], ["1", "6"], ["2", "0"], ["2", "17"]]


@pytest.fixture(scope="module")
def count(tmp_path_factory):
    return tmp_path_factory.mktemp("netns") / "count"


@pytest.fixture(scope="module")
def host(start, installed, programs, count):
    built = installed.libexec / "tests/probes/probe"
    made = start.host(
        {f"alice/{name}.py": NET for name in ("lo", "other", "none", "turn")},
        {"function alice/lo": {"network": "loopback"},
         "function alice/other": {"network": "loopback", "idle": "0"},
         "function alice/probe": {"network": "loopback"},
         "function alice/warm": {"network": "loopback"}},
        wrap=(sys.executable, HERE / "lib/netns.py", count, str(PORT)),
        is_started=False)
    made.add("alice/probe.cgi", built if built.exists() else programs.probe)
    made.add("alice/warm.fcgi", programs.fcgi)
    made.sidecar("alice/probe", **{"env.PROBE_PORT": str(PORT)})
    made.start()
    made.wait_served("/fn/alice/turn?own")
    return made


@pytest.fixture(autouse=True)
def nobody_is_reached(host, count):
    """By any of these tests but the one that asks for it."""
    count.write_bytes(b"")
    yield
    assert count.read_bytes() == b"", "a listener outside was reached"


def ask(host, name, *words):
    answer = host.fetch(f"/fn/alice/{name}", QUERY_STRING="+".join(words))
    assert answer.status == 200, (answer, host.log()[-2000:])
    return answer.text.split("\n")[:-1]


def from_outside(host, *words):
    """The same program beside the daemon, in its network namespace."""
    done = subprocess.run(
        ["nsenter", "-t", str(host.roles()["spawner"]), "-n", sys.executable,
         HERE / "programs/net.py", *words], stdout=subprocess.PIPE, text=True,
        check=True, timeout=30)
    return done.stdout.split("\n")[:-1]


# ----------------------------------------------------------------- loopback


def test_with_a_loopback_a_function_speaks_to_itself(host):
    assert ask(host, "lo", "own") == OWN
    assert ask(host, "lo", "names", "localhost") == ["127.0.0.1"]


def test_without_a_network_there_is_no_such_family(host):
    assert ask(host, "none", "own") == ["EAFNOSUPPORT"] * 4
    assert ask(host, "none", "families") == []


def test_of_the_internet_it_has_tcp_and_udp_and_no_other_socket(host):
    made = [line.split() for line in ask(host, "lo", "families")]
    assert made == [[family, *one]
                    for family in (("2", "10") if HAS_IPV6 else ("2",))
                    for one in INSIDE]
    # TLS in the kernel, and what came after it; IPsec in datagrams
    assert ask(host, "lo", "options") == [
        "1 ok", "30 ok", "31 ENOPROTOOPT", "38 ENOPROTOOPT",
        "udp 1 ok", "udp 103 ok", "udp 104 ok", "udp 100 ENOPROTOOPT"]


@pytest.mark.parametrize("address, said", [
    ("127.0.0.1", "ECONNREFUSED"), ("169.254.169.254", "ENETUNREACH"),
    ("10.0.0.1", "ENETUNREACH"), ("203.0.113.1", "ENETUNREACH"),
    pytest.param("2001:db8::1", "ENETUNREACH", marks=NO_IPV6)])
def test_with_a_loopback_nothing_outside_is_reached(host, address, said):
    assert ask(host, "lo", "tcp", address, str(PORT)) == [said]
    ask(host, "lo", "udp", address, str(PORT))
    assert ask(host, "none", "tcp", address, str(PORT)) == ["EAFNOSUPPORT"]


def test_only_the_instances_of_one_function_find_each_other_there(host):
    held = threads.begin(ask, host, "lo", "hold", "5000", "held")
    mark = host.wait_file(host.state / "data/alice/held")
    addresses = ("127.0.0.1", "::1") if HAS_IPV6 else ("127.0.0.1",)
    for address in addresses:
        # which is what the manual says of them
        assert ask(host, "lo", "tcp", address, "5000") == ["ok"]
        assert ask(host, "other", "tcp", address, "5000") == ["ECONNREFUSED"]
        assert from_outside(host, "tcp", address, "5000") in (
            ["ECONNREFUSED"], ["EADDRNOTAVAIL"])
    assert ask(host, "other", "abstract", "held") == ["ECONNREFUSED"]
    assert from_outside(host, "abstract", "held") == ["ECONNREFUSED"]
    assert not held.done()
    mark.unlink()
    assert held.result() == ["held"]


def test_a_fresh_sandbox_for_every_execution_has_a_loopback_too(host):
    for _ in range(3):
        assert ask(host, "other", "own") == OWN


def test_a_program_that_speaks_fastcgi_is_served_as_ever(host):
    assert host.fetch("/fn/alice/warm?head&raw=x").text == "x"


@pytest.mark.parametrize("number", ["24", "27", "28", "29", "41", "status"])
def test_a_hostile_function_with_a_loopback_is_denied(host, number):
    answer, record = host.execute("/fn/alice/probe", QUERY_STRING=number)
    assert answer.status == 200, (answer.text, record)
    assert f"probe {number}: denied" in answer.text, answer.text
    assert "HOLE" not in answer.text, answer.text


def test_only_the_administrator_gives_a_network(host):
    host.sidecar("alice/wants", network="loopback")
    host.add("alice/wants.py", NET)
    said = host.verb("list").stdout
    assert "network: only the administrator's file may set this" in said
    assert host.fetch("/fn/alice/wants?own").status == 404
    (host.functions / "alice/wants.ini").unlink()
    host.wait_served("/fn/alice/wants?own")
    assert ask(host, "wants", "own") == ["EAFNOSUPPORT"] * 4


def test_a_reload_gives_a_network_and_takes_it(host):
    seen = []
    for network in "loopback", "none", "loopback":
        host.configure({"function alice/turn": {"network": network}})
        assert host.verb("reload").returncode == 0
        answer, record = host.execute("/fn/alice/turn", QUERY_STRING="own")
        assert answer.text.split() == (
            OWN if network == "loopback" else ["EAFNOSUPPORT"] * 4)
        seen.append(record["instance"])
    assert len(set(seen)) == 3
    before = seen[-1]
    assert host.verb("reload").returncode == 0
    _, record = host.execute("/fn/alice/turn", QUERY_STRING="own")
    assert record["instance"] == before, "a reload without a change"


@pytest.mark.parametrize("name", ["lo", "none"])
def test_a_shell_has_the_network_of_its_function(host, name):
    for words in ("own",), ("families",), ("options",), \
            ("tcp", "169.254.169.254", str(PORT)):
        if name == "none" and words == ("options",):
            continue
        done = subprocess.run(
            [host.installed.command, "shell", "-c", host.ini_path,
             f"alice/{name}", "--", "/usr/bin/python3", f"/fn/{name}.py",
             *words], env=host.installed.environment(), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60,
            check=True)
        assert done.stdout.split("\n")[:-1] == ask(host, name, *words)


def test_the_tool_gives_a_loopback_when_asked(host, installed):
    program = host.functions / "alice/lo.py"
    for network, said in ("loopback", OWN), ("none", ["EAFNOSUPPORT"] * 4):
        done = subprocess.run(
            [installed.sandbox, "-q", "--network", network, "-f", program,
             "/usr/bin/python3", "/fn/lo.py", "own"], text=True,
            env=installed.environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, timeout=60, check=True)
        assert done.stdout.split() == said


def test_the_listeners_would_have_seen_it(host, count):
    """What is counted above proves something only if this works."""
    for address in "127.0.0.1", "169.254.169.254", "10.0.0.1":
        assert from_outside(host, "tcp", address, str(PORT)) == ["ok"]
        assert from_outside(host, "udp", address, str(PORT)) == ["ok"]
    assert from_outside(host, "abstract", "fcgi-host-probe") == ["ok"]
    until = time.monotonic() + 30
    while len(count.read_bytes()) < 7 and time.monotonic() < until:
        time.sleep(0.02)
    assert count.read_bytes() == b"x" * 7
    count.write_bytes(b"")
