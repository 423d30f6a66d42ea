"""A gateway and a scanner that are somebody else's, confined as the real ones and
in the middle of a real session, yield nothing from the spawner.

docs/SANDBOX.md has the table: what they try, and what becomes of it."""
import os
import pathlib
import re
import subprocess
import time

import pytest

from lib import host as host_room, leaks, proc, threads, turncoats

KILLED = r"role_killed which={} pid={} why=.it sent a message that no honest"
NAMES = [b"", b".", b"..", b"../hello", b"/etc/passwd", b"hello/../hello",
         b"alice//one", b"hello/", b".hidden", b"HELLO", b"hello\n", b"hel\0lo",
         b"a" * 201, b"a" * 64, b"/".join([b"a"] * 9), b"hello.", b"\xff"]
DESCRIPTORS = ["directory", "socket", "null", "epoll"]
# what others mount meanwhile is not counted
APART = ("unshare", "--mount", "--propagation", "private")
# the numbers of a function, and what the administrator allows
CEILINGS = {"memory": "64M", "processes": "16", "instances": "2",
            "tmp_size": "1M"}


def make(start, programs, count=1):
    """Hosts of which both roles are turncoats."""
    made = []
    for _ in range(count):
        host = start.host({"hello.cgi": programs.cgi,
                           "alice/one.cgi": programs.cgi,
                           "bob/two.cgi": programs.cgi},
                          {"defaults": {"idle": "3600s", **CEILINGS},
                           "host": {"max_prepared": "0"}}, is_started=False,
                          wrap=APART)
        lay_traps(host)
        host.turn = turncoats.Turncoats(host, programs.turncoat)
        host.start()
        host.turn.meet("gateway")
        host.turn.meet("scanner")
        for name in ("hello", "alice/one", "bob/two"):
            assert host.fetch(f"/fn/{name}?head&raw=x").text == "x"
        host.before = leaks.at_rest(host)
        made.append(host)
    return made


def lay_traps(host):
    """Files that only a lie could make functions of."""
    outside = host.dir / "outside"
    outside.mkdir(mode=0o755)
    (outside / "evil.cgi").write_text("#!/bin/sh\necho evil\n")
    (outside / "evil.cgi").chmod(0o755)
    fn = host.functions
    (fn / "link.cgi").symlink_to(outside / "evil.cgi")
    (fn / "linked").symlink_to(outside)
    host.add("open.cgi", "#!/bin/sh\n", 0o777)
    host.add("foreign.cgi", "#!/bin/sh\n")
    os.chown(fn / "foreign.cgi", 4242, 4242)
    os.mkfifo(fn / "pipe.cgi", 0o755)
    (fn / "folder.cgi").mkdir()


@pytest.fixture(scope="module")
def hosts(start, programs):
    """So many, since a role comes back only after a second."""
    yield make(start, programs, 8)


@pytest.fixture
def host(hosts):
    return hosts[0]


def await_served(host):
    """A gateway that is killed meanwhile cuts its connections."""
    until = time.monotonic() + 15
    for name in ("hello", "alice/one", "bob/two"):
        while True:
            try:
                host.wait_served(f"/fn/{name}?head&raw=x", 15)
                break
            except ConnectionError:
                assert time.monotonic() < until


def await_inits(host, count, timeout=15):
    """Until exactly so many instances are there: the pids of their inits."""
    until = time.monotonic() + timeout
    while True:
        found = [pid for pid in proc.descendants(host.pid)
                 if proc.program(pid) == "fcgi-host-init"]
        if len(found) == count:
            return found
        assert time.monotonic() < until, (len(found), count)
        await_served(host) # one may have been of an older version
        time.sleep(0.05)


def unharmed(host):
    """The spawner is as it was; all are served; every instance is within its
    tenant's id and the administrator's numbers."""
    assert host.process.poll() is None, host.log()[-3000:]
    await_served(host)
    assert host.verb("status").returncode == 0
    until = time.monotonic() + 30
    while host.verb("reload").returncode != 0: # while a scanner reads
        assert time.monotonic() < until
        time.sleep(0.1)
    inits = await_inits(host, 3)
    tenants = host.state.joinpath("tenants").read_text()
    ids = {int(number) for number in re.findall(r"\b\d{6,}\b", tenants)}
    for pid in inits:
        uids = {int(uid) for uid in proc.status(pid)["Uid"].split()}
        assert len(uids) == 1 and uids <= ids, (uids, ids)
    leaks.settle(host, host.before)
    host.check_log()


def expect_killed(host, role, act):
    """After the act the role is ended and started anew, the other one not."""
    other = {"gateway": "scanner", "scanner": "gateway"}[role]
    spawner, pid = host.pid, host.turn.pids[role]
    assert act(host) in ("done", "") # or killed before it could say so
    try:
        host.wait_log(KILLED.format(role, pid))
    except AssertionError as error:
        raise AssertionError(f"{act.__qualname__}: {error}") from None
    assert host.turn.meet(role) != pid
    assert host.pid == spawner and host.process.poll() is None
    assert proc.is_alive(host.turn.pids[other])


def each(hosts, role, acts):
    """act(host) for all, shared out; each costs the role its life."""
    def do(share):
        host, mine = share
        for act in mine:
            expect_killed(host, role, act)
            await_served(host)
    threads.all_of(do, [(host, acts[i::len(hosts)])
                        for i, host in enumerate(hosts)])
    for host in hosts:
        unharmed(host)


def say(role, verb, what=b""):
    def act(host):
        return host.turn.tell(role, verb, what)
    act.__qualname__ = f"{role}: {verb} {what!r}" # for who reads a failure
    return act


def put(base, *fields):
    def act(host):
        return host.turn.put(base, *fields)
    act.__qualname__ = f"put {fields!r}"
    return act


# ------------------------------------------------------------ what kills both

GARBAGE = [b"GET / HTTP/1.0\r\n\r\n", b"x", b"\0" * 8, b"\0" * 59000]


@pytest.mark.parametrize("role", ["gateway", "scanner"])
def test_garbage_and_every_message_cut_or_lengthened_kills(hosts, role):
    said = hosts[0].turn.types(role)["said"]
    assert said
    acts = [say(role, "raw", bytes) for bytes in GARBAGE]
    # the shorter list is of what all of them have said by now
    common = set.intersection(*(set(host.turn.types(role)["said"])
                                for host in hosts))
    acts += [lambda host, n=n, by=by: again(host, role, n, by)
             for n in sorted(common) for by in (-1, 1)]
    each(hosts, role, acts)


def again(host, role, number, difference=0):
    """A role that has just begun says everything in time."""
    until = time.monotonic() + 30
    while number not in host.turn.types(role)["said"]:
        assert time.monotonic() < until, number
        for name in ("hello", "alice/one", "bob/two"):
            host.fetch(f"/fn/{name}?head&raw=x")
        time.sleep(0.05)
    return host.turn.tell(role, "replay", f"{number} {difference}")


def mirror(role, number):
    def act(host):
        host.verb("status") # a client is told of only then
        return host.turn.tell(role, "mirror", f"{number} 1")
    act.__qualname__ = f"{role}: mirror {number}"
    return act


def test_a_message_of_the_other_direction_kills(hosts):
    """Each type that there is, empty and in its right size; and what the spawner
    itself has said, word for word, with a descriptor as it came with."""
    harmless = {"gateway": ["instance_kill", "busy"], "scanner": ["fn_sync"]}
    for role in ("gateway", "scanner"):
        known = hosts[0].turn.types(role)
        assert set(harmless[role]) <= set(known["type"].values())
        acts = [say(role, "type", str(n)) for n, name
                in sorted(known["type"].items())
                if name not in harmless[role]]
        each(hosts, role, acts)
        # what each new one has heard by the time that it serves
        heard = set.intersection(*(set(host.turn.types(role)["heard"])
                                   for host in hosts))
        assert heard
        each(hosts, role, [mirror(role, n) for n in sorted(heard)])


# -------------------------------------------------------- what kills a gateway

def test_what_a_gateway_has_said_once_it_may_not_say_again(hosts):
    said = hosts[0].turn.types("gateway")["said"]
    again_ = [n for n, name in said.items()
              if name not in ("instance_kill", "busy")]
    assert "instance_start" in said.values() and "fn_sync" in said.values()
    each(hosts, "gateway", [lambda host, n=n: again(host, "gateway", n)
                            for n in sorted(again_)])


def test_a_name_that_is_none_kills_a_gateway(hosts):
    each(hosts, "gateway", [say("gateway", "name", name) for name in NAMES])


def test_a_number_of_nothing_or_of_the_future_kills_a_gateway(hosts):
    each(hosts, "gateway", [say("gateway", "id", "0"), say("gateway", "id", "1"),
                            say("gateway", "kill", f"{2 ** 64 - 1} 1"),
                            say("gateway", "kill", f"{2 ** 40} 1")])


def test_a_descriptor_from_a_gateway_kills_it_and_is_not_kept(hosts):
    each(hosts, "gateway", [say("gateway", "attach", kind)
                            for kind in DESCRIPTORS])


# ------------------------------------------------ what a gateway is refused

def count(host):
    """(instances up, starts refused) of the turncoat's own."""
    up, failed = map(int, host.turn.tell("gateway", "count").split())
    return up, failed


def await_answers(host, wanted, timeout=60):
    until = time.monotonic() + timeout
    while True:
        up, failed = count(host)
        if up + failed == wanted:
            return up, failed
        assert time.monotonic() < until, (up, failed, wanted)
        time.sleep(0.05)


def renew(host, role):
    """The turncoat's numbers are ahead of the real one's, which cannot go on."""
    pid = host.turn.pids[role]
    os.kill(pid, 9)
    assert host.turn.meet(role) != pid
    await_served(host)


@pytest.mark.parametrize("verb,name", [
    ("stale", "hello"), ("stale", "alice/one"), ("name", "nobody"),
    ("name", "alice/nobody"), ("name", "link"), ("name", "linked/evil"),
    ("name", "open"), ("name", "foreign"), ("name", "pipe")])
def test_what_is_not_served_or_of_another_version_is_not_started(host, verb,
                                                                 name):
    assert host.turn.tell("gateway", verb, name) == "done"
    assert await_answers(host, 1) == (0, 1)
    assert len(await_inits(host, 3)) == 3
    renew(host, "gateway")
    unharmed(host)


def test_starts_without_end_stay_within_what_the_function_may_have(host):
    """Twice its instances, since the gateway replaces one before its end is
    seen; and each within its numbers."""
    assert host.turn.tell("gateway", "starts", "400 alice/one") == "done"
    up, failed = await_answers(host, 400)
    assert (up, failed) == (3, 397) # one is there
    ids = {proc.status(pid)["Uid"] for pid in await_inits(host, 2 + 4)}
    assert len(ids) == 3
    assert host.fetch("/fn/hello?head&raw=x").text == "x"
    renew(host, "gateway")
    unharmed(host)


def test_ends_without_end_of_what_has_ended_hold_up_nobody(host):
    before = proc.rss_kib(host.pid)
    asked = threads.begin(host.turn.tell, "gateway", "kill", "1 200000")
    for _ in range(5):
        assert host.verb("reload").returncode == 0
    assert asked.result() == "done"
    assert proc.rss_kib(host.pid) < before + 4096
    await_served(host)
    unharmed(host)


def test_a_gateway_that_asks_without_end_and_reads_nothing_is_killed(host):
    """The answers wait in the spawner, and only so many of them."""
    before, pid = proc.rss_kib(host.pid), host.turn.pids["gateway"]
    host.turn.tell("gateway", "deaf", "nobody", waits=False)
    host.wait_log(f"role_killed which=gateway pid={pid} .*does not read", 30)
    peak = proc.peak_rss_kib(host.pid)
    host.turn.meet("gateway")
    print(f"the spawner had {before} KiB, and {peak} at its most")
    assert peak < before + 64 * 1024
    unharmed(host)


# shutdown(2) is not among the scanner's calls
@pytest.mark.parametrize("role,way", [
    ("gateway", "0"), ("gateway", "1"), ("gateway", "2"), ("gateway", "close"),
    ("scanner", "close")])
def test_a_role_that_closes_half_or_all_of_its_socket_is_replaced(host, role,
                                                                  way):
    """Also one that goes on living without it."""
    pid = host.turn.pids[role]
    assert host.turn.tell(role, "shut", way) == "done"
    if way == "0": # seen when something is sent to it; the next one serves
        assert host.verb("reload").returncode == 0
    assert host.turn.meet(role) != pid
    assert not host_room.wait_gone([pid])
    unharmed(host)


# -------------------------------------------------------- what kills a scanner

LIES = [
    [("tenant", "bob"), ("name", "alice/one")],
    [("tenant", "alice")],
    [("tenant", "../bob")],
    [("name", "default/x"), ("path", "default/x.cgi"), ("tenant", "default")],
    [("path", "../../bin/sh")], [("path", "/bin/sh")], [("path", "hello/../x")],
    [("path", "alice/one.cgi")], [("path", "hello.cgi/main")],
    [("path", "hello.c gi")], [("path", b"hello.cgi\0x")],
    [("path", b"h" * 217)],
    [("is_folder", 1)], [("is_folder", 2)], [("is_fastcgi", 3)], [("has_env", 1)],
    [("has_env", 2)], [("problem", 200)], [("note", 9)],
    [("version", "")], [("version", "../../../../etc/")], [("version", "x" * 17)],
    [("runtime", "/bin/sh")], [("runtime", "x" * 32)],
    [("data", 2)], [("detail", b"\x1b[2J")], [("pass_params", b"\n")],
]
ENVIRONMENTS = ["directory", "socket", "null", "epoll", "memfd"]


def test_a_lie_about_a_name_a_path_or_a_tenant_kills_a_scanner(hosts):
    acts = [put("hello", *fields) for fields in LIES]
    acts += [put("hello", ("name", name)) for name in NAMES]
    each(hosts, "scanner", acts)


def test_an_environment_that_is_no_sealed_memory_kills_a_scanner(hosts):
    acts = [put("hello", ("has_env", 1), ("fd", kind)) for kind in ENVIRONMENTS]
    acts += [put("hello", ("fd", "sealed")),
             put("hello", ("has_env", 1), ("fd", "sealed"), ("fd", "sealed"))]
    each(hosts, "scanner", acts)


# -------------------------------------------------- what a scanner's lie is worth

def await_believed(host, name, timeout=30):
    """Until the gateway has heard of the function; it is never run."""
    until = time.monotonic() + timeout
    while True:
        answer = host.fetch(f"/fn/{name}")
        assert answer.status in (404, 502, 503) and "evil" not in answer.text
        if answer.status != 404 or "was removed" in answer.text:
            return
        assert time.monotonic() < until, answer
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["link", "open", "foreign", "pipe", "nowhere"])
def test_what_a_scanner_calls_a_function_is_looked_at_again(host, name):
    """A link, a file that all may write, of another owner, a pipe, or none."""
    assert host.turn.put("hello", ("name", name),
                         ("path", f"{name}.cgi")) == "done"
    await_believed(host, name)
    assert len(await_inits(host, 3)) == 3
    renew(host, "scanner")
    host.wait_served(f"/fn/{name}", 10, 404)
    unharmed(host)


def test_a_folder_that_is_a_link_leads_nowhere(host):
    assert host.turn.put("alice/one", ("name", "linked/evil"),
                         ("path", "linked/evil.cgi"),
                         ("tenant", "linked")) == "done"
    await_believed(host, "linked/evil")
    assert len(await_inits(host, 3)) == 3
    assert "linked" not in host.state.joinpath("tenants").read_text()
    renew(host, "scanner")
    unharmed(host)


def number_of(text):
    return float("inf") if text in ("unlimited", "max") else float(text)


def bounds_of(host):
    """What the kernel was told for the instance of alice/one: resource limits, and
    the controllers' files of its leaf and of all that is the tenant's."""
    pid, = [pid for pid in await_inits(host, 3)
            if "/one" in proc.command_line(pid)]
    limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
    found = {name: number_of(soft) for name, soft in
             re.findall(r"^(Max [a-z ]+?)  +(\S+)", limits, re.MULTILINE)}
    leaf = proc.cgroup_v2(pid)
    while leaf is not None and leaf != host.find_cgroup():
        for file in leaf.glob("*.max"):
            found[f"{len(leaf.parts)} {file.name}"] = \
                number_of(file.read_text().split()[0])
        leaf = leaf.parent
    return found


@pytest.mark.parametrize("fields,version", [
    ([("limits", 2 ** 64 - 1)], "f" * 16), ([("limits", 2 ** 40)], "e" * 16),
    ([("memory", 0)], "d" * 16), ([("processes", 0)], "c" * 16)])
def test_numbers_past_every_bound_are_brought_to_the_administrators(
        host, fields, version):
    """0 would be none to the kernel; it becomes the least that a file may say."""
    before = bounds_of(host)
    # another version, so that the instance is made anew
    assert host.turn.put("alice/one", ("version", version), *fields) == "done"
    await_version(host, version)
    await_inits(host, 3)  # while one is busy, who waits for that starts another
    asked = threads.begin(host.fetch, "/fn/alice/one?sleep=1000&head")
    now = bounds_of(host)
    assert set(now) == set(before)
    assert not [key for key in now if now[key] > before[key]], (now, before)
    assert fields[0][1] == 0 or now == before
    asked.result()
    assert host.turn.tell("gateway", "starts", "50 alice/one") == "done"
    up, failed = await_answers(host, 50)
    assert up + failed == 50 and up <= 3
    renew(host, "gateway")
    renew(host, "scanner")
    unharmed(host)


def await_version(host, version, timeout=15):
    """Until an execution was of the lie's version."""
    until = time.monotonic() + timeout
    while host.execute("/fn/alice/one?head")[1].get("version") != version:
        assert time.monotonic() < until


def test_functions_without_end_are_bounded_and_forgotten_with_their_scanner(
        host):
    before = proc.rss_kib(host.pid)
    assert host.turn.tell("scanner", "puts", "30000 hello") == "done"
    host.wait_log("event=function_dropped", 60)
    assert host.verb("status").returncode == 0
    grown = proc.rss_kib(host.pid) - before
    print(f"20,000 functions that are not there: {grown} KiB more")
    assert grown < 64 * 1024
    await_served(host)
    renew(host, "scanner")
    host.wait_served("/fn/ghost1", 30, 404)
    unharmed(host)


# ------------------------------------------------------------------ and after

class Opened:
    """strace of the spawner, as long as the block."""

    def __init__(self, pid, out):
        self.command = ["strace", "-qq", "-s", "300", "-o", str(out),
                        "-e", "trace=open,openat,openat2,execve,execveat,"
                        "unlink,unlinkat,rename,renameat2,mknodat,connect",
                        "-p", str(pid)]

    def __enter__(self):
        self.process = subprocess.Popen(self.command)
        time.sleep(0.5)
        assert self.process.poll() is None

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)


def test_no_path_of_theirs_ever_comes_to_the_kernel(host):
    """All that the spawner opens is seen, while both lie."""
    out = host.dir / "opened"
    with Opened(host.pid, out):
        for name in (b"../hostile", b"/hostile", b"hello/../hostile"):
            expect_killed(host, "gateway", say("gateway", "name", name))
            expect_killed(host, "scanner", put("hello", ("path", name)))
            await_served(host)
    seen = out.read_text()
    assert '"alice/one.cgi"' in seen
    assert "hostile" not in seen and '"..' not in seen and "/.." not in seen
    unharmed(host)


def test_the_honest_ones_are_served_again_when_they_are_put_back(host):
    host.turn.put_honest_ones_back()
    until = time.monotonic() + 15
    while any(proc.program(pid) == "turncoat"
              for pid in proc.descendants(host.pid)):
        assert time.monotonic() < until
        time.sleep(0.1)
    for role in ("gateway", "scanner"):
        host.wait_role(role)
    host.before["processes"] -= 2 # those that stood between
    unharmed(host)
