"""What the README says can be done."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from salon.frontends.arguments import parse
from salon.frontends.zmq.background import BackgroundServer
from salon.frontends.zmq.options import ServeOptions

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
USING = (ROOT / "docs" / "using.md").read_text()


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return found


def test_there_are_two_commands() -> None:
    """.ci/run runs these two as they are written."""
    first, second, *_ = blocks("sh")
    assert re.search(r'pip install \. && salon imagine "[^"]+"\n$', first)
    assert second == "pip install '.[dev]' && python -m pytest\n"


LESS = [  # of each program; of as many jobs and steps nothing more is seen
    [('"seed": 7', '"seed": 7, "steps": 6')],
    [],
    [("range(6)", "range(2)"), ("images=4", "images=4, steps=6")],
    [("images=4", "images=4, steps=6")],
]


def program(number: int) -> str:
    programs = blocks("python")
    assert len(programs) == len(LESS)
    for much, less in LESS[number]:
        assert much in programs[number]
        programs[number] = programs[number].replace(much, less)
    return programs[number]


@pytest.mark.parametrize(("number", "images"), [(1, 2), (2, 4)])
def test_the_programs_run(number: int, images: int) -> None:
    names: dict[str, object] = {}
    exec(compile(program(number), "README.md", "exec"), names)
    assert getattr(names["pictures"], "shape", None) == (images, 128, 128, 3)


def test_the_clients_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's and Salon's own, on one server."""
    openai, client, http, zmq = program(0), program(3), "http://127.0.0.1:5580", "tcp://127.0.0.1:5599"
    assert http in openai
    assert zmq in client
    monkeypatch.chdir(tmp_path)
    options = ServeOptions(
        listen=("tcp://127.0.0.1:0",), data=tmp_path / "data", metrics=None, http="127.0.0.1:0", grace_s=0.2
    )
    options.data.mkdir()
    names: dict[str, object] = {}
    with BackgroundServer(options) as server:
        assert server.server is not None
        exec(compile(openai.replace(http, server.server.http), "README.md", "exec"), {})
        exec(compile(client.replace(zmq, server.address), "README.md", "exec"), names)
    with Image.open(tmp_path / "apple.png") as apple:
        assert apple.size == (176, 96)
    pictures = names["pictures"]
    assert isinstance(pictures, list)
    assert [picture.size for picture in pictures] == [(128, 128)] * 4
    assert len(list((tmp_path / "outputs").glob("*.png"))) == 5


def test_the_commands_of_the_server_exist() -> None:
    (commands,) = [block for block in blocks("sh") if "SALON_SERVER" in block]
    lines = [shlex.split(line) for line in commands.splitlines()]
    assert [parse(words[1:], "").command for words in lines if words[0] == "salon"] == ["imagine", "jobs", "ops top"]


def test_every_command_is_understood() -> None:
    whole = [block.replace("\\\n", " ") for block in blocks("sh")]  # a line goes on behind a backslash
    lines = [shlex.split(line, comments=True) for block in whole for line in block.splitlines()]
    commands = [parse(words[1:], "").command for words in lines if words and words[0] == "salon"]
    assert {"imagine", "vary", "region", "upscale", "blend", "serve", "jobs", "ops top"} <= set(commands)


def test_every_command_about_models_is_understood() -> None:
    page = (ROOT / "docs" / "models.md").read_text()
    whole = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    lines = [shlex.split(line) for block in whole for line in block.replace("\\\n", " ").splitlines()]
    assert all(words[0] == "salon" for words in lines)
    commands = [parse(words[1:], "").command for words in lines]
    assert (commands.count("imagine") > 15, {*commands}) == (True, {"imagine", "doctor", "serve"})


def test_the_flags_exist() -> None:
    """`docs/parameters.md` is made from the list of parameters; this page is written by hand."""
    table = re.findall(r"^\| `(-.*?) *\|[^|]*\|$", USING, re.MULTILINE)
    flags = re.findall(r"--?[a-z]+(?:-[a-z]+)*", " ".join(table))
    assert {"--json", "--threads", "-o"} <= set(flags)
    for flag in flags:
        if flag in ("--quiet", "--json"):
            parse(["imagine", "x", flag], "")
            continue
        values = {"--ar": "1:1", "--solver": "heun", "--backend": "cpu", "--device": "cpu", "--dtype": "float32"}
        parse(["imagine", "x", flag, values.get(flag, "7")], "")


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/map.md",
        "docs/using.md",
        "docs/measured.md",
        "docs/parameters.md",
        "docs/jobs.md",
        "docs/gpu.md",
        "docs/models.md",
        "docs/gallery/README.md",
    ],
)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert "://" in link or ((ROOT / page).parent / link).exists(), link


MAP = (ROOT / "docs" / "map.md").read_text()
WALKS = {  # where each begins and ends
    "A prompt's walk": ("frontends/cli.py", "frontends/outputs.py"),
    "A style reference's walk": ("parameters/known/style.py", "csrc/ops/attention_terms.h"),
}


def section(title: str) -> str:
    """The page's text under a heading."""
    return MAP.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def files(text: str) -> list[str]:
    return re.findall(r"(?<![\w./])(?:\w+/)+\w+\.(?:py|cpp|h|toml|md)\b", text)


def test_the_map_is_true() -> None:
    folders = re.findall(r"(?<![\w./])((?:\w+/)+)(?![\w<])", MAP)
    assert len(folders) > 20
    assert len(files(MAP)) > 80
    assert [path for path in (*folders, *files(MAP)) if not (ROOT / path).exists()] == []
    assert len(MAP.splitlines()) < 260


@pytest.mark.parametrize("title", WALKS)
def test_a_walk_names_each_file_once(title: str) -> None:
    steps = "\n".join(line for line in section(title).splitlines() if line.startswith(" " * 6))
    walk = files(steps)
    assert (walk[0], walk[-1]) == WALKS[title]
    assert len(walk) > 25
    assert [path for path in walk if walk.count(path) > 1] == []


def test_the_map_names_every_thread_of_a_server() -> None:
    """Workers' threads are named by their number, and those that end a studio are gone at once."""
    told = set(re.findall(r"\bsalon-[a-z]+", section("Processes and threads of `salon serve`")))
    sources = [path for folder in ("engine", "studio", "frontends/zmq") for path in (ROOT / folder).rglob("*.py")]
    found = {name for path in sources for name in re.findall(r'"(salon-[a-z]+)"', path.read_text())}
    assert {"salon-store", "salon-channel"} <= found
    assert found - told == {"salon-server"}, "only a `BackgroundServer` has that one"
    assert told - found == {"salon-worker", "salon-client"}


def test_the_forms_of_a_request_are_where_the_map_says() -> None:
    forms = re.findall(r"^\| `(\w+)`(?: \*)? \| `([\w/.]+)` \|", section("The forms of one request"), re.MULTILINE)
    assert len(forms) == 10
    own = [(name, path) for name, path in forms if name not in ("Namespace", "dict")]
    assert [form for form in own if f"\nclass {form[0]}" not in (ROOT / form[1]).read_text()] == []
