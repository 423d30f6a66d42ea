"""Sockets that the service manager hands over: sd_listen_fds(3)."""
import os
import pathlib
import re
import socket
import stat
import subprocess

import pytest

from lib import fcgi, manager, proc, servers, threads, web
from lib import programs as programs_room

ENV = """#!/bin/sh
printf 'Content-Type: text/plain\\n\\n'
env
ls /proc/self/fd
"""


@pytest.fixture
def host(start_once, programs):
    """Not started; its manager holds the socket."""
    host = start_once.host({"swiss.cgi": programs.cgi, "env.sh": ENV},
                           is_started=False)
    host.manager.hold("fcgi-host.socket", host.socket)
    return host


def run(host, fds=(), **environment):
    """`run` with descriptors and an environment of our own: what it says."""
    environment = {"LISTEN_FDS": str(len(fds)), **environment}
    done = subprocess.run(
        manager.launch(fds, [str(host.installed.command), "run", "-c",
                             str(host.ini_path)]) if fds else
        ["/bin/sh", "-c", 'LISTEN_PID=${LISTEN_PID:-$$} exec "$@"', "sh",
         str(host.installed.command), "run", "-c", str(host.ini_path)],
        env=host.installed.environment(**environment), pass_fds=fds,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=20)
    return done.returncode, done.stdout


def test_a_given_socket_serves_and_stays_with_who_gave_it(host):
    before = os.stat(host.socket)
    early = host.connect()  # nobody runs yet: it waits in the backlog
    early.send(fcgi.request_bytes("/fn/swiss?head&raw=early"))
    host.start()
    host.wait_log(r'listen_given on="[^"]*/s" name="fcgi-host.socket"')
    assert early.read_answer().text == "early"
    early.close()
    assert host.fetch("/fn/swiss?head&raw=x").text == "x"
    host.stop()
    after = os.stat(host.socket)
    assert (before.st_ino, before.st_mode) == (after.st_ino, after.st_mode)
    between = host.connect()
    between.send(fcgi.request_bytes("/fn/swiss?head&raw=between"))
    host.start()
    assert between.read_answer().text == "between"
    between.close()


def test_mode_and_group_are_those_of_who_gave_it(host):
    os.chmod(host.socket, 0o600)
    host.configure({"host": {"listen_mode": "0666",
                             "listen_group": "www-data"}})
    host.start()
    facts = os.stat(host.socket)
    assert (stat.S_IMODE(facts.st_mode), facts.st_gid) == (0o600, 0)


def test_what_is_not_given_is_made_as_ever(host):
    port, = servers.free_ports(1)
    other = str(host.run_dir / "other")
    host.configure({"host": {
        "allow_tcp": "yes",
        "listen": f"{other} 127.0.0.1:{port} {host.socket}"}})
    host.manager.hold("tcp", ("127.0.0.1", port))
    host.start()
    for address in (host.socket, other, ("127.0.0.1", port)):
        assert fcgi.fetch(address, "/fn/swiss?head&raw=x").text == "x"


def test_nothing_of_it_reaches_roles_and_functions(host):
    host.start()
    host.wait_served("/fn/env")
    said = host.fetch("/fn/env").text
    assert "LISTEN_" not in said and "FH_TEST_MARKER" not in said
    assert [int(line) for line in said.splitlines() if line.isdigit()] \
        == [0, 1, 2, 3]  # ls has the directory open
    roles = host.roles()
    assert len(roles) == 3
    for name, pid in roles.items():
        environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
        if name != "spawner":  # whose own start that shows
            assert environment == b""
    assert proc.listening(roles["scanner"]) == 0
    assert proc.listening(roles["gateway"]) == 1


def test_the_check_does_not_mind_that_the_socket_is_there(host):
    done = host.verb("check")
    assert done.returncode == 0, done.stdout
    assert "listen" not in done.stdout


def refused(host, fds, *words, **environment):
    """It does not start, says why, and takes nobody's socket away."""
    code, said = run(host, fds, **environment)
    assert code == 1, said
    for word in words:
        assert word in said, said
    assert os.path.exists(host.socket)


def test_a_socket_that_no_listen_names_is_refused_in_words(host, tmp_path):
    other = host.manager.hold("odd.socket", str(tmp_path / "odd"))
    refused(host, [host.manager.sockets[0][0].fileno(), other.fileno()],
            "descriptor 4 (odd.socket)", str(tmp_path / "odd"),
            "no [host] listen names that", ".socket unit",
            LISTEN_FDNAMES="fcgi-host.socket:odd.socket")


def test_an_address_that_no_listen_names_is_refused_in_words(host):
    port, = servers.free_ports(1)
    other = host.manager.hold("tcp", ("127.0.0.1", port))
    refused(host, [other.fileno()], "descriptor 3 (tcp)",
            f"listens on 127.0.0.1:{port}", LISTEN_FDNAMES="tcp")


def test_a_socket_whose_file_is_gone_is_refused_in_words(host):
    aside = f"{host.socket}.aside"
    os.rename(host.socket, aside)
    code, said = run(host, [host.manager.sockets[0][0].fileno()])
    assert code == 1
    assert "no longer leads to it" in said and "restart the .socket unit" in said
    os.rename(aside, host.socket)
    host.start()
    assert host.fetch("/fn/swiss?head&raw=x").text == "x"


def test_the_same_socket_twice_is_refused_in_words(host):
    held = host.manager.sockets[0][0].fileno()
    refused(host, [held, os.dup(held)], "descriptor 4", "an earlier one")


@pytest.mark.parametrize("what", ["dgram", "seqpacket", "connected", "bound",
                                  "file", "pipe"])
def test_what_is_no_listening_stream_is_refused_in_words(host, what, tmp_path):
    path = str(tmp_path / "x")
    kept = []
    if what == "file":
        fd = os.open(host.ini_path, os.O_RDONLY)
    elif what == "pipe":
        fd, _ = os.pipe()
    elif what == "connected":
        kept += socket.socketpair()
        fd = kept[0].fileno()
    else:
        kept.append(socket.socket(socket.AF_UNIX, {
            "dgram": socket.SOCK_DGRAM, "seqpacket": socket.SOCK_SEQPACKET,
            "bound": socket.SOCK_STREAM}[what]))
        kept[0].bind(path)
        if what == "seqpacket":
            kept[0].listen()
        fd = kept[0].fileno()
    refused(host, [fd], "descriptor 3 (x)", "no stream socket that listens",
            "ListenStream=", LISTEN_FDNAMES="x")


@pytest.mark.parametrize("number", ["0", "-1", "", "x", "1x", "01", " 1",
                                    "65", "99999999999999999999"])
def test_a_number_that_is_none_is_refused_in_words(host, number):
    refused(host, [], "LISTEN_FDS", LISTEN_FDS=number)


def test_descriptors_that_are_not_open_are_refused_in_words(host):
    refused(host, [host.manager.sockets[0][0].fileno()], "LISTEN_FDS is 3",
            "descriptor 4 is not open", LISTEN_FDS="3")


@pytest.mark.parametrize("pid", ["1", "x", "-1", "99999999999999999999"])
def test_what_is_for_another_process_is_left_alone_and_said(start_once,
                                                            programs, pid):
    host = start_once.host(
        {"swiss.cgi": programs.cgi, "env.sh": ENV}, is_started=False,
        wrap=("/usr/bin/env", f"LISTEN_PID={pid}", "LISTEN_FDS=1"))
    host.start()
    host.wait_log("LISTEN_PID is not this process")
    host.wait_served("/fn/env")
    assert "LISTEN_" not in host.fetch("/fn/env").text
    assert host.fetch("/fn/swiss?head&raw=x").text == "x"


def test_names_that_are_hostile_are_only_said(host):
    refused(host, [host.manager.sockets[0][0].fileno(),
                   os.open("/dev/null", os.O_RDONLY)],
            "descriptor 4 (??? [2J)",
            LISTEN_FDNAMES='ok:\n"\x1b [2J:more:' + "x" * 5000)


def test_behind_nginx_a_restart_is_a_pause_and_no_error(host, start_once):
    nginx = start_once.nginx(host)
    host.start()
    assert web.get(nginx.plain, "/fn/swiss?head&raw=x").text == "x"
    host.stop()
    asked = threads.begin(web.get, nginx.plain, "/fn/swiss?head&raw=waited")
    host.start()
    assert asked.result().text == "waited"


def test_the_units_that_are_installed_fit_the_sample_configuration():
    service, unit, sample = (
        (programs_room.TREE / f"conf/fcgi-host.{kind}.in").read_text()
        for kind in ("service", "socket", "ini"))
    most, = re.findall(r"^FileDescriptorStoreMax=(\d+)$", service, re.M)
    # every `listen` that there may be, and the kept connections
    assert int(most) > 16
    assert f"\nEnvironment=FDSTORE={most}\n" in service
    assert "\nRuntimeDirectoryPreserve=yes\n" in service
    path, = re.findall(r"^ListenStream=(.*)$", unit, re.M)
    assert f"\nlisten = {path}\n" in sample
    group, = re.findall(r"^SocketGroup=(.*)$", unit, re.M)
    assert f"\nlisten_group = {group}\n" in sample
