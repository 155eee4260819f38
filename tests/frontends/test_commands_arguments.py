"""The command line of everything about servers: what it takes, how it refuses the rest, and its help."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.bounds import TASTE
from salon.frontends import arguments, cli
from salon.frontends.arguments import UsageError, parse
from salon.frontends.commands import flags_ops
from salon.frontends.commands.completion import walk
from salon.frontends.commands.flags_make import KINDS
from salon.frontends.commands.serve import options_of
from salon.frontends.zmq.options import DEFAULT_HTTP, ServeOptions
from salon.parameters.errors import ParameterError
from salon.scheduler.tickets import Lane

ACCOUNT = "0123456789abcdef" * 4
PATHS = [command.path for command in walk(arguments.parser("1.2.3"))]
GROUPS = ("", "ops", "profile", "moodboard", "folder", "preset", "account")  # these only have commands below them


def read(*words: str) -> argparse.Namespace:
    return parse(words, "1.2.3")


def test_names_agree_with_the_other_floors() -> None:
    assert set(arguments.LANES) == set(Lane)


def test_every_command_has_its_function() -> None:
    runnable = {path for path in PATHS if path not in GROUPS}
    assert runnable == {*cli.COMMANDS, *KINDS.names()}  # other kinds of jobs are made as `imagine` makes its own
    for command, module in cli.COMMANDS.items():
        found = importlib.import_module(f"salon.frontends.{module}")
        assert callable(getattr(found, cli.function_of(command))), command


@pytest.mark.parametrize("path", PATHS)
def test_help_is_one_screen(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        read(*path.split(), "--help")
    assert done.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("usage: salon")
    # lines; kinds list all that their requests can say
    longest = {"": 64, "serve": 78, **dict.fromkeys(KINDS.names(), 86)}
    assert len(lines) <= longest.get(path, 50)
    assert max(map(len, lines)) <= 100


def test_help_leaves_out_what_only_other_kinds_take(capsys: pytest.CaptureFixture[str]) -> None:
    def flags(path: str) -> set[str]:
        with pytest.raises(SystemExit):
            read(path, "--help")
        return set(re.findall(r"--[a-z-]+", capsys.readouterr().out))

    assert not {"--zoom", "--side", "--place", "--strong", "--creative"} & flags("imagine")
    assert "--zoom" in flags("zoom")
    assert "--side" not in flags("zoom")


@pytest.mark.parametrize("path", [path for path in PATHS if path not in GROUPS])
def test_every_command_has_json(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read(*path.split(), "--help")
    assert "--json" in capsys.readouterr().out


def test_the_help_has_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "0 done, 1 a job failed or something is broken, 2 refused, 3 no server, 130 interrupted" in text


def test_defaults() -> None:
    jobs, imagine = read("jobs"), read("imagine", "x")
    assert (jobs.limit, jobs.state, jobs.account, jobs.all_pages) == (20, None, None, False)
    assert (imagine.lane, imagine.server, imagine.timeout) == (None, None, 10.0)
    assert read("ops", "grant", ACCOUNT, "7.5").source == "bought"
    assert read("ops", "accounts", "set", ACCOUNT).blocked is None
    assert read("ops", "ledger").account is None
    for words in (("ops", "ledger"), ("ops", "blocks"), ("jobs", "--account"), ("info", "--account")):
        assert read(*words, TASTE).account == TASTE  # the server's own, which operators may look at


def test_everything_is_read() -> None:
    options = read("imagine", "a cat", "--lane", "relax", "--private", "--detach", "--server", "tcp://x:1")
    assert (options.lane, options.private, options.detach, options.server) == ("relax", True, True, "tcp://x:1")
    options = read("jobs", "--limit", "200", "--state", "done,failed", "--account", "*", "--all-pages", "--json")
    assert (options.limit, options.state, options.account, options.all_pages) == (200, "done,failed", "*", True)
    options = read("show", "j.1", "-o", "x", "--follow", "--force")
    assert (options.command, options.job, options.output, options.follow) == ("show", "j.1", "x", True)
    assert read("cancel", "a", "b").jobs == ["a", "b"]
    options = read(
        "ops", "accounts", "set", ACCOUNT, "--name", "Ada L.", "--plan", "pro", "--role", "operator", "--block"
    )
    assert options.command == "ops accounts set"
    assert (options.account, options.name, options.plan) == (ACCOUNT, "Ada L.", "pro")
    assert (options.role, options.blocked) == ("operator", True)
    assert read("ops", "accounts", "set", ACCOUNT, "--unblock").blocked is False
    options = read("ops", "grant", "local", "90", "--source", "operator", "--expires", "30", "--key", "k")
    assert (options.account, options.minutes, options.source, options.expires, options.key) == (
        "local",
        90.0,
        "operator",
        30.0,
        "k",
    )
    options = read("ops", "ledger", ACCOUNT, "--after", "7", "--limit", "3")
    assert (options.account, options.after, options.limit) == (ACCOUNT, 7, 3)
    assert (read("ops", "drain", "--stop", "--wait").stop, read("ops", "drain").wait) == (True, False)


def test_a_server_of_defaults_is_the_default_server() -> None:
    assert options_of(read("serve")) == ServeOptions(http=DEFAULT_HTTP, http_optional=True)


def test_a_server_of_everything(tmp_path: Path) -> None:
    first = [
        "--listen",
        "tcp://127.0.0.1:7000",
        "--listen",
        "tcp://[::1]:7000",
        "--data",
        str(tmp_path),
        "--curve",
    ]
    second = ["--database", "postgresql://h/n", "--model", "m", "--workers", "4", "--threads", "2", "--isa", "avx2"]
    second += ["--device", "cuda:0, cuda:1", "--ip-adapter", "a.safetensors", "--image-encoder", "e"]
    third = ["--paused", "--plans", "p.toml", "--metrics", "0.0.0.0:80", "--operator", ACCOUNT, "--operator", ACCOUNT]
    fourth = ["--open", "--keep", "7.5", "--quota", "1.5", "--json", "--in-process", "--dtype", "float32"]
    fifth = ["--rate", "20", "--burst", "40", "--grace", "2.5", "--open-plan", "basic", "--open-accounts", "7"]
    policies = ["--policy", "words:a.txt", "--policy", "m:f", "--policy-stages", "prompt,upload"]
    policies += ["--policy-down", "allow", "--policy-timeout", "2.5", "--policy-blocks", "0"]
    chat = ["--chat-endpoint", "http://h/v1", "--chat-model", "small", "--chat-timeout", "5"]
    sixth = ["--unlock", "40", "--bonus-rankers", "3", "--bonus-events", "10", "--http", "[::1]:81"]
    assert options_of(
        read("serve", *first, *second, *third, *fourth, *fifth, *sixth, *policies, *chat)
    ) == ServeOptions(
        listen=("tcp://127.0.0.1:7000", "tcp://[::1]:7000"),
        data=tmp_path,
        curve=True,
        database="postgresql://h/n",
        model="m",
        ip_adapter="a.safetensors",
        image_encoder="e",
        workers=4,
        device="cuda:0,cuda:1",
        threads=2,
        isa="avx2",
        dtype="float32",
        process=False,
        paused=True,
        plans=Path("p.toml"),
        metrics="0.0.0.0:80",
        http="[::1]:81",
        operators=(ACCOUNT,),
        open=True,
        open_plan="basic",
        open_accounts=7,
        keep_days=7.5,
        quota_bytes=1_500_000,
        rate=20.0,
        burst=40,
        grace_s=2.5,
        log_json=True,
        taste_unlock=40,
        bonus_rankers=3,
        bonus_events=10,
        chat_endpoint="http://h/v1",
        chat_model="small",
        chat_timeout_s=5.0,
        policy=("words:a.txt", "m:f"),
        policy_stages=("prompt", "upload"),
        policy_down="allow",
        policy_timeout_s=2.5,
        policy_blocks=0,
    )
    assert options_of(read("serve", "--metrics", "off")).metrics is None
    assert options_of(read("serve", "--http", "off")).http is None
    assert options_of(read("serve", "--http", "81")).http == "127.0.0.1:81"
    assert options_of(read("serve", "--metrics", "81")).metrics == "127.0.0.1:81"


@pytest.mark.parametrize("base", ["/x/y", "", "relative"])
def test_where_the_data_is(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", base)
    monkeypatch.setenv("HOME", "/home/ada")
    expected = "/x/y/salon" if base == "/x/y" else "/home/ada/.local/share/salon"
    assert options_of(read("serve")).data == Path(expected)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["imagine", "x", "--lane", "slow"], r"--lane: got 'slow', allowed turbo or fast or draft or relax"),
        (["imagine", "x", "--detach", "-o", "y"], r"-o: got it with --detach.*salon show JOB -o PATH"),
        (["imagine", "x", "--detach", "--preview", "y"], r"--preview: got it with --detach"),
        (["imagine", "x", "--preview", ""], r"--preview: got '', allowed the name of a file"),
        (["imagine", "x", "--timeout", "0"], r"--timeout: got '0', allowed a number from 0.1 to 3600"),
        (["imagine", "x", "--lane", "fast", "--lane", "fast"], r"--lane: got it twice"),
        (["imagine", "x", "--lanes", "fast"], r"'--lanes': unknown flag; did you mean --lane\?"),
        (
            ["serve", "--policy-down", "block"],
            r"--policy-down: got it without --policy, allowed with one; add --policy",
        ),
        (["serve", "--policy", "a:b", "--policy-stages", "prompt,x"], r"--policy-stages: got 'x', allowed prompt or"),
        (["serve", "--chat-model", "m"], r"--chat-model: got it without --chat-endpoint, allowed with it; add"),
        (["serve", "--chat-timeout", "2"], r"--chat-timeout: got it without --chat-endpoint"),
        (["jobs", "--limit", "0"], r"--limit: got '0', allowed a whole number from 1 to 200; or pass --all-pages"),
        (["jobs", "--limit", "201"], r"--limit: got '201'"),
        (["jobs", "--limit", "2", "--limit", "2"], r"--limit: got it twice"),
        (["jobs", "--state", "done,dead"], r"--state: got 'dead', allowed queued or running or"),
        (["jobs", "--state", "done,"], r"--state: got ''"),
        (
            ["jobs", "--account", "ada"],
            r"--account: got 'ada', allowed the 64 hex digits of a public key, 'local', 'salon.taste', '\*'",
        ),
        (["jobs", "now"], r"'now': got words too many; see `salon jobs --help`"),
        (["show"], r"required: JOB; see `salon show --help`"),
        (["show", "a b"], r"JOB: got 'a b', allowed a job's id"),
        (["show", "a" * 65], r"JOB: got 'a{40}\.\.\.'"),
        (["show", "a", "b"], r"'b': got words too many"),
        (["show", "a", "--force"], r"--force: got it without -o"),
        (["cancel"], r"required: JOB"),
        (["cancel", "a", "../b"], r"JOB: got '\.\./b'"),
        (["delete", "a", "--forse"], r"'--forse': unknown flag; see `salon delete --help`"),
        (["info", "--account", "*"], r"--account: got '\*'"),
        (["keys", "--secret"], r"'--secret': unknown flag"),
        (["ops"], r"required: COMMAND; see `salon ops --help`"),
        (["ops", "statu"], r"'statu': unknown command; did you mean status\? see `salon ops --help`"),
        (["ops", "nonsense"], r"'nonsense': unknown command; allowed status, top, workers, .*, see `salon ops --help`"),
        (["ops", "status", "--jsn"], r"'--jsn': unknown flag; did you mean --json\?"),
        (["ops", "accounts", "sett"], r"'sett': unknown command; did you mean set\? see `salon ops accounts --help`"),
        (["ops", "accounts", "set"], r"required: ACCOUNT"),
        (["ops", "accounts", "set", ACCOUNT[:-1]], r"ACCOUNT: got '0123"),
        (["ops", "accounts", "set", ACCOUNT.upper()], r"ACCOUNT: got '0123"),
        (["ops", "accounts", "set", ACCOUNT, "--role", "king"], r"--role: got 'king', allowed user or operator"),
        (["ops", "accounts", "set", ACCOUNT, "--plan", "Pro!"], r"--plan: got 'Pro!', allowed the name of a plan"),
        (["ops", "accounts", "set", ACCOUNT, "--name", "a\nb"], r"--name: got 'a\\nb', allowed up to 100 characters"),
        (["ops", "accounts", "set", ACCOUNT, "--name", "\udcff"], r"--name: got '\\udcff'"),  # bytes that are no UTF-8
        (["ops", "accounts", "set", ACCOUNT, "--block", "--unblock"], r"--unblock: not allowed with argument --block"),
        (["ops", "grant", ACCOUNT], r"required: MINUTES"),
        (["ops", "grant", ACCOUNT, "0"], r"MINUTES: got '0', allowed a number from 0.001 to 1000000"),
        (["ops", "grant", ACCOUNT, "1e3"], r"MINUTES: got '1e3'"),
        (["ops", "grant", ACCOUNT, "-5"], r"MINUTES: got '-5'"),
        (
            ["ops", "grant", ACCOUNT, "5", "--source", "gift"],
            r"--source: got 'gift', allowed bought or bonus or operator",
        ),
        (["ops", "grant", ACCOUNT, "5", "--key", "a b"], r"--key: got 'a b'"),
        (["ops", "ledger", "*"], r"ACCOUNT: got '\*'"),
        (["ops", "ledger", "--after", "-1"], r"--after: got '-1'"),
        (["serve", "--workers", "0"], r"--workers: got '0', allowed a whole number from 1 to 64"),
        (
            ["serve", "--device", "cuda:0,cuda:0"],
            r"--device: got cuda:0 twice, allowed each once; ask for more workers",
        ),
        (["serve", "--device", "GPU"], r"--device: got 'GPU', allowed names like cuda:0 or cpu, with commas between"),
        (["serve", "--device", "cuda:0,cuda:1", "--workers", "3"], r"--workers: got 3, allowed a multiple of 2"),
        (["imagine", "x", "--device", "cuda:0,cuda:1"], r"--device: got 'cuda:0,cuda:1', allowed one device; start"),
        (["serve", "--operator", "ada"], r"--operator: got 'ada', allowed the 64 hex digits"),
        (["serve", "--metrics", "high"], r"--metrics: got 'high', allowed PORT, HOST:PORT or off"),
        (["serve", "--metrics", "70000"], r"--metrics: got '70000'"),
        (["serve", "--http", "high"], r"--http: got 'high', allowed PORT, HOST:PORT or off; write it like 5580"),
        (["serve", "--keep", "0"], r"--keep: got '0', allowed a number from 0.01 to 36500"),
        (["serve", "--quota", "nan"], r"--quota: got 'nan'"),
        (["serve", "--curve", "--no-curve"], r"--no-curve: not allowed with argument --curve"),
        (["serve", "--no-curve", "--open"], r"--open: got it with --no-curve"),
        (["serve", "--open-plan", "basic"], r"--open-plan: got it without --open"),
        (["serve", "--rate", "-1"], r"--rate: got '-1', allowed a number from 0 to 1000000"),
        (["serve", "--grace", "forever"], r"--grace: got 'forever'"),
        (["serve", "--data", ""], r"--data: got ''"),
        (["serve", "now"], r"'now': got words too many"),
        (["completion"], r"required: SHELL"),
        (["completion", "tcsh"], r"SHELL: got 'tcsh', allowed bash or zsh or fish"),
    ],
)
def test_refusals(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read(*words)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--listen", "localhost:5599"], r"address: got 'localhost:5599'"),
        (["--listen", "tcp://127.0.0.1:1", "--listen", "tcp://127.0.0.1:1"], r"--listen: got tcp://127.0.0.1:1 twice"),
        (["--listen", f"tcp://127.0.0.1:1#{ACCOUNT}"], r"--listen: got tcp://127.0.0.1:1 with a key"),
    ],
)
def test_addresses_refused(words: list[str], message: str) -> None:
    with pytest.raises(Exception, match=message):
        options_of(read("serve", *words))


def test_flags_of_roles_and_sources_are_words_of_the_wire() -> None:
    assert flags_ops.SOURCES == ("bought", "bonus", "operator")


WORDS = sorted(
    {word for path in PATHS for word in path.split()}
    | {name for command in walk(arguments.parser("1")) for flag in command.flags for name in flag.names}
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=8) | st.sampled_from(["--", "-", "=", "--n=", ACCOUNT, "7"])))
def test_anything_is_read_or_refused_in_one_line(words: list[str]) -> None:
    outcome: object = None
    with contextlib.redirect_stdout(io.StringIO()):  # help
        try:
            outcome = parse(words, "1.2.3").command
        except (UsageError, ParameterError) as error:  # what a prompt says wrong is the language's to refuse
            outcome = error
        except SystemExit as done:
            outcome = done
    known = {*cli.COMMANDS, *KINDS.names()}
    assert isinstance(outcome, UsageError | ParameterError) or outcome in known or getattr(outcome, "code", 1) == 0
