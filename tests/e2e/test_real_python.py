"""Python in the default sandbox, with the default memory of 128 MiB."""
import concurrent.futures
import re

import pytest

from lib import real

# What each part answers.
FOUND = {
    "subprocess": "42", "pool": "285", "shared": "300", "ssl": "TLSv1.3",
    "network": "no network", "threads": "328350", "files": "100000",
    "timers": r"\['SIGPROF', 'SIGVTALRM', 'SIGALRM'\]",
    "time": "2024-07-01T21:00:00[+]09:00", "names": "fn",
    "ctypes": r"\[1, 2, 3, 4, 5\]", "asyncio": "144",
    "logs": r"\['log', 'log.1', 'log.2'\]",
    "lmdb": "4", "database": r"v{'a': \[1, 2\]}",
}


@pytest.fixture(scope="module")
def host(start):
    # a script, which needs no runtime of ours to be told from a handler
    return start.host({"py/work.py": real.SOURCES / "work.py"},
                      {"function py/work": {"runtime": "python"}},
                      runtimes=real.runtimes())


def test_each_part_of_the_program_is_asked_for():
    assert {*FOUND, "sqlite"} == set(
        real.parts("work.py", r"^def part_(\w+)"))


@pytest.mark.parametrize("part", FOUND)
def test_python_s_library_works(host, part):
    found, _ = real.ask(host, "/fn/py/work", part)
    assert re.fullmatch(FOUND[part], found), found


def test_instances_write_one_database_at_a_time(host):
    """SQLite in /data, its log in shared memory (WAL), four writers."""
    # Who makes the log of a database waits for nobody (sqlite3_busy_handler).
    real.ask(host, "/fn/py/work", "sqlite")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        done = list(pool.map(
            lambda _: real.ask(host, "/fn/py/work", "sqlite"), range(8)))
    assert len({record["instance"] for _, record in done}) > 1, \
        "all of them ran in one instance"
    assert max(int(found) for found, _ in done) == 9 * 50
