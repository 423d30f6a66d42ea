"""The runtimes of functions/: their sections of the sample configuration, their
programs where a host's sandboxes can show them, and one by itself."""
import pathlib
import re
import shutil
import tempfile

from lib import alone, fcgi, programs

SAMPLE = programs.TREE / "conf/fcgi-host.ini.in"
PYTHON = "fcgi-host-python"


def section(name):
    """[runtime NAME] as the sample configuration has it."""
    found = re.findall(rf"^\[runtime {name}\]\n(?:(?!\[).*\n)*",
                       SAMPLE.read_text(), re.MULTILINE)
    assert len(found) == 1, f"{len(found)} [runtime {name}] in {SAMPLE}"
    # without what is said of the next one
    return re.sub(r"(?:\n(?:;(?: .*)?)?)+\Z", "\n", found[0])


def names():
    return re.findall(r"^\[runtime (\w+)\]$", SAMPLE.read_text(), re.MULTILINE)


def in_tree(program):
    """A script by its name below @runtimesdir@."""
    found, = (programs.TREE / "functions").glob(
        program if "/" in program else f"*/{program}")
    return found


def command(name):
    """The command of a runtime that is a script, with the script of the tree."""
    words = re.search(r"^command = (.*?)(?: %f)?$", section(name), re.MULTILINE)[1]
    return [str(in_tree(word.removeprefix("@runtimesdir@/")))
            if word.startswith("@runtimesdir@/") else word
            for word in words.split()]


def find_python(installed):
    """The program of Python's runtime, which is compiled; or None."""
    for path in (installed.libexec / "functions/python" / PYTHON,
                 installed.libexec / "runtimes" / PYTHON):
        if path.exists():
            return path
    return None


def python(installed):
    found = find_python(installed)
    assert found, f"{PYTHON} was not built: ./check installs what it needs"
    return found


def find_archive(installed):
    """What is linked into functions in C."""
    for path in (installed.libexec / "functions/c/libfunction.a",
                 installed.libexec / "runtimes/c/libfunction.a"):
        if path.exists():
            return path
    raise AssertionError("libfunction.a was not built")


class Place:
    """A folder with all of them, as `make install` lays them out, that is not below
    one of a sandbox's own, as /tmp is.  A context, or remove()."""

    def __init__(self, installed):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fh-runtimes-",
                                                 dir="/var/lib"))
        self.dir.chmod(0o755)
        for name in ("node", "php"):
            shutil.copytree(programs.TREE / "functions" / name,
                            self.dir / name)
        for name in ("perl", "ruby"):
            shutil.copytree(programs.TREE / "functions" / name, self.dir,
                            dirs_exist_ok=True)
        shutil.copytree(programs.TREE / "functions/c", self.dir / "c")
        shutil.copy(find_archive(installed), self.dir / "c")
        if find_python(installed):
            shutil.copy(python(installed), self.dir)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def section(self, name, **more):
        """That of the sample with its places filled in, and more keys.  Beside the
        runtimes of lib/host.py a .py is Python's, without a question."""
        assert name != "wsgi" or (self.dir / PYTHON).exists(), \
            f"{PYTHON} was not built: ./check installs what it needs"
        text = self.fill(section(name)).replace(
            "extensions = py wsgi\n", "extensions = wsgi\n").replace(
            "otherwise = python\n", "")
        return "\n" + text + "".join(f"{key} = {value}\n"
                                     for key, value in more.items())

    def fill(self, text):
        return text.replace("@runtimesdir@", str(self.dir)).replace(
            "@runtimesbind@", f"bind = {self.dir}")

    def all(self):
        return "\n" + "\n".join(self.fill(section(name)) for name in names())


class Direct(alone.Alone):
    def fetch(self, path="/", body=b"", **extra):
        """The whole URL as it is."""
        return fcgi.fetch(self.path, path, body, **extra)
