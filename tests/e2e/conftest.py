"""Fixtures of the end-to-end tests: the installed programs, hosts, servers.

Run as root (an ordinary user runs test_unprivileged.py): BUILDDIR=build /usr/bin/python3 -m pytest tests/e2e
"""
import os
import pathlib
import shutil
import sys
import tempfile
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from lib import host as host_room  # noqa: E402
from lib import lists  # noqa: E402
from lib import programs as programs_room  # noqa: E402
from lib import runtimes  # noqa: E402
from lib import schema as schema_room  # noqa: E402
from lib import servers as servers_room  # noqa: E402
from lib import shipped as shipped_room  # noqa: E402


def left_out():
    """{file: why} of the list that E2E_LEAVE_OUT names."""
    path = os.environ.get("E2E_LEAVE_OUT")
    try:
        return lists.read(path) if path else {}
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_collection_modifyitems(items):
    why = left_out()
    for item in items:
        if item.path.name in why:
            item.add_marker(pytest.mark.skip(
                reason=f"NOT RUN: left out here: {why[item.path.name]}"))
    if os.geteuid() != 0:
        mark = pytest.mark.skip(reason="NOT RUN: this test starts the host as "
                                "root; run it as root")
        for item in items:
            if not item.get_closest_marker("any_user"):
                item.add_marker(mark)


def pytest_configure(config):
    config.addinivalue_line("markers", "any_user: runs whoever starts it, with "
                            "a host that an ordinary user has started")
    # Skips are shown with their reasons, whatever the command line says.
    if "s" not in config.option.reportchars:
        config.option.reportchars += "s"


@pytest.fixture(autouse=True)
def one_day():
    """Nothing of a test is to lie behind midnight UTC: then budgets begin anew,
    and instances that live have a record."""
    left = 86400 - time.time() % 86400
    if left < 60:
        time.sleep(left + 1)


@pytest.fixture(scope="session")
def installed():
    """The programs under test."""
    try:
        return programs_room.Installed()
    except programs_room.Missing as error:
        pytest.exit(str(error), returncode=2)


@pytest.fixture(scope="session")
def place(installed):
    """The runtimes of functions/ where a sandbox can show them."""
    with runtimes.Place(installed) as made:
        yield made


@pytest.fixture(scope="session")
def reachable(installed):
    """The programs under test where the user whom root becomes can reach them."""
    if os.geteuid() != 0:
        yield installed
        return
    place = pathlib.Path(tempfile.mkdtemp(prefix="fh-bin-", dir="/tmp"))
    place.chmod(0o755)
    yield installed.copy_to(place)
    shutil.rmtree(place)


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """Programs compiled by the tests: programs.cgi, programs.fcgi."""
    return programs_room.Compiler(os.environ.get("E2E_PROGRAMS") or
                                  tmp_path_factory.mktemp("programs"))


@pytest.fixture(scope="module", params=["root", "user"])
def as_user(request):
    """For what is tried twice: whether it is a host that an ordinary user has
    started."""
    if request.param == "root" and os.geteuid() != 0:
        pytest.skip("NOT RUN: root's host is started by root")
    return request.param == "user"


class Starter:
    """Makes hosts and servers, and ends them with their checks."""

    def __init__(self, installed):
        self.installed = installed
        self.made = []
        self.schema = None

    def host(self, functions=None, sections=None, is_started=True, **more):
        """A host with functions {"name.cgi": path or text}, started."""
        made = host_room.Host(self.installed, sections, **more)
        self.made.append(made)
        for name, source in (functions or {}).items():
            made.add(name, source)
        if is_started:
            made.start()
        return made

    def nginx(self, host, **more):
        made = servers_room.Nginx(host, **more)
        self.made.append(made)
        return made.start()

    def apache(self, host, **more):
        made = servers_room.Apache(host, **more)
        self.made.append(made)
        return made.start()

    def server(self, name, host):
        """One of the five, with the file that a user copies."""
        made = shipped_room.SERVERS[name](host)
        self.made.append(made)
        return made.start()

    def check_books(self, made):
        """Every line that a host has written is as the schema says."""
        for path in getattr(made, "ledgers", list)():
            self.schema = self.schema or schema_room.Schema()
            self.schema.check_file(path)

    def end(self):
        problems = []
        for made in reversed(self.made):
            try:
                made.stop()
                self.check_books(made)
            except AssertionError as error:
                problems.append(str(error))
            if not os.environ.get("KEEP"):
                made.remove()
        self.made = []
        assert not problems, "\n".join(problems)


@pytest.fixture(scope="module")
def start(installed):
    """Hosts and servers that live as long as the module."""
    starter = Starter(installed)
    yield starter
    starter.end()


@pytest.fixture
def start_once(installed):
    """Hosts and servers for one test."""
    starter = Starter(installed)
    yield starter
    starter.end()
