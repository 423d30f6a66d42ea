"""The tests of single rooms that ask the kernel, as `make check` built them: here
it has no Landlock, and cgroups with every controller."""
import os
import pathlib
import subprocess

import pytest

BUILD = pathlib.Path("/vm/build")
PROGRAMS = sorted(str(path.relative_to(BUILD))
                  for path in BUILD.glob("tests/*/*") if path.name != "probe")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_rooms_own_tests_pass(name):
    done = subprocess.run(
        [*os.environ["HOST_WRAP"].split(), BUILD / name], cwd=BUILD,
        env={**os.environ, "BUILDDIR": str(BUILD)}, text=True, timeout=140,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-6000:]
