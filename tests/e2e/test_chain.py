"""The keyed chain over the accounting log: whatever happens to the host, each line
follows on the one before it; and who has today's key has not yesterday's."""
import os
import re
import signal
import time

import pytest

from lib import books, chain, host as host_room, leaks, proc, threads

pytestmark = pytest.mark.any_user


@pytest.fixture
def keyed(start_once, programs):
    """A host with a chain; its first key."""
    made = start_once.host({"swiss.cgi": programs.cgi})
    made.first_key = chain.begin(made)
    return made


def rotate(host, name):
    old = host.log_dir / name
    host.accounting.rename(old)
    done = host.verb("reopen")
    assert done.returncode == 0, done.stderr
    return old, done.stdout


def follow(host, *paths):
    """The last mac and the number of keys; --verify has them, too, and no fault."""
    head, keys = chain.follow(paths, host.first_key)
    kept = host.dir / "first.key"
    kept.write_text(host.first_key + "\n")
    done = host.installed.run("usage", "--verify", "--chain-key", kept, *paths)
    assert done.returncode == 0 and not done.stderr, done.stderr
    told = "1 key" if keys == 1 else f"{keys} keys"
    assert f"by {told}; the head is {head}" in done.stdout
    return head, keys


def test_the_chain_goes_on_over_rotations_crashes_and_restarts(keyed):
    host, old = keyed, []
    for lap in range(3):
        host.execute("/fn/swiss?head")
        place, said = rotate(host, f"old.{lap}")
        old.append(place)
        head = re.search(r"head was ([0-9a-f]{64})\b", said)[1]
        assert place.read_text().endswith(f'"mac":"{head}"}}\n')
        host.books.wait(lambda r: r.get("prev") == head)
        host.wait_log(f"event=chain_head .*mac={head}")
    for _ in range(2):
        os.kill(host.roles()["gateway"], signal.SIGKILL)
        host.wait_served("/fn/swiss?head")
    below = proc.descendants(host.pid)
    os.kill(host.roles()["spawner"], signal.SIGKILL)
    host.process.wait(30)
    assert not host_room.wait_gone(below)
    host.start()
    host.execute("/fn/swiss?head")
    host.stop()
    host.start()
    host.execute("/fn/swiss?head")
    host.stop()
    head, keys = follow(host, *old, host.accounting)
    assert keys == 4
    assert f"mac={head}" in host.log(), "the last head is not told"


def test_a_host_that_takes_over_goes_on_with_the_chain(keyed):
    """Also from one that has rotated, and before any execution."""
    host = keyed
    host.execute("/fn/swiss?head")
    host.take_over()
    host.execute("/fn/swiss?head")
    old, _ = rotate(host, "old")
    host.take_over()
    host.take_over()
    host.execute("/fn/swiss?head")
    host.stop()
    head, keys = follow(host, old, host.accounting)
    assert keys == 2
    assert f"mac={head}" in host.log(), "the last head is not told"


def test_the_chain_goes_on_when_hosts_change_and_logs_rotate_under_load(keyed):
    """What is in flight is recorded by the host that ends, under its key, and the
    next one begins behind it: each answer has one line."""
    host, old, answers, is_over = keyed, [], [], []

    def load():
        while not is_over:
            answers.append(host.fetch("/fn/swiss?head&sleep=20").status)

    clients = [threads.begin(load) for _ in range(4)]
    for lap in range(3):
        enough = len(answers) + 20
        until = time.monotonic() + 30
        while len(answers) < enough:
            assert time.monotonic() < until, "nobody is served"
            time.sleep(0.02)
        host.take_over()
        old.append(rotate(host, f"old.{lap}")[0])
        host.take_over()
    is_over.append(True)
    for client in clients:
        client.result(60)
    host.stop()
    assert set(answers) == {200}
    paths = [*old, host.accounting]
    assert follow(host, *paths)[1] == 4
    assert sum(len(books.Books(path).executions()) for path in paths) == \
        len(answers)


def test_the_key_of_yesterday_is_gone_and_none_is_told(keyed):
    host, keys = keyed, [keyed.first_key]
    for lap in range(2):
        host.execute("/fn/swiss?head")
        rotate(host, f"old.{lap}")
        keys.append(host.key_path.read_text().strip())
        assert keys[-1] == chain.next_key(bytes.fromhex(keys[-2])).hex()
    assert host.key_path.stat().st_mode & 0o7777 == 0o600
    assert sorted(p.name for p in host.state.iterdir()
                  if "chain" in p.name) == ["chain.key"]
    told = host.log() + host.verb("status").stdout + \
        "".join(p.read_text() for p in host.log_dir.iterdir())
    for key in keys:
        assert key not in told


def holders(host, key):
    """(program, whether a core would have it) of each mapping with this key, as
    bytes or as text; and who has a descriptor of one."""
    found, descriptors = [], []
    leaks.at_rest(host)  # a start under way is the spawner a second time
    for pid in [host.pid, *proc.descendants(host.pid)]:
        name = proc.program(pid)
        found += [(name, "dd" not in flags)
                  for _, flags, data in proc.memory(pid)
                  if bytes.fromhex(key) in data or key.encode() in data]
        descriptors += [name for target in proc.descriptors(pid)
                        if "fcgi-host-chain" in target]
    return found, descriptors


def test_the_key_is_in_the_memory_of_the_gateway_alone_and_in_no_core(keyed):
    host = keyed
    if os.geteuid() != 0:
        pytest.skip("NOT RUN: only root reads the memory of these programs")
    if host.installed.is_sanitized:
        pytest.skip("NOT RUN: a sanitizer keeps what was freed, and its table of "
                    "all memory is too large to be read")
    now = host.first_key
    for lap in range(2):
        host.execute("/fn/swiss?head")
        assert holders(host, now) == (
            [("fcgi-host-gateway", False)], ["fcgi-host-spawner"])
        before = now
        rotate(host, f"old.{lap}")
        now = host.key_path.read_text().strip()
        host.execute("/fn/swiss?head")
        assert holders(host, before)[0] == []


def test_a_key_put_in_place_of_another_is_the_next_and_a_record_says_so(keyed):
    host = keyed
    host.execute("/fn/swiss?head")
    second = chain.new_key(host.key_path)
    host.own(host.key_path)
    old, _ = rotate(host, "old")
    host.execute("/fn/swiss?head")
    host.stop()
    assert host.key_path.read_text().strip() == second
    name = chain.name_of(bytes.fromhex(second)).decode()
    assert host.books.all()[0]["chain"] == name
    assert host.books.all()[0]["event"] == "chain"
    chain.follow([old, host.accounting], host.first_key, second)


def test_a_log_that_was_cut_while_nobody_ran_shows_a_break(keyed):
    """The table of executions in flight knows the last mac."""
    host = keyed
    host.execute("/fn/swiss?head")
    os.kill(host.roles()["spawner"], signal.SIGKILL)
    host.process.wait(30)
    lines = host.books.lines()
    host.accounting.write_bytes(b"".join(lines[:-1]))
    host.start()
    host.stop()
    with pytest.raises(AssertionError, match=f":{len(lines)}: prev"):
        chain.follow([host.accounting], host.first_key)


def test_a_key_that_cannot_be_used_is_no_start_and_no_rotation(keyed):
    host = keyed
    key = host.key_path.read_text()
    host.key_path.write_text("secret\n")
    done = host.verb("reopen")
    assert done.returncode == 1
    assert f"{host.key_path} (chain_key) holds no key" in done.stderr
    host.execute("/fn/swiss?head")
    done = host.verb("check")
    assert "(chain_key) holds no key" in done.stdout + done.stderr
    host.stop()
    host.key_path.chmod(0o640)
    with pytest.raises(AssertionError):
        host.start()
    assert "can be read by others" in host.log()
    host.key_path.write_text(key)
    host.key_path.chmod(0o600)
    host.start()
    host.execute("/fn/swiss?head")
    host.stop()
    follow(host, host.accounting)


def test_a_reload_does_not_end_the_chain(keyed):
    host = keyed
    del host.sections["host"]["chain_key"]
    host.configure({})
    done = host.verb("reload")
    assert done.returncode == 2
    assert "a change of chain_key needs a restart" in done.stderr
    host.configure({"host": {"chain_key": host.key_path,
                             "accounting": host.log_dir / "b.log"}})
    done = host.verb("reload")
    assert done.returncode == 0, done.stderr
    host.fetch("/fn/swiss?head")
    host.stop()
    follow(host, host.accounting, host.log_dir / "b.log")


def test_a_reload_that_is_refused_leaves_the_key_as_it_was(keyed):
    """Also one that would have changed the log; and a start behind it is fine."""
    host = keyed
    key = host.key_path.read_text()
    log = host.accounting
    host.configure({"host": {"accounting": host.log_dir / "b.log"},
                    "tenant alice": {"user": "nobody-has-this-name"}})
    done = host.verb("reload")
    assert done.returncode != 0
    assert "nobody-has-this-name" in done.stderr
    assert host.key_path.read_text() == key
    del host.sections["tenant alice"]
    host.configure({"host": {"accounting": log}})
    host.execute("/fn/swiss?head")
    host.stop()
    host.start()
    host.execute("/fn/swiss?head")
    host.stop()
    follow(host, log)
