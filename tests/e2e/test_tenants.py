"""Tenants side by side: a ceiling of one is nobody else's matter."""
import contextlib
import json
import os
import random
import re
import signal
import time

import pytest

from lib import threads
from lib.host import new_id

# Runs until a file tells it to go, and says that it does; ?N,ID: with N MiB.
STAYS = """import os, time
mib, name = os.environ["QUERY_STRING"].split(",")
held = bytearray(int(mib) << 20)
open("/data/at-" + name, "w").close()
until = time.monotonic() + 100
while time.monotonic() < until and not os.path.exists("/data/enough"):
    time.sleep(0.05)
os.write(1, b"Content-Type: text/plain\\n\\nstayed")
"""
# With as many children as there may be, as soon as it may begin: one that was
# first could take the last place of the other's own program.
BOMB = """import os, time
name = os.environ["SCRIPT_NAME"][-1]
until = time.monotonic() + 100
open("/data/at-" + name, "w").close()
while time.monotonic() < until and not os.path.exists("/data/begin"):
    time.sleep(0.01)
count = 0
try:
    while count < 2000:
        if os.fork() == 0:
            time.sleep(100)
            os._exit(0)
        count += 1
    why = "none"
except OSError as error:
    why = error.strerror
open("/data/full-" + name, "w").close()
while time.monotonic() < until and not os.path.exists("/data/enough"):
    time.sleep(0.05)
os.write(1, f"Content-Type: text/plain\\n\\n{count} {why}".encode())
"""
# Says what its environment says.
SAYS = "printf 'Content-Type: text/plain\\n\\n%s' \"$WORD\"\n"


def controllers(host):
    """Those of cgroup v2 that this machine gives the host."""
    text = host.wait_log(r"event=start ").string
    found = re.search(r"layer=cgroup why=\"[^\"]*memory (\w+), pids (\w+), "
                      r"cpu (\w+)", text)
    words = found.groups() if found else ("on",) * 3
    return {name for name, word in zip(("memory", "pids", "cpu"), words)
            if word == "on"}


def need(host, controller, is_there=True):
    if (controller in controllers(host)) != is_there:
        pytest.skip(f"NOT RUN: the controller {controller} is "
                    f"{'not ' if is_there else ''}here")


def ceilings(host, file):
    """What stands in this file of the tenants' branches."""
    return [(branch / file).read_text().strip()
            for branch in sorted(host.find_cgroup().glob("t*"))]


def status(host):
    return json.loads(host.verb("status", "--json").stdout)


def stay(host, urls, mib=0):
    """Executions that last until enough() is said."""
    names = [new_id() for _ in urls]
    slow = [threads.begin(host.execute, f"{url}?{mib},{name}")
            for url, name in zip(urls, names)]
    wait_made(host, *[f"at-{name}" for name in names])
    return slow


def enough(host, slow):
    (host.state / "data/alice/enough").write_text("")
    got = [one.result(60) for one in slow]
    (host.state / "data/alice/enough").unlink()
    return got


def wait_made(host, *names, timeout=60):
    """Until alice's functions have made these files."""
    until = time.monotonic() + timeout
    while not all((host.state / "data/alice" / name).exists()
                  for name in names):
        assert time.monotonic() < until, f"not all of {names}"
        time.sleep(0.05)


@contextlib.contextmanager
def nobody_slowed(host, url, count=20):
    """Another tenant's requests, all through what stands in the block and at
    least so many, are answered, and wait for nobody."""
    got, is_over = [], []

    def ask():
        while not is_over or len(got) < count:
            got.append(host.execute(url))
            time.sleep(0.02)

    other = threads.begin(ask)
    try:
        yield
    finally:
        is_over.append(True)
    other.result(120)
    assert {(answer.status, record["outcome"]) for answer, record in got} == \
        {(200, "ok")}
    # generous: it is far below what whoever waits for alice would wait
    assert max(record["queue_us"] for _, record in got) < 5000000


def reload(host, **keys):
    host.configure({"tenant alice": keys})
    done = host.verb("reload")
    assert done.returncode == 0, done.stderr


def refused_in_words(answer, record, words):
    assert (answer.status, record["outcome"]) == (503, "refused")
    assert answer.header("Retry-After")
    assert words in record["reason"]
    assert record["billed_ms"] == 0


# ------------------------------------------------------------------- ceilings


@pytest.mark.parametrize("key, value", [("max_instances", "2"),
                                        ("max_memory", "300M")])
def test_a_tenant_at_its_ceiling_is_told_which_and_slows_nobody(
        start_once, programs, key, value):
    host = start_once.host(
        {"alice/f.py": STAYS, "alice/g.cgi": programs.cgi,
         "alice/hasty.cgi": programs.cgi, "bob/f.cgi": programs.cgi},
        {"defaults": {"memory": "128M", "timeout": "2m",
                      "queue_timeout": "30s"},
         "function alice/hasty": {"queue_timeout": "500ms"},
         "tenant alice": {key: value}})
    if key == "max_memory":
        need(host, "memory", False)
    with nobody_slowed(host, "/fn/bob/f?head"):
        slow = stay(host, ["/fn/alice/f"] * 2)
        refused_in_words(*host.execute("/fn/alice/hasty?head"),
                         f"the tenant is at its {key}")
        row, = [t for t in status(host)["tenants"] if t["tenant"] == "alice"]
        assert (row["busy"], row["waiting"]) == (2, 0)
        assert row["max_instances" if key == "max_instances" else
                   "max_memory_kib"] in (2, 300 << 10)
        assert re.search(rf"TENANT .*{key.upper()}",
                         host.verb("status").stdout)
        assert [r["outcome"] for _, r in enough(host, slow)] == ["ok"] * 2
    # an idle one of hers gives way
    assert host.execute("/fn/alice/g?head")[1]["outcome"] == "ok"
    host.books.wait(lambda r: r["type"] == "instance" and
                    (r["tenant"], r["reason"]) == ("alice", "ceiling"),
                    what="the end of one that gave way")


def test_a_function_that_needs_more_gets_what_two_gave_up(start_once,
                                                           programs):
    host = start_once.host(
        {"alice/small.cgi": programs.cgi, "alice/big.cgi": programs.cgi},
        {"host": {"max_prepared": "0"},
         "tenant alice": {"memory": "100M", "max_memory": "300M"},
         "function alice/big": {"memory": "250M"}})
    need(host, "memory", False)
    threads.all_of(host.execute, ["/fn/alice/small?head&sleep=400"] * 3)
    assert host.execute("/fn/alice/big?head")[1]["outcome"] == "ok"
    assert [i["function"] for i in status(host)["instances"]
            if i["state"] == "idle"] == ["alice/big"]


def test_a_reload_with_another_ceiling_acts_and_loses_no_request(start_once,
                                                                 programs):
    host = start_once.host(
        {"alice/f.py": STAYS, "alice/g.cgi": programs.cgi},
        {"tenant alice": {"max_memory": "512M", "memory": "128M"}})
    need(host, "memory", False)
    slow = stay(host, ["/fn/alice/f"] * 3)
    reload(host, max_memory="256M", queue_timeout="400ms")
    refused_in_words(*host.execute("/fn/alice/g?head"),
                     "the tenant is at its max_memory")
    reload(host, max_memory="1G", queue_timeout="30s")
    assert host.execute("/fn/alice/g?head")[1]["outcome"] == "ok"
    assert [r["outcome"] for _, r in enough(host, slow)] == ["ok"] * 3


def test_a_tenants_memory_ends_one_of_his_instances_as_oom(start_once,
                                                            programs):
    host = start_once.host(
        {"alice/a.cgi": programs.cgi, "alice/b.cgi": programs.cgi,
         "bob/f.cgi": programs.cgi},
        {"tenant alice": {"memory": "128M", "max_memory": "160M"}})
    need(host, "memory")
    with nobody_slowed(host, "/fn/bob/f?head"):
        # each is below its own ceiling
        got = threads.all_of(host.execute, [
            f"/fn/alice/{name}?hold=102400&sleep=3000&head" for name in "ab"])
    assert f"{160 << 20}" in ceilings(host, "memory.max")
    assert sorted(r["outcome"] for _, r in got) == ["ok", "oom"]
    assert {a.status for a, r in got if r["outcome"] == "oom"} == {502}
    # nothing is summed here: four may be there
    got = threads.all_of(host.execute, ["/fn/alice/a?head&sleep=700"] * 4)
    assert {r["outcome"] for _, r in got} == {"ok"}


def test_a_reload_lowers_a_tenants_memory_and_kills_nobody(start_once):
    host = start_once.host(
        {"alice/a.py": STAYS, "alice/b.py": STAYS},
        {"tenant alice": {"memory": "100M", "max_memory": "256M",
                          "timeout": "2m"}})
    need(host, "memory")
    slow = stay(host, ["/fn/alice/a", "/fn/alice/b"], 60)
    reload(host, max_memory="110M")
    assert ceilings(host, "memory.max") == [f"{256 << 20}"]
    got = enough(host, slow)
    assert [record["outcome"] for _, record in got] == ["ok"] * 2
    enough(host, stay(host, ["/fn/alice/a"]))
    assert ceilings(host, "memory.max") == [f"{110 << 20}"]
    reload(host, max_memory="0")
    assert ceilings(host, "memory.max") == ["max"]


def test_a_reload_sets_a_tenants_processes_and_processor_time(start_once):
    host = start_once.host(
        {"alice/a.py": STAYS},
        {"tenant alice": {"processes": "16", "max_processes": "40",
                          "max_cpu": "0.5", "timeout": "2m"}})
    need(host, "pids")
    need(host, "cpu")
    slow = stay(host, ["/fn/alice/a"])
    assert ceilings(host, "pids.max") == ["40"]
    assert ceilings(host, "cpu.max") == ["50000 100000"]
    for most, pids, cpu, share in (("30", "30", "1.5", "150000 100000"),
                                   ("0", "max", "0", "max 100000"),
                                   ("20", "20", "0.2", "20000 100000")):
        reload(host, max_processes=most, max_cpu=cpu)
        assert ceilings(host, "pids.max") == [pids]
        assert ceilings(host, "cpu.max") == [share]
    assert [r["outcome"] for _, r in enough(host, slow)] == ["ok"]


def test_a_tenants_functions_share_his_processor_time(start_once, programs):
    host = start_once.host(
        {"alice/a.cgi": programs.cgi, "alice/b.cgi": programs.cgi,
         "bob/f.cgi": programs.cgi},
        {"tenant alice": {"max_cpu": "0.2"}})
    need(host, "cpu")
    begun = time.monotonic()
    with nobody_slowed(host, "/fn/bob/f?head"):
        got = threads.all_of(host.execute, [
            f"/fn/alice/{name}?head&cpu=600" for name in "ab"])
    assert "20000 100000" in ceilings(host, "cpu.max")
    assert {r["outcome"] for _, r in got} == {"ok"}
    # 1.2 s of it take six seconds; what one core alone would need is 1.2
    assert time.monotonic() - begun > 3.5


def own_uids():
    """The kernel counts a user's processes over all hosts of the machine, and
    those of a test before may be ending yet."""
    first = 1000000000 + 10 * random.randrange(80000000)
    return f"{first}-{first + 9}"


def test_a_fork_bomb_over_two_functions_ends_at_the_tenants_processes(
        start_once, programs):
    host = start_once.host(
        {"alice/a.py": BOMB, "alice/b.py": BOMB,
         "alice/late.cgi": programs.cgi, "bob/f.cgi": programs.cgi},
        {"host": {"max_prepared": "0", "uid_range": own_uids()},
         "tenant alice": {"processes": "32", "max_processes": "40",
                          "timeout": "2m", "queue_timeout": "30s"}})
    with nobody_slowed(host, "/fn/bob/f?head"):
        bombs = [threads.begin(host.execute, f"/fn/alice/{name}")
                 for name in "ab"]
        wait_made(host, "at-a", "at-b")
        (host.state / "data/alice/begin").write_text("")
        wait_made(host, "full-a", "full-b")
        refused_in_words(*host.execute("/fn/alice/late?head"), "processes")
        got = enough(host, bombs)
    assert [answer.status for answer, _ in got] == [200, 200]
    counts = [int(answer.text.split()[0]) for answer, _ in got]
    # beside them an init and a program of each
    assert 20 <= sum(counts) <= 36, counts
    assert all("unavailable" in answer.text for answer, _ in got)
    # and behind them she is served again
    assert host.execute("/fn/alice/late?head")[1]["outcome"] == "ok"


def wait_listed(host, words, timeout=30):
    until = time.monotonic() + timeout
    while words not in host.verb("list").stdout:
        assert time.monotonic() < until, host.verb("list").stdout
        time.sleep(0.1)


def test_a_sidecar_can_only_lower_what_its_tenant_has(start_once, programs):
    host = start_once.host(
        {"alice/f.cgi": programs.cgi},
        {"tenant alice": {"memory": "64M", "processes": "16",
                          "max_memory": "128M", "max_processes": "32"}})
    host.sidecar("alice/f", memory="1G", processes="500")
    wait_listed(host, "memory processes")
    record = host.execute("/fn/alice/f?head")[1]
    assert record["mem_limit_mib"] == 64
    host.sidecar("alice/f", memory="32M")
    until = time.monotonic() + 30
    while host.execute("/fn/alice/f?head")[1]["mem_limit_mib"] != 32:
        assert time.monotonic() < until
        time.sleep(0.1)
    for key, value in (("max_memory", "1G"), ("max_processes", "9"),
                       ("max_instances", "9")):
        host.sidecar("alice/f", **{key: value})
        wait_listed(host, f"{key}: only the administrator's file")


def test_one_tenants_environments_leave_room_for_anothers(start_once):
    """Each costs the host a descriptor: it has room for a quarter of those."""
    host = start_once.host({"zoe/old.sh": SAYS}, is_started=False,
                           wrap=("prlimit", "--nofile=1024:1024"))
    host.sidecar("zoe/old", **{"env.word": "old"})
    for number in range(400):
        host.add(f"alice/f{number}.sh", SAYS)
        host.sidecar(f"alice/f{number}", **{"env.word": "many"})
    host.start()
    host.wait_log("event=too_many_functions tenant=alice")
    host.sidecar("zoe/new", **{"env.word": "new"})
    host.add("zoe/new.sh", SAYS)
    assert host.wait_served("/fn/zoe/new").text == "new"
    # also for a new scanner, and for a new host
    os.kill(host.roles()["scanner"], signal.SIGKILL)
    host.wait_log(r"event=role_started which=scanner(?s:.*)"
                  "event=role_started which=scanner")
    assert host.wait_served("/fn/zoe/new").text == "new"
    host.stop()
    host.start()
    for name in "old", "new":
        assert host.wait_served(f"/fn/zoe/{name}").text == name
    assert host.wait_served("/fn/alice/f0").text == "many"


def start_of(host, url):
    """What the spawner needed for the sandbox of one execution, in seconds."""
    _, record = host.execute(url, timeout=60)
    assert record["outcome"] == "ok", record
    return host.books.wait(
        lambda r: r["type"] == "instance" and
        r["instance"] == record["instance"], 60)["start_us"] / 1e6


def test_who_asks_for_little_of_the_processor_holds_up_no_start(start):
    """The spawner makes one sandbox after the other, and whoever could have his
    own made slowly would make all others wait."""
    host = start.host({"bob/plain.sh": SAYS, "alice/slow.sh": SAYS},
                      {"host": {"max_prepared": "0"},
                       "defaults": {"idle": "0", "timeout": "50s"}}, is_started=False)
    host.sidecar("alice/slow", cpu="0.01")
    host.start()
    need(host, "cpu")
    plain = min(start_of(host, "/fn/bob/plain") for _ in range(3))
    slow = min(start_of(host, "/fn/alice/slow") for _ in range(3))
    assert slow < 3 * plain + 0.05, (slow, plain)
