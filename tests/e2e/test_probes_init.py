"""Init stands inside the sandbox, with the gateway's socket: should a function take
it over, that must end its own instance and harm nobody else.
"""
import copy
import shutil

import pytest

from lib import leaks

LIES = ["magic", "type", "pad", "serial", "short", "long", "descriptors",
        "replay", "flood", "numbers"]


@pytest.fixture(scope="module")
def betrayed(start, programs, installed, tmp_path_factory):
    """A host whose init is another's."""
    libexec = tmp_path_factory.mktemp("libexec")
    for path in installed.libexec.glob("fcgi-host-*"):
        if path.is_file():
            shutil.copy2(path, libexec)
    shutil.copy2(programs.lying_init, libexec / "fcgi-host-init")
    libexec.chmod(0o755)
    host = start.host({f"{lie}.cgi": programs.cgi for lie in [*LIES, "true"]},
                      {"defaults": {"timeout": "2s"}}, is_started=False)
    for lie in LIES:
        host.sidecar(lie, **{"env.MODE": lie})
    # told nothing, the gateway waits for it until then, each time
    host.sidecar("descriptors", **{"env.MODE": "descriptors",
                                   "timeout": "500ms"})
    host.installed = copy.copy(installed)
    host.installed.libexec = libexec
    return host.start()


# Probe 42, from within.
@pytest.mark.parametrize("lie", LIES)
def test_an_init_that_lies_ends_only_itself(betrayed, lie):
    host = betrayed
    roles = host.roles()
    assert host.fetch("/fn/true").text == "good"
    for _ in range(3):
        answer, record = host.execute(f"/fn/{lie}", timeout=20)
        assert answer.status in (200, 502, 503, 504), answer
        assert answer.status != 200 or answer.text == "good"
        for name in ("cpu_user_us", "cpu_sys_us", "mem_peak_kib", "billed_ms"):
            assert 0 <= record[name] < 1 << 40, record
    assert host.fetch("/fn/true").text == "good"
    assert host.roles() == roles, "a role was replaced"


def test_descriptors_of_a_lying_init_stay_out_of_the_gateway(betrayed):
    host = betrayed
    host.fetch("/fn/descriptors")
    before = leaks.at_rest(host)
    for _ in range(10):
        host.fetch("/fn/descriptors")
    leaks.settle(host, before, 20)
