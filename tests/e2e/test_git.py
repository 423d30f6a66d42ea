"""git over HTTP: a stock git http-backend as a function."""
import os
import subprocess

import pytest

from lib import programs as programs_room

BACKEND = """export GIT_PROJECT_ROOT=/data GIT_HTTP_EXPORT_ALL=1 HOME=/tmp
export REMOTE_USER=tester
exec /usr/lib/git-core/git-http-backend
"""
MAKE = """exec 2>&1
printf 'Content-Type: text/plain\\n\\n'
export HOME=/tmp
git init -q --bare /data/repo.git && git -C /data/repo.git config \
    http.receivepack true && echo made
"""


@pytest.fixture(scope="module")
def nginx(start):
    host = start.host({"git/http.sh": BACKEND, "git/make.sh": MAKE},
                      {"defaults": {"body_max": "64M"}})
    answer, record = host.execute("/fn/git/make")
    assert answer.text == "made\n", (answer, record, host.log()[-2000:])
    return start.nginx(host)


def git(directory, *args):
    command, = programs_room.need("git")
    done = subprocess.run(
        [command, *args], cwd=directory, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=60, env={
            "PATH": "/usr/bin:/bin", "HOME": str(directory),
            "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.org",
            "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@example.org"})
    assert done.returncode == 0, f"git {args}: {done.stdout}"
    return done.stdout


@pytest.mark.parametrize("port", ["plain", "kept", "stream"])
def test_a_clone_and_a_push_of_more_than_a_mebibyte(nginx, tmp_path, port):
    number = getattr(nginx, port)
    url = f"http://127.0.0.1:{number}/fn/git/http/repo.git"
    git(tmp_path, "clone", "-q", url, "work")
    work = tmp_path / "work"
    data = os.urandom(3 << 20)
    (work / f"{port}.bin").write_bytes(data)
    git(work, "add", ".")
    git(work, "commit", "-q", "-m", f"three mebibytes by {port}")
    git(work, "push", "-q", "origin", "HEAD:refs/heads/master")
    git(tmp_path, "clone", "-q", "-b", "master", url, "again")
    assert (tmp_path / "again" / f"{port}.bin").read_bytes() == data
    git(tmp_path / "again", "fsck", "--full", "--strict")


def test_a_push_of_many_small_objects(nginx, tmp_path):
    url = f"http://127.0.0.1:{nginx.stream}/fn/git/http/repo.git"
    git(tmp_path, "clone", "-q", url, "work")
    work = tmp_path / "work"
    for number in range(300):
        (work / f"file{number}").write_bytes(os.urandom(8192))
    git(work, "checkout", "-q", "-b", "small")
    git(work, "add", ".")
    git(work, "commit", "-q", "-m", "many")
    git(work, "push", "-q", "origin", "small")
    git(tmp_path, "clone", "-q", "-b", "small", url, "again")
    assert len(list((tmp_path / "again").glob("file*"))) == 300
