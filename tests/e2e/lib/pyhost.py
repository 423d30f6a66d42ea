"""fcgi-host-python: in a host's sandboxes, and by itself."""
import pathlib
import re
import shutil
import tempfile

from lib import alone, programs
from lib.alone import (  # noqa: F401
    begin_body as begin, end_body, request, send_body)

SOURCES = programs.HERE / "runtime/python"
NAME = "fcgi-host-python"


def program(installed):
    for path in (installed.libexec / "functions/python" / NAME,
                 installed.libexec / "runtimes" / NAME):
        if path.exists():
            return path
    raise AssertionError(f"{NAME} was not built: ./check installs what it needs")


class Place:
    """The program where a sandbox can show it, which has a /tmp of its own; a
    context that gives the runtime's section."""

    def __init__(self, installed):
        self.installed = installed

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fh-", dir="/var/lib"))
        self.dir.chmod(0o755)
        shutil.copy(program(self.installed), self.dir)
        sample = (programs.TREE / "conf/fcgi-host.ini.in").read_text()
        section = re.search(r"^\[runtime wsgi\]\n(?:.+\n)*", sample,
                            re.MULTILINE)[0]
        return "\n" + section.replace("@runtimesdir@", str(self.dir)).replace(
            "@runtimesbind@", f"bind = {self.dir}")

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)


class Alone(alone.Alone):
    def __init__(self, installed, file, **env):
        super().__init__([program(installed), file], **env)
