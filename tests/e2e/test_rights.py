"""What each process of a running host may, as the kernel has it: of one that root
started, and of an ordinary user's.
"""
import os

import pytest

from lib import proc, threads

# bits of capability.h
CHOWN, DAC_OVERRIDE, KILL, SETGID, SETUID, SETPCAP = 0, 1, 5, 6, 7, 8
SYS_CHROOT, SYS_ADMIN, MKNOD, SETFCAP = 18, 21, 27, 31
SPAWNERS = [CHOWN, DAC_OVERRIDE, KILL, SETGID, SETUID, SETPCAP, SYS_CHROOT,
            SYS_ADMIN, MKNOD]
FOR_ROLES = [SETGID, SETUID, SETPCAP, SYS_CHROOT]


def mask(*capabilities):
    return sum(1 << capability for capability in capabilities)


@pytest.fixture(scope="module")
def host(start, programs, installed, reachable, as_user):
    start.installed = reachable if as_user else installed
    host = start.host({"alice/one.cgi": programs.cgi},
                      {"host": {"max_prepared": "0"}}, as_user=as_user)
    host.fetch("/fn/alice/one?head")
    return host


def facts(pid):
    """Its capabilities as numbers, how many filters more than this test has."""
    said = proc.status(pid)
    own = int(proc.status("self").get("Seccomp_filters", "0"))
    assert said["NoNewPrivs"] == "1" and said["Seccomp"] == "2"
    sets = {name: int(said[name], 16) for name in
            ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    return sets, int(said["Seccomp_filters"]) - own, said


def nothing(pid, filters=2):
    """No capability in any set, nor a way to one; the spawner's filter, and its
    own."""
    sets, more, said = facts(pid)
    assert set(sets.values()) == {0}, sets
    assert more == filters
    assert "0" not in said["Uid"].split() + said["Gid"].split()
    assert said.get("Groups", "").split() == []
    return said


def user_namespace(pid):
    return os.readlink(f"/proc/{pid}/ns/user")


def test_the_spawner_has_nine_capabilities_and_no_way_to_another(host, as_user):
    """An ordinary user's has one more, to name its one id again; and all of them
    over nothing but what it makes itself."""
    sets, more, _ = facts(host.pid)
    has = mask(*SPAWNERS, *([SETFCAP] if as_user else []))
    assert sets == {"CapInh": mask(*FOR_ROLES), "CapPrm": has, "CapEff": has,
                    "CapBnd": 0, "CapAmb": 0}
    assert more == 1
    assert (user_namespace(host.pid) != user_namespace("self")) is as_user


@pytest.mark.parametrize("role", ["gateway", "scanner"])
def test_a_role_has_nothing_but_its_descriptors(host, role):
    pid = host.roles()[role]
    said = nothing(pid)
    assert len(set(said["Uid"].split())) == 1
    if role == "gateway":
        assert os.readlink(f"/proc/{pid}/root") == \
            str(host.run_dir / "instances")


def test_an_instance_and_its_program_have_nothing(host, as_user):
    asked = threads.begin(host.fetch, "/fn/alice/one?sleep=1500&head")
    init, = host.wait_instances(1)
    below = []
    while not below and not asked.done():
        below = proc.descendants(init)
    for pid in [init, *below]:
        nothing(pid)
        # a further one, in which its id owns nothing of what stands around it
        assert (user_namespace(pid) != user_namespace(host.pid)) is as_user
    assert below and asked.result().status == 200
