"""The hostile function behind a host that an ordinary user has started: all is
that user's to the machine, and still it must not get what it tries."""
import pytest

from lib import hostile

pytestmark = pytest.mark.any_user


@pytest.fixture(scope="module")
def count(tmp_path_factory):
    return tmp_path_factory.mktemp("netns") / "count"


@pytest.fixture(scope="module")
def host(start, installed, reachable, programs, count):
    probe = hostile.program(installed, programs)
    stranger, segment = hostile.Stranger(as_user=True), hostile.Segment()
    start.installed = reachable
    yield hostile.host_of(start, probe, stranger, count, as_user=True)
    segment.end()
    stranger.end()


@pytest.mark.parametrize("number", hostile.NUMBERS, ids=hostile.sentence)
def test_a_hostile_function_of_the_users_is_denied(host, count, number):
    if number in hostile.NOT_AS_USER:
        pytest.skip(hostile.NOT_AS_USER[number])
    hostile.expect_denied(host, count, number)


def test_the_next_execution_finds_nothing_of_the_last(host):
    hostile.expect_nothing_left(host)


def test_the_host_and_its_neighbours_go_on(host):
    answer, record = host.execute("/fn/bob/secret")
    assert (answer.status, answer.text) == (200, "bob")
    assert record["tenant"] == "bob"
    assert set(host.roles()) == {"spawner", "gateway", "scanner"}


def test_the_listener_would_have_seen_a_connection(host, count):
    hostile.expect_counted(host, count)
