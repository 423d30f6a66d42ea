"""git, sqlite3, curl, ImageMagick and the shell's programs in the sandbox."""
import subprocess

import pytest

from lib import programs, real

# What each part answers.
FOUND = {"sqlite": "42", "everyday": "fn",
         "curl": "curl: (6) Could not resolve host: example.org"}


@pytest.fixture(scope="module")
def host(start):
    image = real.SOURCES / "image.sh"
    return start.host(
        {"sh/tools.sh": real.SOURCES / "tools.sh", "sh/image.sh": image,
         "sh/large.sh": image},
        {"function sh/large": {"memory": "256M"}},
        runtimes=real.runtimes())


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """Twelve megapixels, as a telephone makes them."""
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    command, = programs.need("convert")
    subprocess.run([command, "-size", "4000x3000", "gradient:red-blue", path],
                   check=True)
    return path.read_bytes()


def size_of(picture):
    command, = programs.need("identify")
    return subprocess.run([command, "-format", "%m %wx%h", "-"], check=True,
                          input=picture, stdout=subprocess.PIPE).stdout


def test_each_part_of_the_programs_is_asked_for():
    pattern = r"^part_(\w+)"
    assert {*FOUND, "git"} == set(real.parts("tools.sh", pattern))
    assert {"resize", "hinted", "formats", "policy"} == set(
        real.parts("image.sh", pattern))


@pytest.mark.parametrize("part", FOUND)
def test_a_program_works(host, part):
    found, _ = real.ask(host, "/fn/sh/tools", part)
    assert found == FOUND[part]


def test_git_clones_commits_packs_and_finds_it_again(host):
    for changes in ("3", "6"):
        found, _ = real.ask(host, "/fn/sh/tools", "git")
        assert found == changes


@pytest.mark.parametrize("url,part", (("large", "resize"), ("image", "hinted")))
def test_imagemagick_makes_a_photo_smaller(host, photo, url, part):
    answer, _ = host.execute(f"/fn/sh/{url}?{part}", photo)
    assert answer.status == 200, answer.text
    assert size_of(answer.body) == b"JPEG 400x300"


def test_imagemagick_has_formats_and_fonts(host):
    found, _ = real.ask(host, "/fn/sh/large", "formats")
    assert found == "608x204"


def test_imagemagick_keeps_to_the_machine_s_policy(host):
    found, _ = real.ask(host, "/fn/sh/image", "policy")
    assert found == "forbidden"
