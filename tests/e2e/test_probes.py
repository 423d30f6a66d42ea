"""The hostile function behind the whole host: what it tries, it must not get.

tests/probes/try runs the same probes in sandboxes with layers off, and outside;
here they run as a tenant's CGI function.  Names and expectations are those of
tests/probes/probes.ini.
"""
import pytest

from lib import hostile, proc


@pytest.fixture(scope="module")
def count(tmp_path_factory):
    return tmp_path_factory.mktemp("netns") / "count"


@pytest.fixture(scope="module")
def host(start, installed, programs, count):
    stranger, segment = hostile.Stranger(as_user=False), hostile.Segment()
    yield hostile.host_of(start, hostile.program(installed, programs),
                          stranger, count)
    segment.end()
    stranger.end()


@pytest.mark.parametrize("number", hostile.NUMBERS, ids=hostile.sentence)
def test_a_hostile_function_is_denied(host, count, number):
    hostile.expect_denied(host, count, number)


def test_the_next_execution_finds_nothing_of_the_last(host):
    hostile.expect_nothing_left(host)


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
    hostile.expect_counted(host, count)
