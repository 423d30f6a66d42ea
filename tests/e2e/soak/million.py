"""`make soak-million`: SOAK_EXECUTIONS (1,000,000) of two tenants, a twentieth by
CGI, while the chained log is rotated and packed.  Each answer has its record, once;
no number is missing, the chain is whole, and the books balance."""
import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

from lib import chain, host as host_room, programs as programs_room

ROTATE_S = 10
STEP = 100_000
CLIENTS = 2
REQUEST = re.compile(
    rb'"type":"exec".*?"request_id":"([0-9a-f]{16})-load-\d+-(\d+)"')
LOAD = programs_room.Installed().libexec / "tests/bench/fcgi-load"


class Rotation(threading.Thread):
    """Renames, reopens and packs until it is told to end."""

    def __init__(self, host):
        super().__init__()
        self.host, self.is_over, self.count = host, threading.Event(), 0
        self.is_whole = False

    def run(self):
        while not self.is_over.wait(ROTATE_S):
            self.count += 1
            old = f"{self.host.accounting}-{self.count:06}"
            self.host.accounting.rename(old)
            done = self.host.verb("reopen")
            assert done.returncode == 0, done.stderr
            subprocess.run(["zstd", "-q", "-1", "--rm", old], check=True)
        self.is_whole = True


def ask(host, count, function):
    """So many answers, each with an id of its own; (id of the load, count).
    A process's number comes again within so many."""
    load_id = os.urandom(8).hex()
    with subprocess.Popen(
            [LOAD, "-c", str(CLIENTS), "-k", "-n", str(count), "-I",
             host.socket, f"DOCUMENT_URI=/fn/{function}",
             f"REQUEST_ID={load_id}-#i", "QUERY_STRING=head&raw=#i"],
            stdout=subprocess.PIPE) as load:
        told = json.loads(load.stdout.read())
    print(f"{function}: {told['answers']} answers, "
          f"{told['per_second']:.0f} a second", flush=True)
    assert load.returncode == 0 and told["faults"]["all"] == 0, told
    assert told["answers"] == count, told
    return load_id, count


def records(host):
    """Each line of type exec of the whole ledger: (load, number) by its id."""
    for path in sorted(host.log_dir.glob(f"{host.accounting.name}*"),
                       key=lambda path: (path == host.accounting, path.name)):
        command = ["zstd", "-dcq" if path.suffix == ".zst" else "-dcqf", path]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as packed:
            for line in packed.stdout:
                found = REQUEST.search(line)
                if found is not None:
                    yield found[1].decode(), int(found[2])
        assert packed.returncode == 0, path


def check(host, loads, first_key):
    """The problems."""
    seen = {load_id: bytearray(count) for load_id, count in loads}
    for load_id, number in records(host):
        seen[load_id][number] += 1
    counts = collections.Counter()
    for one in seen.values():
        counts.update(one)
    key = host.dir / "first.key"
    key.write_text(first_key)
    print(f"records by how many an answer has: {dict(counts)}")
    problems = [] if set(counts) == {1} else ["an answer has not one record"]
    for words in (("--by", "tenant"), ("--audit",),
                  ("--verify", "--chain-key", key)):
        done = host.installed.run("usage", *words, "-c", host.ini_path,
                                  *([host.accounting] * ("--verify" in words)))
        print(done.stdout, done.stderr, sep="")
        if done.returncode != 0 or done.stderr:
            problems.append(f"usage {words[0]}: {done.returncode}")
    return problems


def run(host, executions):
    first_key = chain.begin(host)
    rotation, loads = Rotation(host), []
    began = time.monotonic()
    rotation.start()
    try:
        for at in range(0, executions, STEP):
            count, name = min(STEP, executions - at), "ab"[at // STEP % 2]
            loads.append(ask(host, count - count // 20, f"{name}/f"))
            if count >= 20:
                loads.append(ask(host, count // 20, f"{name}/c"))
    finally:
        rotation.is_over.set()
        rotation.join()
    assert rotation.is_whole, "a rotation failed"
    host.stop()
    print(f"{executions} executions, {rotation.count} rotations, "
          f"{time.monotonic() - began:.0f} s")
    return check(host, loads, first_key)


def main():
    if os.geteuid() != 0:
        sys.exit("soak: it starts the host as root; run it as root")
    executions = int(os.environ.get("SOAK_EXECUTIONS", "1000000"))
    with tempfile.TemporaryDirectory(prefix="fh-soak-") as place:
        programs = programs_room.Compiler(pathlib.Path(place))
        host = host_room.Host(programs_room.Installed())
        try:
            for name in "ab":
                host.add(f"{name}/f.fcgi", programs.fcgi)
                host.add(f"{name}/c.cgi", programs.cgi)
            host.start()
            problems = run(host, executions)
        finally:
            if host.process is not None:
                host.kill(host.instances())
    if problems:
        sys.exit(f"soak: {'; '.join(problems)}; what it left is in {host.dir}")
    host.remove()


if __name__ == "__main__":
    main()
