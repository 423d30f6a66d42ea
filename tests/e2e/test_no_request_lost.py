"""Reloads, restarts and takeovers under load: not one request fails."""
import time

import pytest

from lib import books, load as load_room, shipped

R = """# %d
printf 'Content-Type: text/plain\\n\\n%%s' "$QUERY_STRING"
"""
REUSE = ('ProxyPass "/fn/" "unix:{}|fcgi://localhost/fn/" enablereuse=on '
         'timeout=60')


def add_functions(host, programs):
    host.add("c.cgi", programs.cgi)
    host.add("f.fcgi", programs.fcgi)
    host.add("r.sh", R % 0)
    host.start()
    host.wait_served("/fn/r")


def loaded(host, start_once, programs):
    """Clients of every kind, the functions that they call, the servers."""
    add_functions(host, programs)
    nginx = start_once.nginx(host)
    apache = start_once.apache(host, proxy=REUSE.format(host.socket))
    load = load_room.Load()
    names = ("c", "f", "r")
    load.add(load_room.Raw, names, host.socket)
    load.add(load_room.Kept, names, host.socket)
    load.add(load_room.Http, names, nginx.plain)
    load.add(load_room.Http, names, nginx.kept, threads=3)
    load.add(load_room.Http, names, apache.plain)
    return load


def check_books(host, count):
    """One record for each request, and each run's seq whole."""
    records = host.books.executions()
    assert [r["outcome"] for r in records] == ["ok"] * len(records)
    # one was asked for before the load
    assert len(records) == count + 1
    ids = [r["request_id"] for r in records]
    assert len(set(ids)) == len(ids)
    for run in books.runs(host.books.all()):
        books.check_seq(run, True)


def test_twenty_reloads_and_replaced_functions(start_once, programs):
    host = start_once.host(is_started=False)
    with loaded(host, start_once, programs) as load:
        for lap in range(20):
            host.configure({"defaults": {"idle": f"{30 + lap}s",
                                         "memory": f"{100 + lap}M"}})
            assert host.verb("reload").returncode == 0
            host.add("r.sh", R % lap)
            if lap % 5 == 0:
                host.add("c.cgi", programs.cgi)
            time.sleep(0.2)
    load.check()
    check_books(host, load.count)


@pytest.mark.parametrize("who", ["the host", "a socket unit"])
def test_five_restarts_by_a_service_manager(start_once, programs, who):
    host = start_once.host(is_started=False, stores=True)
    if who == "a socket unit":
        host.manager.hold("fcgi-host.socket", host.socket)
    with loaded(host, start_once, programs) as load:
        for lap in range(5):
            time.sleep(0.7)
            host.add("r.sh", R % lap)
            host.stop()
            host.start()
        time.sleep(0.5)
    load.check()
    assert load.slowest < 10, "a restart is a pause of a moment"
    check_books(host, load.count)


def test_three_takeovers(start_once, programs):
    host = start_once.host(is_started=False)
    with loaded(host, start_once, programs) as load:
        for lap in range(3):
            time.sleep(0.7)
            host.add("r.sh", R % lap)
            host.take_over()
        time.sleep(0.5)
    load.check()
    assert load.slowest < 10, "a restart is a pause of a moment"
    check_books(host, load.count)


def test_restarts_and_takeovers_behind_every_web_server(start_once, programs):
    """Each with the configuration that is installed."""
    host = start_once.host(is_started=False, stores=True,
                           socket_name="fcgi-host.sock")
    shipped.listen_in_chroot(host)
    add_functions(host, programs)
    load = load_room.Load()
    for name in shipped.SERVERS:
        load.add(load_room.Http, ("c", "f", "r"),
                 start_once.server(name, host).plain)
    with load:
        for lap in range(4):
            time.sleep(1)
            if lap % 2:
                host.take_over()
            else:
                host.stop()
                host.start()
        time.sleep(0.5)
    load.check()
    check_books(host, load.count)
