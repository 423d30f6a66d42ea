"""Small images for `rootfs`: programs of this machine with their libraries."""
import pathlib
import re
import shutil
import subprocess

MERGED = ("bin", "sbin", "lib", "lib64")


def build(path, *programs, merged=True):
    """A directory with the programs (names, looked for along PATH) and what they
    link; merged as Debian's images are, or with folders of their own."""
    path = pathlib.Path(path)
    (path / "etc").mkdir(parents=True)
    (path / "usr/share").mkdir(parents=True)
    for name in MERGED:
        folder = path / "usr" / name
        if merged:
            folder.mkdir()
            (path / name).symlink_to(f"usr/{name}")
        else:
            (path / name).mkdir()
    for name in programs:
        add_program(path, name)
    for folder in (path, *path.rglob("*")):
        if folder.is_dir() and not folder.is_symlink():
            folder.chmod(0o755)
    return path


def add_program(path, name):
    """The program as bin/NAME, its libraries beside."""
    source = shutil.which(name)
    shutil.copy(source, path / "bin" / pathlib.Path(source).name)
    told = subprocess.run(["ldd", source], check=True, capture_output=True,
                          text=True).stdout
    for library in re.findall(r"/\S+", told):
        folder = "lib64" if library.startswith("/lib64/") else "lib"
        shutil.copy(library, path / folder)
