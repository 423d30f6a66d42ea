"""Sockets that outlive the host: stored with the service manager, which hands
them to the next run."""
import grp
import os
import pathlib
import signal
import stat
import time

import pytest

from lib import fcgi, host as host_room, proc, servers


@pytest.fixture
def host(start_once, programs):
    """Not started; its manager stores what it is given."""
    return start_once.host({"swiss.cgi": programs.cgi}, is_started=False,
                           stores=True)


def ask(address, text):
    """A connection on which a request has been sent."""
    connection = fcgi.Connection(address, 20)
    connection.send(fcgi.request_bytes(f"/fn/swiss?head&raw={text}"))
    return connection


def stored(host):
    """The names of the listening sockets that the manager has."""
    return sorted(name for name, _ in host.manager.store
                  if name.startswith("listen-"))


def wait_stored(host, *names):
    """Until the manager has just these; what it is told it hears by and by."""
    until = time.monotonic() + 30
    while stored(host) != sorted(names):
        assert time.monotonic() < until, stored(host)
        time.sleep(0.01)


def test_who_connects_between_two_runs_waits_and_is_served(host):
    port, = servers.free_ports(1)
    host.configure({"host": {"allow_tcp": "yes",
                             "listen": f"{host.socket} 127.0.0.1:{port}"}})
    host.start()
    wait_stored(host, f"listen-{host.socket}", f"listen-127.0.0.1_{port}")
    for _ in range(3):
        host.stop()
        waiting = [ask(host.socket, "a"), ask(("127.0.0.1", port), "b")]
        host.start()
        assert waiting[0].is_answered("a") and waiting[1].is_answered("b")
        assert len(stored(host)) == 2
    assert host.log().count("event=listen_kept") == 6


def test_a_killed_spawner_takes_no_socket_along(host):
    host.start()
    below = proc.descendants(host.pid)
    os.kill(host.pid, signal.SIGKILL)
    host.process.wait(30)
    # one that a gateway accepts in its last moment is cut
    assert not host_room.wait_gone(below)
    waiting = ask(host.socket, "x")
    host.start()
    assert waiting.is_answered("x")


def test_a_socket_that_is_no_longer_wanted_is_given_up(host):
    other = str(host.run_dir / "other")
    host.configure({"host": {"listen": f"{host.socket} {other}"}})
    host.start()
    host.stop()
    host.configure({"host": {"listen": host.socket}})
    waiting = ask(host.socket, "x")
    host.start()
    assert waiting.is_answered("x")
    host.wait_log(f'listen_given_up on="{other}"')
    wait_stored(host, f"listen-{host.socket}")
    assert not os.path.exists(other)


def test_the_order_of_the_addresses_does_not_matter(host):
    others = [str(host.run_dir / name) for name in ("a", "b", "c")]
    host.configure({"host": {"listen": " ".join(others)}})
    host.start()
    host.stop()
    waiting = [ask(path, path) for path in others]
    host.configure({"host": {"listen": " ".join(
        [host.socket, *reversed(others)])}})
    host.start()
    for path, connection in zip(others, waiting):
        assert connection.is_answered(path)
    assert host.fetch("/fn/swiss?head&raw=x").text == "x"


def test_two_addresses_of_one_name_are_both_stored(host):
    others = [str(host.run_dir / name) for name in ("a:b", "a_b", "gone")]
    host.configure({"host": {"listen": " ".join(others)}})
    host.start()
    host.stop()
    host.configure({"host": {"listen": " ".join(others[:1])}})
    host.start()
    until = time.monotonic() + 30
    while len(stored(host)) != 1:
        assert time.monotonic() < until, stored(host)
        time.sleep(0.01)
    host.stop()
    waiting = ask(others[0], "x")
    host.start()
    assert waiting.is_answered("x")


@pytest.mark.parametrize("what", ["removed", "replaced"])
def test_a_socket_that_its_path_no_longer_leads_to_is_made_anew(host, what):
    host.start()
    host.stop()
    os.unlink(host.socket)
    if what == "replaced":
        host.manager.hold("other", host.socket)
        host.manager.sockets.pop()[0].close()
    host.start()
    host.wait_log("listen_given_up")
    assert host.fetch("/fn/swiss?head&raw=x").text == "x"
    wait_stored(host, f"listen-{host.socket}")


def test_a_new_mode_and_group_are_put_into_effect(host):
    host.start()
    host.stop()
    host.configure({"host": {"listen_mode": "0660",
                             "listen_group": "www-data"}})
    host.start()
    facts = os.stat(host.socket)
    assert stat.S_IMODE(facts.st_mode) == 0o660
    assert facts.st_gid == grp.getgrnam("www-data").gr_gid
    assert "listen_kept" in host.log()


def test_a_socket_unit_takes_the_place_of_what_was_stored(host):
    host.start()
    host.stop()
    host.manager.hold("fcgi-host.socket", host.socket)
    host.start()
    host.wait_log('listen_given .*name="fcgi-host.socket"')
    wait_stored(host)
    assert host.fetch("/fn/swiss?head&raw=x").text == "x"
    host.stop()
    waiting = ask(host.socket, "x")
    host.start()
    assert waiting.is_answered("x")


def test_a_manager_that_stores_nothing_is_served_as_well(host):
    host.manager.stores = False
    host.start()
    host.stop()
    assert not os.path.exists(host.socket)
    assert "FDSTORE=1" not in host.manager.said
    host.start()
    assert host.fetch("/fn/swiss?head&raw=x").text == "x"


def test_after_a_full_stop_a_start_finds_its_way(host):
    host.start()
    host.stop()
    host.manager.forget()
    with pytest.raises(ConnectionRefusedError):
        host.connect()
    host.start()
    assert host.fetch("/fn/swiss?head&raw=x").text == "x"


def test_who_waits_is_asked_for_no_function_before_they_are_known(host):
    """A start that has many to read: who connects meanwhile gets no 404."""
    for number in range(600):
        host.add(f"t{number % 6}/f{number}.sh",
                 f"printf 'Content-Type: a/b\\n\\n{number}'\n")
    time.sleep(0.2)
    host.start()
    for number in (0, 301, 599):
        host.wait_served(f"/fn/t{number % 6}/f{number}")
    for lap in range(3):
        host.stop()
        waiting = []
        for number in range(lap, 600, 120):
            connection = host.connect()
            connection.send(fcgi.request_bytes(
                f"/fn/t{number % 6}/f{number}"))
            waiting.append((number, connection))
        host.launch()
        for number, connection in waiting:
            with connection:
                answer = connection.read_answer()
            assert (answer.status, answer.text) == (200, str(number))
        host.wait_notice("READY=1")


def test_a_drain_is_an_end_for_good(host):
    host.start()
    assert host.verb("drain").returncode == 0
    assert host.process.wait(15) == 0
    assert not os.path.exists(host.socket)
    host.wait_notice("FDSTOREREMOVE=1")
    wait_stored(host)


def test_without_a_manager_the_socket_goes_with_the_host(host):
    host.manager.environment = lambda: {}
    host.launch()
    host.wait_log("event=ready")
    assert host.fetch("/fn/swiss?head&raw=x").text == "x"
    host.stop()
    assert not pathlib.Path(host.socket).exists()
