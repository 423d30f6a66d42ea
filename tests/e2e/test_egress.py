"""network = egress: the internet and nothing else, by the script's namespace.

The host runs on a machine of its own, as far as the network goes, in a world of
its own (lib/internet.py), where everybody who is reached writes a line.
"""
import json
import pathlib
import subprocess
import sys
import time

import pytest

from lib import internet, proc, programs as programs_room, threads

HERE = pathlib.Path(__file__).parent
NET = (HERE / "programs/net.py").read_text()
CURL = """printf 'Content-Type: text/plain\\n\\n'
curl -sS -m 3 "http://$QUERY_STRING/" 2>&1; echo "exit $?"
"""
SPACE = "/run/netns/fcgi-host"
OWN = "198.18.0.2"
PUBLIC = internet.PUBLIC
# what is nobody's to reach from a function: around the machine, and the machine
REFUSED = (*internet.PRIVATE, internet.RESOLVER, *internet.MACHINE,
           "192.168.55.2", "198.18.0.1", OWN, "127.0.0.1", "0.0.0.0",
           "224.0.0.1", "255.255.255.255")


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    return tmp_path_factory.mktemp("internet") / "seen"


@pytest.fixture(scope="module")
def host(start, installed, programs, seen):
    programs_room.need("nft", "ip", "curl")
    built = installed.libexec / "tests/probes/probe"
    made = start.host(
        {"alice/way.py": NET, "alice/curl.sh": CURL, "bob/way.py": NET,
         "bob/none.py": NET, "bob/none_curl.sh": CURL, "bob/lo.py": NET},
        {"defaults": {"egress": SPACE},
         "tenant alice": {"network": "egress"},
         "function bob/way": {"network": "egress"},
         "function bob/lo": {"network": "loopback"}},
        wrap=(sys.executable, HERE / "lib/internet.py", seen),
        is_started=False)
    made.add("alice/probe.cgi", built if built.exists() else programs.probe)
    made.sidecar("alice/probe", **{"env.PROBE_PORT": "80"})
    made.start()
    egress(made, "up")
    made.wait_served("/fn/alice/way?where")
    return made


@pytest.fixture(autouse=True)
def lines(seen):
    """Who was reached during the test."""
    before = seen.read_text().count("\n") if seen.exists() else 0

    def read():
        return seen.read_text().split("\n")[before:-1]
    return read


def on_machine(host, *words, code=0):
    """A command on the host's machine: its network, its /run and /etc."""
    done = subprocess.run(
        ["nsenter", "-t", str(host.roles()["spawner"]), "-n", "-m",
         *map(str, words)], text=True, stdin=subprocess.DEVNULL, timeout=60,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
        env=host.installed.environment())
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return done.stdout + done.stderr


def egress(host, *words, code=0):
    return on_machine(host, "sh", HERE.parent.parent /
                      "sandbox/fcgi-host-egress", *words, code=code)


def ask(host, name, *words):
    answer = host.fetch(f"/fn/{name}", QUERY_STRING="+".join(words))
    assert answer.status == 200, (answer, host.log()[-2000:])
    return answer.text.split("\n")[:-1]


def settle():
    """A datagram that is under way has arrived after that."""
    time.sleep(0.2)


def are_reached(lines, *wanted):
    """These are, in the end, and nobody else by then."""
    until = time.monotonic() + 30
    while len(lines()) < len(wanted):
        assert time.monotonic() < until, lines()
        time.sleep(0.02)
    settle()
    assert sorted(lines()) == sorted(wanted)


# ------------------------------------------------------------ what is reached


@pytest.mark.parametrize("name", [PUBLIC, "internet.test"])
def test_curl_reaches_the_internet(host, lines, name):
    assert ask(host, "alice/curl", name) == ["the internet", "exit 0"]
    assert lines() == [f"tcp {PUBLIC}"]


def test_tcp_and_udp_reach_the_internet(host, lines):
    assert ask(host, "alice/way", "tcp", PUBLIC, "80") == ["ok"]
    assert ask(host, "bob/way", "udp", PUBLIC, "80") == ["ok"]
    are_reached(lines, f"tcp {PUBLIC}", f"udp {PUBLIC}")


def test_a_function_without_it_reaches_nothing(host, lines):
    for address in PUBLIC, "10.0.0.1":
        for kind in "tcp", "udp":
            assert ask(host, "bob/none", kind, address, "80") == [
                "EAFNOSUPPORT"]
            assert ask(host, "bob/lo", kind, address, "80") == ["ENETUNREACH"]
    said = ask(host, "bob/none_curl", PUBLIC)
    assert said[-1] in ("exit 6", "exit 7"), said
    assert ask(host, "bob/none", "names", "internet.test") == ["gai -2"]
    assert lines() == []


def test_starts_leave_no_namespace_with_the_host(host):
    """A tenant whose programs come and go would use up its descriptors."""
    spawner = host.roles()["spawner"]
    host.add("alice/fresh.py", NET)
    host.sidecar("alice/fresh", idle="0s")
    host.wait_served("/fn/alice/fresh?where")
    for _ in range(5):
        assert ask(host, "alice/fresh", "where") == [OWN]
    # One is open while a sandbox is made, and one is made ahead.
    until = time.monotonic() + 30
    while proc.descriptors(spawner).count(SPACE) > 0:
        assert time.monotonic() < until, proc.descriptors(spawner)
        time.sleep(0.02)


# ------------------------------------------------------------ what is refused


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_private_or_the_machines_is_refused(host, lines, address):
    assert ask(host, "alice/way", "tcp", address, "80", "0.5") != ["ok"]
    said = ask(host, "alice/way", "udp", address, "80")
    # of what is its own only the machine knows
    assert said != ["ok"] or address in internet.MACHINE, said
    settle()
    assert lines() == []


def remembered(host):
    """How many connections the machine has in mind."""
    return int(on_machine(
        host, "cat", "/proc/sys/net/netfilter/nf_conntrack_count"))


def test_who_floods_the_internet_leaves_the_machine_its_memory(host):
    """The machine remembers each new connection, and has room for so many."""
    before, begun = remembered(host), time.monotonic()
    left, = ask(host, "alice/way", "flood", PUBLIC, "20000")
    took = time.monotonic() - begun
    assert 500 <= int(left) <= 1100 + 110 * took, (left, took)
    assert remembered(host) - before <= 1100 + 110 * took
    # and goes on when it is over
    until = time.monotonic() + 20
    while ask(host, "alice/way", "tcp", PUBLIC, "80", "1") != ["ok"]:
        assert time.monotonic() < until


def test_curl_says_of_metadata_at_once_that_it_cannot(host, lines):
    begun = time.monotonic()
    said = ask(host, "alice/curl", "169.254.169.254/latest/meta-data")
    assert said[-1] == "exit 7", said
    assert time.monotonic() - begun < 15
    assert lines() == []


def test_the_same_by_ipv6_is_not_there(host, lines):
    for address in "::1", "fe80::1", "fd00::1", "2001:db8::9", \
            "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1":
        for kind in "tcp", "udp":
            assert ask(host, "alice/way", kind, address, "80") != ["ok"]
    settle()
    assert lines() == []


def test_of_the_resolver_only_the_resolver_is_reached(host, lines):
    assert ask(host, "alice/way", "names", "internet.test") == [PUBLIC]
    for kind in "tcp", "udp":
        assert ask(host, "alice/way", kind, internet.RESOLVER, "80") != ["ok"]
    settle()
    assert lines() == []


def test_of_the_internet_it_has_tcp_and_udp_and_no_other_socket(host):
    assert ask(host, "alice/way", "families") == [
        f"{family} {one}" for family in (2, 10)
        for one in ("1 0", "1 6", "2 0", "2 17")]


def test_no_other_address_than_its_own_is_sent_from(host, lines):
    for source in "203.0.113.2", "10.0.0.1", "198.18.0.6":
        ask(host, "alice/way", "spoof", PUBLIC, "80", source)
    settle()
    assert lines() == []
    assert ask(host, "alice/way", "spoof", PUBLIC, "80", OWN) == ["ok"]


@pytest.mark.parametrize("number", ["24", "27", "28", "29", "41", "status"])
def test_a_hostile_function_with_a_way_out_is_denied(host, lines, number):
    answer, record = host.execute("/fn/alice/probe", QUERY_STRING=number)
    assert answer.status == 200, (answer.text, record)
    assert f"probe {number}: denied" in answer.text, answer.text
    assert "HOLE" not in answer.text, answer.text
    assert lines() == []


def hold(host):
    """Alice's listens, at the port 5000, until the file is taken away."""
    held = threads.begin(ask, host, "alice/way", "hold", "5000", "held")
    return held, host.wait_file(host.state / "data/alice/held")


def test_functions_do_not_find_each_other_there(host, lines):
    held, mark = hold(host)
    for address in OWN, "127.0.0.1", "0.0.0.0":
        for name in "alice/way", "bob/way":
            assert ask(host, name, "tcp", address, "5000", "0.3") != ["ok"]
    said = ask(host, "bob/way", "abstract", "held")
    check = json.loads(host.verb("check", "--json").stdout)
    abi = next(layer["fact"] for layer in check["layers"]
               if layer["layer"] == "landlock")
    if "abstract sockets, signals" in abi:
        assert said == ["EPERM"]
    else:
        assert any("older than ABI 6" in one for one in check["warnings"])
    assert not held.done()
    mark.unlink()
    assert held.result() == ["held"]


def test_who_listens_there_is_reached_by_nobody(host):
    held, mark = hold(host)
    net = host.functions / "alice/way.py"
    for where in [], ["ip", "netns", "exec", "world"]:
        said = on_machine(host, *where, "/usr/bin/python3", net, "tcp", OWN,
                          "5000", "0.5")
        assert said == "timeout\n"
    assert not held.done()
    mark.unlink()
    held.result()


# --------------------------------------------------------- each by itself

ROUTES = ("ip", "-n", "fcgi-host", "route", "flush", "table", "main", "type",
          "prohibit")
INSIDE = ("ip", "netns", "exec", "fcgi-host", "nft", "delete", "table", "inet",
          "fcgi-host-egress")
OUTSIDE = ("nft", "delete", "table", "inet", "fhe-fcgi-host")


@pytest.mark.parametrize("what, off", [
    ("the machine's rules", (ROUTES, INSIDE)), ("the rules inside",
                                                (ROUTES, OUTSIDE)),
    ("the routes", (INSIDE, OUTSIDE))])
def test_one_of_the_three_is_enough(host, lines, what, off):
    try:
        for words in off:
            on_machine(host, *words)
        for address in internet.PRIVATE:
            for kind in "tcp", "udp":
                ask(host, "alice/way", kind, address, "80", "0.3")
        settle()
        assert lines() == [], what
    finally:
        egress(host, "up")


def test_without_all_three_it_would_have_been_reached(host, lines):
    """What is counted above proves something only if this works."""
    try:
        for words in ROUTES, INSIDE, OUTSIDE:
            on_machine(host, *words)
        for address in internet.PRIVATE:
            assert ask(host, "alice/way", "udp", address, "80") == ["ok"]
        are_reached(lines, *[f"udp {address}" for address in internet.PRIVATE])
        said = host_check(host)["warnings"]
        assert any("does not itself refuse 169.254.169.254" in one
                   for one in said), said
    finally:
        egress(host, "up")


# ------------------------------------------------------------- configuration


def host_check(host):
    """`check` where the host is; other errors than egress's are not of here."""
    done = subprocess.run(
        ["nsenter", "-t", str(host.roles()["spawner"]), "-n", "-m",
         host.installed.command, "check", "-c", host.ini_path, "--json"],
        text=True, stdout=subprocess.PIPE, env=host.installed.environment(),
        timeout=60, cwd="/", check=False)
    found = json.loads(done.stdout)
    return {weight: [one for one in found[weight] if "egress" in one]
            for weight in ("errors", "warnings", "notes")}


def test_check_finds_nothing_wrong_with_the_scripts_namespace(host):
    found = host_check(host)
    assert found["errors"] == [], found
    assert [one for one in found["warnings"] if "ABI" not in one] == [], found


@pytest.mark.parametrize("path, words", [
    ("/run/netns/nothing", "there is none; make it: fcgi-host-egress up"),
    ("/etc/passwd", "it is no network namespace"),
    ("/proc/self/ns/pid", "it is no network namespace"),
    ("/run/netns/machine", "it is the machine's own network")])
def test_what_is_no_way_out_is_refused_in_words(host, path, words):
    if path.endswith("machine"):
        on_machine(host, "touch", path)
        on_machine(host, "mount", "--bind",
                   f"/proc/{host.roles()['spawner']}/ns/net", path)
    host.configure({"function bob/way": {"egress": path}})
    try:
        assert host.verb("reload").returncode == 0
        answer = host.fetch("/fn/bob/way?where")
        assert answer.status == 502, answer
        host.wait_log(f"egress: {path}: {words}")
        assert any(words in one for one in host_check(host)["errors"])
        # nobody else is concerned
        assert ask(host, "alice/way", "where") == [OWN]
    finally:
        host.configure({"function bob/way": {"egress": SPACE}})
        assert host.verb("reload").returncode == 0
        host.wait_served("/fn/bob/way?where", timeout=40)


def test_a_tenant_may_have_one_of_his_own(host, lines):
    egress(host, "up", "--name", "bob", "--dns", "none", "--allow",
           "10.0.0.5:80")
    host.configure({"function bob/way": {"egress": "/run/netns/bob"}})
    try:
        assert host.verb("reload").returncode == 0
        assert ask(host, "bob/way", "where") == ["198.18.0.6"]
        assert ask(host, "bob/way", "tcp", "10.0.0.5", "80") == ["ok"]
        assert ask(host, "bob/way", "tcp", "10.0.0.5", "81", "0.3") != ["ok"]
        assert ask(host, "bob/way", "tcp", PUBLIC, "80") == ["ok"]
        # nobody from the one to the other
        assert ask(host, "alice/way", "tcp", "198.18.0.6", "80") != ["ok"]
        assert ask(host, "bob/way", "names", "internet.test") == ["gai -3"]
        are_reached(lines, "tcp 10.0.0.5", f"tcp {PUBLIC}")
    finally:
        host.configure({"function bob/way": {"egress": SPACE}})
        assert host.verb("reload").returncode == 0
        egress(host, "down", "--name", "bob")
    assert ask(host, "bob/way", "where") == [OWN]


def test_a_shell_and_the_tool_have_the_same_way_out(host, lines):
    assert host.verb("shell", "alice/way", "--", "/usr/bin/python3",
                     "/fn/way.py", "names", "internet.test").stdout == \
        f"{PUBLIC}\n"
    said = on_machine(
        host, host.installed.sandbox, "-q", "--network", SPACE, "-f",
        host.functions / "alice/way.py", "/usr/bin/python3", "/fn/way.py",
        "names", "internet.test")
    assert said == f"{PUBLIC}\n"
    said = on_machine(host, host.installed.sandbox, "--network",
                      "/run/netns/nothing", "true", code=125)
    assert "--network /run/netns/nothing: there is none" in said


# -------------------------------------------------------------- the script


def test_called_again_it_leaves_what_runs_connected(host):
    inode = on_machine(host, "stat", "-Lc", "%i", SPACE)
    egress(host, "up", "--allow", "10.0.0.5")
    assert ask(host, "alice/way", "tcp", "10.0.0.5", "80") == ["ok"]
    egress(host, "up")
    assert ask(host, "alice/way", "tcp", "10.0.0.5", "80") != ["ok"]
    assert on_machine(host, "stat", "-Lc", "%i", SPACE) == inode


def test_the_machine_becomes_no_router_for_others(host, lines):
    net = host.functions / "alice/way.py"
    assert on_machine(host, "cat", "/proc/sys/net/ipv4/ip_forward") == "1\n"
    for kind in "tcp", "udp":
        on_machine(host, "ip", "netns", "exec", "lan", "/usr/bin/python3", net,
                   kind, PUBLIC, "80", "0.5")
    settle()
    assert lines() == []


@pytest.mark.parametrize("words, sentence", [
    ((), "say up, down or show"), (("up", "down"), "say one of"),
    (("up", "--nonsense"), "--nonsense is no option"),
    (("up", "--name", "UP;reboot"), "--name UP;reboot: wanted"),
    (("up", "--name", "longer-than-11"), "wanted are up to 11"),
    (("up", "--dns", "1.2.3.256"), "wanted is an IPv4 address"),
    (("up", "--dns", "1.2.3.4 accept"), "wanted is an IPv4 address"),
    (("up", "--allow", "10.0.0.0/33"), "--allow 10.0.0.0/33: wanted"),
    (("up", "--allow", "10.0.0.1:x"), "--allow 10.0.0.1:x: wanted"),
    (("up", "--allow", "10.0.0.1:70000"), "wanted is 10.0.0.5:5432"),
    (("up", "--allow"), "--allow wants an argument")])
def test_what_the_script_cannot_use_is_refused(host, words, sentence):
    assert sentence in egress(host, *words, code=1)


def test_a_resolver_on_the_machines_loopback_is_none(host):
    resolv = "/etc/resolv.conf"
    before = on_machine(host, "cat", resolv)
    on_machine(host, "sh", "-c", f"echo nameserver 127.0.0.53 > {resolv}")
    try:
        said = egress(host, "up", "--name", "deaf", code=1)
        assert "name one: --dns" in said
    finally:
        on_machine(host, "sh", "-c", f"echo '{before.strip()}' > {resolv}")


def test_down_takes_all_of_it_away(host):
    """The last one: who is in it has no network any more."""
    egress(host, "down")
    egress(host, "down")
    assert "fhe" not in on_machine(host, "nft", "list", "ruleset")
    assert "fhe-" not in on_machine(host, "ip", "link")
    assert on_machine(host, "cat", "/proc/sys/net/ipv4/ip_forward") == "0\n"
    assert on_machine(host, "find", "/etc/netns", "-name", "resolv.conf") == ""
    assert "fcgi-host" not in on_machine(host, "ip", "netns", "list")
    host.configure({"function bob/way": {"memory": "64M"}})
    assert host.verb("reload").returncode == 0
    assert host.fetch("/fn/bob/way?where").status == 502
    egress(host, "up")
    assert host.wait_served("/fn/bob/way?where", timeout=40).text == f"{OWN}\n"
    egress(host, "down")
