"""The tests of single rooms that ask the kernel, as `make check` built them: here
it has no Landlock, and cgroups with every controller."""
import os
import pathlib
import subprocess

import pytest

BUILD = pathlib.Path("/vm/build")
PROGRAMS = sorted(str(path.relative_to(BUILD))
                  for path in BUILD.glob("tests/*/*") if path.name not in ("probe", "bare-init"))


def expect_success(program, seconds):
    done = subprocess.run(
        [*os.environ["HOST_WRAP"].split(), program], cwd=BUILD,
        env={**os.environ, "BUILDDIR": str(BUILD)}, text=True, timeout=seconds,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-6000:]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_rooms_own_tests_pass(name):
    expect_success(BUILD / name, 140)


def test_each_layer_is_worth_what_the_reasons_say():
    expect_success("/vm/tests/probes/judge", 400)
