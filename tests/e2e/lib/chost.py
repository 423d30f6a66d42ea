"""Functions in C: the compiler's driver with the archive of the build beside it."""
import pathlib
import shutil
import subprocess
import tempfile

from lib import alone, programs, runtimes

TREE = programs.TREE / "functions/c"
SOURCES = programs.HERE / "runtime/c"
HANDLER = """#include <fcgi-host/function.h>

int
handler(struct fcgi_request *request)
{
%s
}
"""


class Kit:
    """fcgi-host-cc as it is installed, and a folder for programs; below `where`, as
    a sandbox shows nothing of /tmp."""

    def __init__(self, installed, where=None):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fh-c-", dir=where))
        self.dir.chmod(0o755)
        shutil.copytree(TREE, self.dir / "c")
        shutil.copy(runtimes.find_archive(installed), self.dir / "c")
        self.driver = self.dir / "c/fcgi-host-cc"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)

    def run(self, *words, cwd=None, **env):
        """The driver to its end; output as text."""
        return subprocess.run(
            [self.driver, *words], cwd=cwd or self.dir, text=True, timeout=120,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
            stdin=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin", **env})

    def build(self, source, name=None):
        """A program of a source, a path or text; nothing is to be said about it."""
        if not isinstance(source, pathlib.Path):
            path = self.dir / f"{name}.c"
            path.write_text(source)
            source = path
        out = self.dir / f"{name or source.stem}.fcgi"
        done = self.run("-o", out, source)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        return out


class Alone(alone.Alone):
    def __init__(self, program, **env):
        super().__init__([program], **env)
