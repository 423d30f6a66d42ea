"""The runtimes of functions/: in a host's sandboxes, and by themselves."""
import pathlib
import re
import shutil
import tempfile

from lib import alone, fcgi, programs

SAMPLE = programs.TREE / "conf/fcgi-host.ini.in"
# Scripts run from the tree; what is compiled lies in the build.
SCRIPTS = ("node", "php")


def section(name):
    """[runtime NAME] as the sample configuration has it."""
    found = re.search(rf"^\[runtime {name}\]\n(?:(?!\[).+\n)*",
                      SAMPLE.read_text(), re.MULTILINE)
    assert found, f"no [runtime {name}] in {SAMPLE}"
    return found.group()


class Place:
    """A folder with the runtimes that is not below one of a sandbox's own."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fh-runtimes-",
                                                 dir="/var/lib"))
        self.dir.chmod(0o755)
        for name in SCRIPTS:
            shutil.copytree(programs.TREE / "functions" / name,
                            self.dir / name)

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def fill(self, text):
        """Text of the sample with the place filled in."""
        return text.replace("@runtimesdir@", str(self.dir)).replace(
            "@runtimesbind@", f"bind = {self.dir}")

    def sections(self, *names):
        return "\n" + "\n".join(self.fill(section(name)) for name in names)


class Direct(alone.Alone):
    def fetch(self, path="/", body=b"", **extra):
        """The whole URL as it is."""
        return fcgi.fetch(self.path, path, body, **extra)
