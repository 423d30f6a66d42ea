"""The tests of single rooms that ask the kernel, as `make check` built them: here
it has no Landlock, and cgroups with every controller."""
import os
import pathlib
import subprocess
import tempfile
import time

import pytest

BUILD = pathlib.Path("/vm/build")
PROGRAMS = sorted(str(path.relative_to(BUILD))
                  for path in BUILD.glob("tests/*/*") if path.name not in ("probe", "bare-init"))


def expect_success(program, seconds):
    """A file takes its words: whoever it left behind would hold a pipe open."""
    with tempfile.TemporaryFile("w+", errors="replace") as words:
        try:
            done = subprocess.run(
                [*os.environ["HOST_WRAP"].split(), *program], cwd=BUILD,
                env={**os.environ, "BUILDDIR": str(BUILD)}, timeout=seconds,
                stdin=subprocess.DEVNULL, stdout=words,
                stderr=subprocess.STDOUT, check=False).returncode
        except subprocess.TimeoutExpired as error:
            done = str(error)
        words.seek(0)
        assert done == 0, words.read()[-6000:]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_rooms_own_tests_pass(name):
    expect_success([BUILD / name], 140)


def test_a_host_that_gives_cores_to_a_program_is_not_asked_to_run_it():
    """Of the machine, so tried only in one of its own."""
    pattern = pathlib.Path("/proc/sys/kernel/core_pattern")
    asked = pathlib.Path("/run/core-was-asked")
    before = pattern.read_text()
    pattern.write_text(f"|/usr/bin/touch {asked}")
    try:
        expect_success([BUILD / "tests/probes/try", "40-core"], 60)
        assert not asked.exists()
        # a limit of 0 does not keep it away
        subprocess.run(["sh", "-c", "ulimit -c 0; kill -ABRT $$"], check=False)
        until = time.monotonic() + 10
        while not asked.exists() and time.monotonic() < until:
            time.sleep(0.1)
        assert asked.exists()
    finally:
        pattern.write_text(before)
        asked.unlink(missing_ok=True)


def test_what_a_layer_is_worth_on_this_kernel_is_what_the_reasons_say():
    expect_success(["/vm/tests/probes/judge", "--kernel"], 300)
