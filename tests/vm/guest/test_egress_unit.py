"""The way out for functions, made by its unit: before the host and beside it.

What its rules refuse is shown by tests/e2e/test_egress.py.  This kernel has no
nftables for the internet's families, so here nft says yes to all; the namespace, its
link and its addresses are real.
"""
import contextlib
import ctypes
import os
import pathlib

import pytest

import service

UNIT = "fcgi-host-egress.service"
OPTIONS = service.INI.with_name("egress.conf")
SPACES = pathlib.Path("/run/netns")
FINIT_MODULE = 313
WHERE = """printf 'Content-Type: text/plain\\n\\n'
stat -L -c %i /proc/self/ns/net
cat /etc/resolv.conf
"""


@pytest.fixture(scope="module", autouse=True)
def kernel():
    with open("/vm/veth.ko", "rb") as module:
        done = ctypes.CDLL(None, use_errno=True).syscall(
            FINIT_MODULE, module.fileno(), b"", 0)
        assert done == 0, os.strerror(ctypes.get_errno())
    nft = pathlib.Path("/usr/sbin/nft")
    nft.write_text("#!/bin/sh\n[ -t 0 ] || cat > /dev/null\n")
    nft.chmod(0o755)


@contextlib.contextmanager
def settings(text):
    """More in the administrator's file, as long as it lasts."""
    before = service.INI.read_text()
    service.INI.write_text(before + text)
    try:
        service.run("fcgi-host", "reload")
        yield
    finally:
        service.INI.write_text(before)
        service.run("fcgi-host", "reload")


@contextlib.contextmanager
def unit(options, name=UNIT, file=OPTIONS):
    file.write_text(f"OPTIONS={options}\n")
    try:
        service.systemctl("start", name)
        yield
    finally:
        service.systemctl("stop", name)
        file.unlink()


def place_of(url):
    """The namespace in which a function is, and its resolver."""
    answer = service.fetch(url)
    assert answer.status == 200, (answer, service.journal())
    inode, *resolver = answer.body.decode().splitlines()
    return int(inode), resolver


def test_it_is_made_before_the_host_starts():
    assert "fcgi-host.service" in service.shown(
        "Before", unit=UNIT)["Before"].split()
    done = service.run("systemd-analyze", "verify", "--man=no", UNIT,
                       "fcgi-host-egress@alice.service")
    assert done.stdout == ""


def test_a_function_of_a_running_host_gets_in_and_into_its_successor():
    with settings("\n[function out/way]\nnetwork = egress\n"
                  "egress = /run/netns/fcgi-host\n"):
        with unit("--dns 192.0.2.53"):
            service.add("out/way.sh", WHERE)
            for _ in range(2):
                inode, resolver = place_of("/fn/out/way")
                assert inode == (SPACES / "fcgi-host").stat().st_ino
                assert "nameserver 192.0.2.53" in resolver
                service.systemctl("restart", UNIT, service.UNIT)
        assert not (SPACES / "fcgi-host").exists()
        service.again() # what was prepared has gone with the host
        assert service.fetch("/fn/out/way").status == 502
        assert "make it: fcgi-host-egress up" in service.journal()


def test_what_its_options_name_is_made_and_taken_away():
    with unit("--name bob --dns none"):
        assert service.shown("ActiveState", "SubState", unit=UNIT) == {
            "ActiveState": "active", "SubState": "exited"}
        assert [one.name for one in SPACES.iterdir()] == ["bob"]
    assert list(SPACES.iterdir()) == []


def test_each_tenant_may_have_one_of_his_own():
    with unit("--dns none", "fcgi-host-egress@alice.service",
              service.INI.with_name("egress-alice.conf")):
        assert [one.name for one in SPACES.iterdir()] == ["alice"]
    assert list(SPACES.iterdir()) == []


def test_without_a_file_of_options_nothing_is_complained_of():
    """And the machine has a resolver that a namespace reaches."""
    resolver = pathlib.Path("/etc/resolv.conf")
    resolver.write_text("nameserver 192.0.2.53\n")
    try:
        service.systemctl("start", UNIT)
        assert (SPACES / "fcgi-host").exists()
    finally:
        service.systemctl("stop", UNIT)
        resolver.unlink()
    said = service.run("journalctl", "-q", "-u", UNIT, "-o", "cat").stdout
    assert "OPTIONS" not in said, said
