"""A reload retires the instances whose settings it changes, and no others."""
import json
import re
import signal
import time

import pytest

from lib import load as load_room, threads

pytestmark = pytest.mark.any_user

SAY = "printf 'Content-Type: text/plain\\n\\n'; printf %%s \"%s\"\n"
NAMES = ("warm", "idle", "script", "alice/warm", "alice/script")
FUNCTIONS = {"script.sh": SAY % "$WORD", "alice/script.sh": SAY % "$WORD"}


@pytest.fixture
def host(start_once, programs):
    """Functions of two tenants, each warm, or with one prepared."""
    host = start_once.host({"warm.fcgi": programs.fcgi,
                            "idle.cgi": programs.cgi,
                            "alice/warm.fcgi": programs.fcgi, **FUNCTIONS},
                           {"host": {"max_prepared": "16"}})
    for name in NAMES:
        host.execute(f"/fn/{name}?head")
    wait_settled(host)
    return host


def status(host):
    return json.loads(host.verb("status", "--json").stdout)


def instances(host):
    """{function: {id: state}} of those that are not ending."""
    found = {name: {} for name in NAMES}
    for one in status(host)["instances"]:
        if one["state"] != "ending":
            found[one["function"]][one["instance"]] = one["state"]
    return found


def wait_settled(host, timeout=30):
    """Until each function has an idle instance or none, and one prepared."""
    until = time.monotonic() + timeout
    while True:
        found = instances(host)
        if all(sorted(states.values()) in (["idle", "prepared"], ["prepared"])
               for states in found.values()):
            return found
        assert time.monotonic() < until, found
        time.sleep(0.03)


def reload(host):
    """Also behind another one: it is refused while that is under way."""
    until = time.monotonic() + 30
    while True:
        done = host.verb("reload")
        if "being read; try again" not in done.stderr:
            break
        assert time.monotonic() < until, done.stderr
        time.sleep(0.05)
    assert done.returncode == 0, done.stderr


def executions(host):
    return {one["function"]: one["executions"]
            for one in status(host)["functions"]}


def number(record):
    """Of the record's instance, as status has it."""
    return int(record["instance"].split("-")[1])


def served(host, name):
    """How many requests the process that answers has had."""
    return int(re.search(r"served=(\d+)",
                         host.fetch(f"/fn/{name}?head&self").text)[1])


@pytest.mark.parametrize("how", ["the command", "SIGHUP"])
def test_a_reload_that_changes_nothing_keeps_every_instance(host, how):
    before, counted = instances(host), executions(host)
    starts = {one["instance"] for one in status(host)["instances"]}
    if how == "the command":
        reload(host)
    else:
        host.signal(signal.SIGHUP)
        host.books.wait(lambda r: r.get("event") == "reload")
        reload(host)  # until the other one is through
    assert instances(host) == before
    assert executions(host) == counted
    time.sleep(0.5)  # what is retired late would be so by now
    assert {one["instance"] for one in status(host)["instances"]} == starts
    for name in NAMES:
        _, record = host.execute(f"/fn/{name}?head")
        assert before[name][number(record)] == "idle"
        assert record["cold"] is False


def test_the_same_process_answers_after_a_reload_that_changes_nothing(host):
    count, pids = served(host, "warm"), set(host.instances())
    for lap in range(1, 4):
        reload(host)
        assert served(host, "warm") == count + lap
        assert set(host.instances()) == pids


def test_what_is_written_otherwise_and_means_the_same_keeps_all(host):
    before = instances(host)
    host.configure({"tenant default": {"memory": "128M"},
                    "defaults": {"memory": "131072K", "timeout": "30000ms"},
                    "function nobody": {"env.A": "1"}},
                   text="\n; a comment\n")
    reload(host)
    assert instances(host) == before


CHANGES = {
    "a function's env": ({"function warm": {"env.word": "new"}}, {"warm"}),
    "a function's number": ({"function idle": {"processes": "20"}}, {"idle"}),
    "a tenant's env": ({"tenant alice": {"env.word": "new"}},
                       {"alice/warm", "alice/script"}),
    "a tenant's number": ({"tenant default": {"memory": "64M"}},
                          {"warm", "idle", "script"}),
    "a tenant's bind": ({"tenant alice": {"bind": "/srv"}},
                        {"alice/warm", "alice/script"}),
    "everybody's env": ({"defaults": {"env.word": "new"}}, set(NAMES)),
    "everybody's number": ({"defaults": {"tmp_size": "8M"}}, set(NAMES)),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_retires_those_whom_it_concerns_and_no_others(host, what):
    sections, whom = CHANGES[what]
    before = instances(host)
    host.configure(sections)
    reload(host)
    after = wait_settled(host)
    for name in NAMES:
        if name in whom:
            assert not set(after[name]) & set(before[name]), name
        else:
            assert after[name] == before[name], name
    _, record = host.execute("/fn/warm?head")
    assert record["cold"] is ("warm" in whom)


def test_a_runtimes_change_retires_its_functions(host):
    before = instances(host)
    host.runtimes = host.runtimes.replace(
        "command = /bin/sh", "command = /bin/sh\nenv.word = new")
    host.configure({})
    reload(host)
    after = wait_settled(host)
    for name in NAMES:
        if name.endswith("script"):
            assert not set(after[name]) & set(before[name])
            assert host.fetch(f"/fn/{name}").text == "new"
        else:
            assert after[name] == before[name]


def test_settings_of_the_host_itself_touch_no_instance(host):
    before = instances(host)
    host.configure({"host": {"url_prefix": "/run", "max_connections": "900",
                             "max_instances": "900", "max_prepared": "15",
                             "log_level": "debug",
                             "uid_range": "1900000000-1900070000"}})
    reload(host)
    assert instances(host) == before
    assert host.fetch("/run/warm?head&raw=x").text == "x"


def test_what_runs_is_finished_by_the_old_instance(host):
    before = instances(host)
    old = threads.begin(host.execute,
                        "/fn/warm?err=begun&sleep=900&head&raw=old")
    host.wait_log("begun")
    host.configure({"function warm": {"env.word": "new"}})
    reload(host)
    answer, record = host.execute("/fn/warm?head&raw=new")
    assert answer.text == "new" and number(record) not in before["warm"]
    answer, record = old.result()
    assert (answer.text, answer.is_complete) == ("old", True)
    assert before["warm"][number(record)] == "idle"
    ended = host.books.wait(lambda r: r["type"] == "instance" and
                            r["instance"] == record["instance"])
    assert ended["reason"] == "reload"


def test_a_version_that_changes_during_a_reload_is_seen(host):
    before = instances(host)
    for lap in range(5):
        reloading = threads.begin(reload, host)
        host.add("script.sh", SAY % f"lap {lap}")
        reloading.result()
        until = time.monotonic() + 30
        while host.fetch("/fn/script").text != f"lap {lap}":
            assert time.monotonic() < until
            time.sleep(0.02)
    after = wait_settled(host)
    assert not set(after["script"]) & set(before["script"])
    assert all(after[name] == before[name]
               for name in NAMES if name != "script")


def test_a_sidecar_and_the_file_together_count_by_what_comes_out(host):
    host.sidecar("idle", memory="32M")
    until = time.monotonic() + 30
    while host.execute("/fn/idle?head")[1]["mem_limit_mib"] != 32:
        assert time.monotonic() < until
        time.sleep(0.05)
    before = wait_settled(host)
    # below the sidecar's number nothing changes, beneath it everything
    host.configure({"tenant default": {"memory": "100M"}})
    reload(host)
    after = wait_settled(host)
    assert after["idle"] == before["idle"]
    assert not set(after["warm"]) & set(before["warm"])
    host.configure({"tenant default": {"memory": "16M"}})
    reload(host)
    assert not set(wait_settled(host)["idle"]) & set(before["idle"])


def test_twenty_reloads_that_change_nothing_under_load_end_no_instance(host):
    load = load_room.Load()
    load.add(load_room.Raw, ("warm", "idle", "alice/warm"), host.socket)
    load.add(load_room.Kept, ("warm", "idle", "alice/warm"), host.socket)
    with load:
        for lap in range(20):
            host.configure({}, text=f"\n; {lap}\n")
            reload(host)
            time.sleep(0.1)
    load.check()
    assert not [r for r in host.books.all() if r["type"] == "instance" and
                r["reason"] in ("reload", "changed", "removed")]
    assert len([r for r in host.books.all()
                if r.get("event") == "reload"]) == 20


def test_what_waited_across_a_reload_starts_its_program_with_the_new_settings(
        host):
    """The one that waits was asked for with the old ones; its instance counts
    as a new one, and no later reload would look at it again."""
    old = {"defaults": {"instances": "1"}, "function idle": {"env.word": "old"},
           "function warm": {"env.word": "old"}}
    host.configure(old)
    reload(host)
    assert "WORD=old" in host.fetch("/fn/warm?head&process").text.split("\n")
    runs = threads.begin(host.fetch, "/fn/warm?err=begun&sleep=4000&head")
    host.wait_log("begun")
    waits = threads.begin(host.fetch, "/fn/warm?head&process")
    host.wait_asked("warm", 2)
    new = {"env.word": "new"}
    host.configure({**old, "function warm": new})
    reload(host)
    assert runs.result().is_complete
    assert "WORD=new" in waits.result().text.split("\n")
    reload(host)
    assert "WORD=new" in host.fetch("/fn/warm?head&process").text.split("\n")
