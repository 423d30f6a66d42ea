"""Runtimes that are scripts: their sections of the sample configuration with the
programs of this tree, and a runtime's program alone, without a host."""
import json
import pathlib
import re
import shutil
import tempfile
import time

from lib import alone, programs
from lib.alone import begin_body, end_body, request, send_body  # noqa: F401

SAMPLE = programs.TREE / "conf/fcgi-host.ini.in"
FUNCTIONS = programs.HERE / "runtime"


def section(name):
    """[runtime NAME] as installed, and the paths of its programs in this tree."""
    found = re.findall(rf"^\[runtime {name}\]\n(?:(?!\[|;).*\n)*",
                       SAMPLE.read_text(), re.MULTILINE)
    assert len(found) == 1, f"{len(found)} [runtime {name}] in {SAMPLE}"
    named = re.findall(r"@runtimesdir@/(\S+)", found[0])
    return found[0].strip() + "\n", {
        program: path for program in named
        for path in (programs.TREE / "functions").glob(f"*/{program}")}


def command(name):
    """The command of a runtime, and the function's path behind it."""
    text, paths = section(name)
    words = re.search(r"^command = (.*) %f$", text, re.MULTILINE)[1].split()
    return [str(paths.get(word.removeprefix("@runtimesdir@/"), word))
            for word in words]


def all_sections():
    """The text of all [runtime] sections of the sample."""
    return "\n".join(re.findall(r"^\[runtime \w+\]\n(?:(?!\[|; A tenant).*\n)*",
                                SAMPLE.read_text(), re.MULTILINE))


class Shelf:
    """The scripts where a sandbox can show them: /tmp is its own there."""

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fh-", dir="/var/lib"))
        self.dir.chmod(0o755)
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)

    def all(self):
        """All runtimes; those of compiled programs are not on the shelf."""
        for name in ("psgi", "rack"):
            self.section(name)
        shutil.copytree(programs.TREE / "functions/node", self.dir / "node",
                        dirs_exist_ok=True)
        return "\n" + all_sections().replace(
            "@runtimesdir@", str(self.dir)).replace(
                "@runtimesbind@", f"bind = {self.dir}") + "\n"

    def section(self, name, **more):
        text, paths = section(name)
        for path in paths.values():
            shutil.copytree(path.parent, self.dir, dirs_exist_ok=True)
        return text.replace("@runtimesdir@", str(self.dir)).replace(
            "@runtimesbind@", f"bind = {self.dir}") + "".join(
                f"{key} = {value}\n" for key, value in more.items()) + "\n"


class Alone(alone.Alone):
    def __init__(self, name, function, **env):
        super().__init__([*command(name), str(function)], **env)


def talk(connection, lines, answers):
    """Sends each line when the answer to the one before is there."""
    answer = None
    for line, expected in zip(lines[:-1], answers):
        send_body(connection, line)
        answer = connection.read_answer(
            answer=answer, stop=lambda a: a.body.endswith(expected))
        assert answer.body.endswith(expected) and not answer.is_complete, answer
    end_body(connection, lines[-1])
    return connection.read_answer(answer=answer)


def wait_spare(host, timeout=30):
    """Until the only instance that is left is a spare."""
    until = time.monotonic() + timeout
    while True:
        found = [one["state"] for one in json.loads(
            host.verb("status", "--json").stdout)["instances"]]
        if found == ["spare"]:
            return
        assert time.monotonic() < until, (found, host.log()[-2000:])
        time.sleep(0.03)


def read_until(client, text):
    """Reads a web server's answer up to a text."""
    while text not in client.pending:
        more = client.sock.recv(65536)
        assert more, f"the answer ended behind {client.pending!r}"
        client.pending += more
