"""fcgi-host usage --verify: each way to tamper with a chained accounting log is
found, with file and line, and what cannot be found is not."""
import gzip
import re
import shutil
import subprocess

import pytest

from lib import chain, programs as room

pytestmark = pytest.mark.any_user
ROTATIONS = 3


class Made:
    """Logs that a host has written: old.0 … a.log, with the first key and the
    head of each rotation."""

    def __init__(self, host, directory, key):
        self.dir, self.key, self.heads = directory, key, []
        self.paths = [directory / f"old.{lap}" for lap in range(ROTATIONS)]
        for path in self.paths:
            self.fill(host)
            host.accounting.rename(host.log_dir / path.name)
            done = host.verb("reopen")
            assert done.returncode == 0, done.stderr
            self.heads.append(re.search(r"[0-9a-f]{64}", done.stdout)[0])
        self.fill(host)
        host.stop()
        self.paths.append(directory / "a.log")
        for path in self.paths:
            shutil.copy(host.log_dir / path.name, path)

    @staticmethod
    def fill(host):
        for _ in range(4):
            host.fetch("/fn/swiss?head")


@pytest.fixture(scope="module")
def made(programs, tmp_path_factory, start):
    host = start.host({"swiss.cgi": programs.cgi})
    return Made(host, tmp_path_factory.mktemp("made"), chain.begin(host))


class Logs:
    """A copy to tamper with."""

    def __init__(self, installed, made, directory):
        self.installed, self.heads = installed, made.heads
        self.dir = directory
        self.paths = [directory / path.name for path in made.paths]
        for old, new in zip(made.paths, self.paths):
            shutil.copy(old, new)
        self.key = directory / "first.key"
        self.key.write_text(made.key + "\n")

    def lines(self, at):
        return self.paths[at].read_bytes().splitlines(True)

    def write(self, at, lines):
        self.paths[at].write_bytes(b"".join(lines))

    def verify(self, *more, paths=None):
        return self.installed.run("usage", "--verify", "--chain-key", self.key,
                                  *more, *(paths or self.paths))

    def found(self, *places, words="", more=()):
        """Faults are found at these (file's place, line) and nowhere else."""
        done = self.verify(*more)
        assert done.returncode == 1, done.stdout
        told = re.findall(r"^fcgi-host: (\S+):(\d+): ", done.stderr, re.M)
        assert told == [(str(self.paths[at]), str(line))
                        for at, line in places], done.stderr
        assert words in done.stderr


@pytest.fixture
def logs(installed, made, tmp_path):
    return Logs(installed, made, tmp_path)


def test_what_nobody_touched_is_verified_whole(logs):
    done = logs.verify()
    assert done.returncode == 0 and not done.stderr, done.stderr
    count = sum(len(logs.lines(at)) for at in range(ROTATIONS + 1))
    assert f"{count} records verified, by {ROTATIONS + 1} keys" in done.stdout
    last = re.search(rb'"mac":"(\w+)"', logs.lines(-1)[-1])[1].decode()
    assert f"the head is {last}" in done.stdout


def alter(line):
    """One digit of what every kind of record has; not its time, by which files
    are put in order."""
    key = b'"status":' if b'"status":' in line else b'"executions":'
    at = line.index(key) + len(key)
    return line[:at] + (b"2" if line[at:at + 1] == b"1" else b"1") + \
        line[at + 1:]


@pytest.mark.parametrize("at", range(ROTATIONS + 1))
def test_a_changed_line_is_found_wherever_it_stands(logs, at):
    whole = logs.lines(at)
    for line in range(len(whole)):
        lines = list(whole)
        lines[line] = alter(lines[line])
        logs.write(at, lines)
        logs.found((at, line + 1), words="was changed")


def test_one_digit_of_a_bill_is_enough(logs):
    lines = logs.lines(1)
    at = next(i for i, line in enumerate(lines) if b'"billed_ms":' in line)
    lines[at] = re.sub(rb'"billed_ms":\d', lambda m: m[0][:-1] + (
        b"8" if m[0].endswith(b"9") else b"9"), lines[at])
    logs.write(1, lines)
    logs.found((1, at + 1))


@pytest.mark.parametrize("at", range(ROTATIONS + 1))
def test_a_removed_line_is_found_wherever_it_stood(logs, at):
    """The last one of all is another test's."""
    whole = logs.lines(at)
    last = len(whole) - 1
    for line in range(0 if at else 1, last + (at < ROTATIONS)):
        logs.write(at, whole[:line] + whole[line + 1:])
        done = logs.verify()
        assert done.returncode == 1
        here = f"{logs.paths[at]}:{line + 1}: "
        behind = f"{logs.paths[min(at + 1, ROTATIONS)]}:1: "
        assert (here if line < last else behind) in done.stderr, done.stderr


def test_lines_that_changed_places_are_found(logs):
    lines = logs.lines(1)
    lines[2], lines[3] = lines[3], lines[2]
    logs.write(1, lines)
    logs.found((1, 3), (1, 5))


def test_a_line_that_was_put_in_is_found_and_none_beside_it(logs):
    """A line of before, once more; and one that somebody made up."""
    whole = logs.lines(1)
    made_up = whole[2].replace(b'"seq":', b'"seq":9')
    bare = re.sub(rb',"mac":"\w+"', b"", whole[2])
    for line, words in ((whole[1], "put in"), (made_up, "put in"),
                        (bare, "has no mac")):
        logs.write(1, whole[:4] + [line] + whole[4:])
        logs.found((1, 5), words=words)


def test_a_file_that_is_there_twice_is_told_once(logs):
    """As by a rotation that died: behind the copy the chain goes on."""
    copy = logs.paths[1].with_name("copy")
    shutil.copy(logs.paths[1], copy)
    done = logs.verify(paths=[*logs.paths, copy])
    assert done.returncode == 1
    told, = done.stderr.splitlines()
    assert re.match(rf"fcgi-host: {logs.dir}/(copy|old\.1):1: it does not follow"
                    " on the line before it: .* stand there twice$", told), told


def test_a_mac_that_was_taken_away_is_found(logs):
    lines = logs.lines(2)
    lines[3] = re.sub(rb',"mac":"\w+"', b"", lines[3])
    logs.write(2, lines)
    logs.found((2, 4), (2, 5))


def test_the_macs_of_all_lines_taken_away_are_missed(logs):
    for at in range(ROTATIONS + 1):
        logs.write(at, [re.sub(rb',"mac":"\w+"', b"", line)
                        for line in logs.lines(at)])
    done = logs.verify()
    assert done.returncode == 1 and "no line has a mac" in done.stderr


def test_the_macs_of_the_oldest_file_taken_away_are_missed(logs):
    """The second file says that there was a chain."""
    logs.write(0, [re.sub(rb',"mac":"\w+"', b"", line)
                   for line in logs.lines(0)])
    logs.found((1, 1), words="the chain began before this line")


def test_a_file_that_was_cut_is_found(logs):
    """In the middle of the ledger, at a line's end and within a line."""
    lines = logs.lines(1)
    logs.write(1, lines[:3])
    logs.found((2, 1), words="lines between them are missing")
    logs.write(1, lines[:3] + [lines[3][:40]])
    logs.found((2, 1), words="lines between them are missing")


def test_a_file_that_is_missing_is_found(logs):
    done = logs.verify(paths=[*logs.paths[:1], *logs.paths[2:]])
    assert done.returncode == 1
    assert f"{logs.paths[2]}:1: it does not follow" in done.stderr


def test_lines_missing_at_the_end_are_found_by_a_head_alone(logs, tmp_path):
    heads = tmp_path / "heads"
    heads.write_text("".join(f"2026-11-27 head={head}\n"
                             for head in logs.heads))
    assert logs.verify("--heads", heads).returncode == 0
    for path in logs.paths[2:]:
        path.unlink()
    whole = logs.lines(1)
    logs.write(1, whole[:-1])
    paths = logs.paths[:2]
    assert logs.verify(paths=paths).returncode == 0, \
        "what the manual says cannot be found"
    done = logs.verify("--heads", heads, paths=paths)
    assert done.returncode == 1
    assert f"the head {logs.heads[1]} is the mac of no line" in done.stderr
    assert logs.heads[0] not in done.stderr


def test_no_head_is_overlooked_among_whatever_stands_beside_it(logs, tmp_path):
    """Marks, a NUL, and more than is read: then that is said."""
    heads, gone = tmp_path / "heads", "ab" * 32
    for text in (f"was <{gone}>.", f"'{gone}'", f"\0\n{gone}\n"):
        heads.write_text(f"{logs.heads[0]}\n{text}")
        done = logs.verify("--heads", heads)
        assert done.returncode == 1
        assert f"the head {gone} is the mac of no line" in done.stderr, text
    heads.write_text(f"{logs.heads[0]}\n" + "words " * 200000 + gone)
    done = logs.verify("--heads", heads)
    assert done.returncode == 1 and "longer than a MiB" in done.stderr


def chain_anew(logs, at, behind):
    """What whoever has the key of a file can write: its lines, chained behind
    this one."""
    key = bytes.fromhex(logs.key.read_text().strip())
    for _ in range(at):
        key = chain.next_key(key)
    mac = bytes.fromhex(re.search(rb'"mac":"(\w+)"', behind)[1].decode())
    forged = []
    for line in logs.lines(at):
        body = re.sub(rb',"mac":"\w+"\}\n$', b"", line)
        body = re.sub(rb'"prev":"\w+"', b'"prev":"%s"' % mac.hex().encode(),
                      body)
        mac = chain.blake2b(key, mac + body)
        forged.append(b'%s,"mac":"%s"}\n' % (body, mac.hex().encode()))
    return forged


def test_who_has_todays_key_cannot_write_yesterdays_lines(logs):
    """He cuts a file of before and chains today's anew behind what he left."""
    left = logs.lines(1)[:4]
    logs.write(2, chain_anew(logs, 2, left[-1]))
    logs.write(1, left)
    logs.paths = logs.paths[:3]
    logs.found((2, 1), words="the key changes behind a line that is no end")


def test_who_has_todays_key_cannot_take_whole_files_away(logs):
    """He leaves a file of before whole, and chains today's behind its end."""
    logs.write(3, chain_anew(logs, 3, logs.lines(0)[-1]))
    logs.paths = [logs.paths[0], logs.paths[3]]
    logs.found((1, 1), words="2 keys have no line: files are missing there")


def begun_by(logs, key, behind):
    """The first line of today's file as this key would begin it."""
    mac = re.search(rb'"mac":"(\w+)"', behind)[1]
    body = b'%s,"chain":"%s","prev":"%s"' % (
        re.sub(rb',"(chain|mac)":.*\n', b"", logs.lines(3)[0]),
        chain.name_of(key), mac)
    mac = chain.blake2b(key, bytes.fromhex(mac.decode()) + body)
    return b'%s,"mac":"%s"}\n' % (body, mac.hex().encode())


def test_a_key_that_was_put_into_the_file_takes_none_away_either(logs):
    """It is given as the first of two; its file is the last of three."""
    third = bytes.fromhex(logs.key.read_text().strip())
    for _ in range(2):
        third = chain.next_key(third)
    other = bytes.fromhex("5c" * 32)
    logs.key.write_text(f"{third.hex()}\n{other.hex()}\n")
    for key, told in ((other, False), (chain.next_key(other), True)):
        logs.write(3, [begun_by(logs, key, logs.lines(2)[-1])])
        done = logs.verify(paths=logs.paths[2:])
        assert done.returncode == told, done.stderr
        assert ("1 key has no line" in done.stderr) == told


def test_behind_a_stop_comes_a_key_that_was_put_there_but_not_the_next(logs):
    """The next one is used by a rotation alone, whose last record is there."""
    first = bytes.fromhex(logs.key.read_text().strip())
    other = bytes.fromhex("5c" * 32)
    logs.key.write_text(f"{first.hex()}\n{other.hex()}\n")
    last = logs.paths[3].with_name("new.log")
    for key, told in ((other, False), (chain.next_key(chain.next_key(
            chain.next_key(chain.next_key(first)))), True)):
        last.write_bytes(begun_by(logs, key, logs.lines(3)[-1]))
        done = logs.verify(paths=[*logs.paths, last])
        assert done.returncode == told, done.stderr
        assert (f"{last}:1: the key changes behind a line that is no end" in
                done.stderr) == told


def test_the_head_before_the_first_file_is_known_by_what_follows_it(logs,
                                                                    tmp_path):
    heads = tmp_path / "heads"
    heads.write_text("\n".join(logs.heads))
    done = logs.verify("--heads", heads, paths=logs.paths[1:])
    assert done.returncode == 0, done.stderr
    done = logs.verify("--heads", heads, paths=logs.paths[2:])
    assert done.returncode == 1
    assert f"the head {logs.heads[0]} is the mac of no line" in done.stderr


def test_a_file_alone_is_verified_and_says_what_it_follows_on(logs):
    done = logs.verify(paths=logs.paths[2:3])
    assert done.returncode == 0, done.stderr
    assert f"the first record follows on {logs.heads[1]}" in done.stdout


def test_a_later_key_verifies_what_it_wrote_and_says_what_it_did_not(logs):
    second = chain.next_key(bytes.fromhex(logs.key.read_text().strip()))
    logs.key.write_text(second.hex())
    assert logs.verify(paths=logs.paths[1:]).returncode == 0
    done = logs.verify()
    assert done.returncode == 1
    assert f"{len(logs.lines(0))} lines are not verified, from " \
        f"{logs.paths[0]}:1 on" in done.stderr
    logs.key.write_text("00" * 32)
    assert logs.verify().returncode == 1


def test_records_before_the_chain_are_told(logs):
    bare = [re.sub(rb',"mac":"\w+"', b"", line) for line in logs.lines(0)[1:4]]
    logs.write(0, bare + logs.lines(0))
    done = logs.verify()
    assert done.returncode == 0, done.stderr
    assert "3 records before the chain begins, not verified" in done.stdout


def test_wrong_words_are_told(logs, tmp_path):
    empty = tmp_path / "empty"
    empty.write_text("no key\n")
    for words, sentence in (
            (("--verify", "--json"), "--verify reads whole logs"),
            (("--heads", empty), "go with --verify"),
            (("--verify", "--chain-key", empty), "there is no key in it"),
            (("--verify", "--chain-key", logs.key, "--heads", empty),
             "there is no head in it")):
        done = logs.installed.run("usage", *words, logs.paths[0])
        assert done.returncode != 0
        assert sentence in done.stderr, done.stderr


def pack(logs):
    """The files as rotations leave them beside the log, plain and packed."""
    log = logs.paths[-1]
    for old, suffix in zip(logs.paths, ("-20261124.gz", "-20261125.zst", ".1")):
        new = log.with_name(log.name + suffix)
        if suffix.endswith(".gz"):
            new.write_bytes(gzip.compress(old.read_bytes()))
        elif suffix.endswith(".zst"):
            zstd, = room.need("zstd")
            subprocess.run([zstd, "-q", old, "-o", new], check=True)
        else:
            shutil.copy(old, new)
        old.unlink()


def test_rotated_and_packed_files_are_verified_as_one_ledger(logs):
    count = sum(len(logs.lines(at)) for at in range(ROTATIONS + 1))
    pack(logs)
    done = logs.verify(paths=logs.paths[-1:])
    assert done.returncode == 0, done.stderr
    assert f"{count} records verified" in done.stdout


@pytest.mark.parametrize("at", [0, 1])
def test_a_changed_line_is_found_in_a_packed_file(logs, at):
    lines = logs.lines(at)
    lines[2] = alter(lines[2])
    logs.write(at, lines)
    pack(logs)
    done = logs.verify(paths=logs.paths[-1:])
    assert done.returncode == 1
    assert re.search(r"a\.log-2026112\d\.(gz|zst):3: the line was changed",
                     done.stderr), done.stderr
