"""docker-compose.yaml, Dockerfile and deploy/: all that can be known without a Docker engine."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import runpy
import shutil
import stat
import subprocess
import venv
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.cli.cli_parser import get_parser
from airflow.configuration import conf
from airflow.executors.executor_loader import ExecutorLoader
from airflow.executors.executor_utils import ExecutorName
from cryptography.fernet import Fernet

from env_sync.airflow.connections import server_connection_ids, store_connection_id
from env_sync.config.buckets import own_bucket
from env_sync.config.files import environment_names
from env_sync.domain.sync import Sync
from env_sync.planning.installation import read_plan

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yaml"
DOCKERFILE = ROOT / "Dockerfile"
EXAMPLE = ROOT / ".env.example"
ENVIRONMENTS = environment_names(ROOT / "include" / "hieradata")

COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
AIRFLOW = {name: service for name, service in SERVICES.items() if "build" in service}
WORKERS = {name: service for name, service in AIRFLOW.items() if "worker" in service["command"]}
OTHERS = {name: service for name, service in SERVICES.items() if name not in AIRFLOW}
ONCE = {"airflow-prepare"}
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?:(:[?-])([^}]*))?\}")
SECRET = re.compile(r"PASSWORD|SECRET|FERNET|REDISCLI_AUTH")


def dockerfile_instructions() -> list[tuple[str, str]]:
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [
        (found[1], " ".join(found[2].split()))
        for found in re.finditer(r"^([A-Z]+) (.+)$", text, re.MULTILINE)
    ]


def dockerfile_environment() -> dict[str, str]:
    settings = (value.split() for name, value in dockerfile_instructions() if name == "ENV")
    return dict(setting.split("=", 1) for group in settings for setting in group)


def example_variables() -> dict[str, str]:
    lines = (line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def stays_out(path: str) -> bool:
    """Whether .dockerignore keeps a path out: the last pattern that fits it, or a folder above, decides."""
    parts = path.split("/")
    with_parents = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    ignored = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        anywhere = pattern.startswith("**/")
        names = (
            parts if anywhere else [name for name in with_parents if name.count("/") == pattern.count("/")]
        )
        if line and line[0] != "#" and fnmatch.filter(names, pattern.removeprefix("**/")):
            ignored = not line.startswith("!")
    return ignored


def interpolated(text: str) -> str:
    """What Compose makes of a value, with a word for each secret."""

    def value(found: re.Match[str]) -> str:
        return example_variables().get(found[1]) or f"a-value-of-{found[1]}"

    return VARIABLE.sub(value, text).replace("$$", "$")


def test_the_executor_can_be_loaded() -> None:
    named = COMPOSE["x-airflow-environment"]["AIRFLOW__CORE__EXECUTOR"]
    assert ExecutorLoader.import_executor_cls(ExecutorName(ExecutorLoader.executors[named]))


def test_there_are_all_the_parts_of_airflow_and_what_they_need() -> None:
    assert set(SERVICES) == {
        "api-server",
        "scheduler",
        "dag-processor",
        "triggerer",
        "worker-1",
        "worker-2",
        "airflow-prepare",
        "airflow-database",
        "redis",
        "s3",
        "postgresql-production",
        "postgresql-staging",
        "postgresql-integration",
    }


@pytest.mark.parametrize("name", AIRFLOW)
def test_a_component_runs_a_command_of_airflow(name: str) -> None:
    program, *arguments = AIRFLOW[name]["command"]
    if name in ONCE:
        assert program == "prepare"
        assert set(arguments) == set(ENVIRONMENTS)
    else:
        assert program == "airflow"
        get_parser().parse_args(arguments)


def test_every_variable_is_explained_in_the_example_and_used() -> None:
    used = {found[1] for found in VARIABLE.finditer(COMPOSE_FILE.read_text())}
    assert used == set(example_variables())


def test_a_secret_that_is_missing_stops_the_start() -> None:
    for found in VARIABLE.finditer(COMPOSE_FILE.read_text()):
        name, kind, rest = found.groups()
        if example_variables()[name]:
            assert (kind, rest) == (":-", example_variables()[name]), f"{name} and .env.example differ"
        else:
            assert (kind, rest) == (":?", "run deploy/make-env"), name


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_is_in_the_file(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        if SECRET.search(variable):
            assert VARIABLE.fullmatch(value), f"{variable} of {name}"
        if variable.startswith("AIRFLOW_CONN_"):
            assert json.loads(VARIABLE.sub("", value))["password"] == ""
        for address in re.findall(r"//[^/@ ]*@", value):
            assert re.fullmatch(r"//\w*:\$\{\w+:\?[^}]*\}@", address), f"{variable} of {name}"


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_waits_for_can_come(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        else:
            assert how["condition"] == "service_completed_successfully"
            assert other in ONCE


def test_no_service_waits_for_itself() -> None:
    done: set[str] = set()
    while more := {
        name
        for name, service in SERVICES.items()
        if name not in done and set(service.get("depends_on", {})) <= done
    }:
        done |= more
    assert done == set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_starts_again_and_says_how_it_is(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == ("on-failure" if name in ONCE else "unless-stopped")
    assert ("healthcheck" in service) == (name not in ONCE)


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_has_a_fixed_version(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].rpartition(":")
    assert image
    assert re.match(r"v?\d+\.\d+", tag)


def test_the_image_has_the_version_of_the_product() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert {service["image"] for service in AIRFLOW.values()} == {f"env-sync:{version[1]}"}


@pytest.mark.parametrize("name", SERVICES)
def test_mounts_are_there_and_what_is_the_repositorys_is_read_only(name: str) -> None:
    for mount in SERVICES[name].get("volumes", []):
        source, target, *mode = mount.split(":")
        assert target.startswith("/")
        if source.startswith("./"):
            assert (ROOT / source).exists(), source
            assert mode == ["ro"], source
        else:
            assert source in COMPOSE["volumes"]
            assert not mode


def test_every_volume_is_used() -> None:
    mounted = {mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])}
    assert set(COMPOSE["volumes"]) <= mounted


@pytest.mark.parametrize("name", AIRFLOW)
def test_components_share_configuration_code_and_logs(name: str) -> None:
    shared = COMPOSE["x-airflow-environment"].items()
    assert shared <= AIRFLOW[name]["environment"].items()
    assert set(COMPOSE["x-airflow-volumes"]) <= set(AIRFLOW[name]["volumes"])


def test_workers_share_their_work_folder_and_nobody_else_sees_it() -> None:
    folder = dockerfile_environment()["ENV_SYNC_WORK_FOLDER"]
    assert len(WORKERS) == 2
    assert {name for name, service in AIRFLOW.items() if f"work:{folder}" in service["volumes"]} == set(
        WORKERS
    )


def test_workers_are_given_time_to_end_their_tasks() -> None:
    for worker in WORKERS.values():
        assert worker["stop_signal"] == "SIGTERM"
        assert worker["stop_grace_period"] == "1h"
        assert worker["environment"]["AIRFLOW__CELERY__TASK_ACKS_LATE"] == "True"


def test_a_step_may_take_as_long_as_it_is_allowed_before_its_message_is_given_to_another_worker() -> None:
    timeout = COMPOSE["x-airflow-environment"]["AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"]
    longest = max(
        limit.total_seconds()
        for environment in ENVIRONMENTS
        for group in read_plan(environment).groups
        for limit in group.sync.options.timeouts.values()
    )
    assert int(timeout) > longest


def test_only_the_user_interface_can_be_reached_and_only_from_this_machine() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"api-server"}
    assert [interpolated(port) for port in SERVICES["api-server"]["ports"]] == ["127.0.0.1:8080:8080"]


def settings_of_airflow() -> set[str]:
    named = {name for service in AIRFLOW.values() for name in service["environment"]} | set(
        dockerfile_environment()
    )
    return {name for name in named if name.startswith("AIRFLOW__")}


@pytest.mark.parametrize("name", sorted(settings_of_airflow()))
def test_a_setting_is_one_of_airflows(name: str) -> None:
    section, option = name.lower().removeprefix("airflow__").split("__")
    assert option in conf.configuration_description[section]["options"]


def connections(service: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        name.removeprefix("AIRFLOW_CONN_").lower(): json.loads(interpolated(value))
        for name, value in service["environment"].items()
        if name.startswith("AIRFLOW_CONN_")
    }


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("worker", WORKERS)
def test_a_worker_has_a_connection_for_each_sync(worker: str, environment: str) -> None:
    there = connections(WORKERS[worker])
    for group in read_plan(environment).groups:
        assert isinstance(group.sync, Sync)
        found = [there[name] for name in server_connection_ids(group.sync) if name in there]
        assert found, f"{group.id} needs one of {server_connection_ids(group.sync)}"
        assert found[0]["extra"]["environment"] == environment
        # deploy/example/owner.sql makes it.
        assert found[0]["extra"].get("owner") == (None if environment == "production" else "publishing")
        assert found[0]["host"] == f"postgresql-{environment}"
    assert there[store_connection_id(environment)]["extra"]["environment"] == environment


def test_no_connection_is_left_over() -> None:
    wanted = {store_connection_id(environment) for environment in ENVIRONMENTS}
    for environment in ENVIRONMENTS:
        for group in read_plan(environment).groups:
            assert isinstance(group.sync, Sync)
            wanted.update(server_connection_ids(group.sync))
    for worker in WORKERS.values():
        assert set(connections(worker)) <= wanted


def test_only_workers_hold_connections_to_databases() -> None:
    for name, service in AIRFLOW.items():
        if name not in WORKERS:
            assert all(kind["conn_type"] == "aws" for kind in connections(service).values()), name
            # The api-server lists dumps on the board.
            assert not connections(service) or name in {*ONCE, "api-server"}


def test_all_environments_that_are_generated_are_in_hieradata() -> None:
    named = COMPOSE["x-airflow-environment"]["ENV_SYNC_ENVIRONMENTS"].split(",")
    assert sorted(named) == sorted(ENVIRONMENTS)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_hosts_and_bucket_are_those_of_the_services(environment: str) -> None:
    server = SERVICES[f"postgresql-{environment}"]["environment"]
    name = environment.upper()
    assert VARIABLE.findall(server["SYNC_ROLE_PASSWORD"])[0][0] == f"{name}_SYNC_PASSWORD"
    for connection in connections(next(iter(WORKERS.values()))).values():
        if connection["extra"]["environment"] == environment and connection["conn_type"] == "postgres":
            assert connection["password"] == f"a-value-of-{name}_SYNC_PASSWORD"
    assert own_bucket(read_plan(environment).settings, environment) == f"govuk-{environment}-database-backups"


def test_addresses_name_services() -> None:
    text = "\n".join(interpolated(str(value)) for value in COMPOSE["x-airflow-environment"].values())
    hosts = set(re.findall(r"(?:@|http://)([a-z][\w-]*)", text))
    assert hosts == {"api-server", "airflow-database", "redis"}
    assert hosts <= set(SERVICES)


def test_the_dockerfile_copies_what_is_there_and_not_ignored() -> None:
    copied = [value.split() for name, value in dockerfile_instructions() if name == "COPY"]
    assert copied
    for source, target in copied:
        path = ROOT / source
        assert path.exists(), source
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        wanted = [file for file in files if "__pycache__" not in file.parts]
        assert wanted
        assert not [file for file in wanted if stays_out(str(file.relative_to(ROOT)))], source
        assert target.startswith(("/opt/env_sync/", "/tmp/requirements.txt"))


@pytest.mark.parametrize(
    "secret", [".env", ".git/config", "sandbox/airflow.py", "logs/x.log", "deploy/make-env", "plugins/a.pyc"]
)
def test_nothing_else_comes_into_the_image(secret: str) -> None:
    assert stays_out(secret)


def test_the_image_runs_as_a_plain_user_behind_an_init() -> None:
    instructions = dockerfile_instructions()
    assert [value for name, value in instructions if name == "USER"] == ["airflow"]
    assert [json.loads(value) for name, value in instructions if name == "ENTRYPOINT"] == [["tini", "--"]]
    assert [name for name, _ in instructions].index("USER") > max(
        number for number, (name, _) in enumerate(instructions) if name in ("RUN", "COPY")
    )


def test_the_image_has_the_python_and_the_packages_of_the_lock() -> None:
    instructions = dockerfile_instructions()
    assert instructions[0] == ("FROM", "python:3.11-slim-bookworm")
    installs = [value for name, value in instructions if name == "RUN" and "pip install" in value]
    assert len(installs) == 1
    assert "--no-deps" in installs[0]
    assert "--require-hashes" in installs[0]
    assert "--only-binary :all:" in installs[0]


@pytest.mark.parametrize(
    "name", ["requirements.txt", *(f"requirements/{each}.txt" for each in ("demo", "test", "go"))]
)
def test_every_package_is_pinned_with_the_hashes_of_its_files(name: str) -> None:
    """So that whoever can put another file under that name and version installs nothing of it here."""
    packages = re.split(r"\n(?=\S)", (ROOT / name).read_text().strip())
    assert packages
    for package in packages:
        first, *hashes = [line.strip() for line in package.removesuffix("\n").split("\\\n")]
        assert re.fullmatch(r"[a-z0-9.-]+==[\w.!+-]+", first)
        assert hashes
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes)


@pytest.mark.parametrize("script", ["sandbox/venv.sh", "bin/setup-servers"])
def test_scripts_install_nothing_without_its_hash(script: str) -> None:
    text = (ROOT / script).read_text().replace("\\\n", " ")
    installs = [line for line in text.splitlines() if "pip install" in line]
    assert installs
    for line in installs:
        assert "--require-hashes" in line or '"${options[@]}"' in line
    if "options=" in text:
        assert re.search(r"options=\(.*--require-hashes.*\)", text)


@pytest.mark.parametrize("script", ["sandbox/venv.sh", "bin/setup-servers", "bin/lint", "bin/test"])
def test_no_function_of_a_script_is_called_as_a_program_that_it_looks_for(script: str) -> None:
    """`command -v` finds the function, and what is missing is never installed."""
    text = (ROOT / script).read_text()
    functions = set(re.findall(r"^([\w-]+)\(\) \{", text, re.MULTILINE))
    assert functions
    assert not functions & set(re.findall(r"command -v ([\w-]+)", text))


def test_folders_of_the_image_are_those_that_are_mounted() -> None:
    environment = dockerfile_environment()
    mounted = {mount.split(":")[1] for mount in COMPOSE["x-airflow-volumes"]}
    assert environment["AIRFLOW__CORE__DAGS_FOLDER"] in mounted
    assert environment["AIRFLOW__CORE__PLUGINS_FOLDER"] in mounted
    assert f"{environment['AIRFLOW_HOME']}/logs" in mounted
    # env_sync.planning.installation finds include/ beside plugins/.
    assert str(Path(environment["AIRFLOW__CORE__PLUGINS_FOLDER"]).with_name("include")) in mounted
    programs = {
        target for name, value in dockerfile_instructions() if name == "COPY" for target in value.split()[1:]
    }
    assert "/opt/env_sync/bin/prepare" in programs
    assert "/opt/env_sync/bin" in environment["PATH"].split(":")


@pytest.mark.parametrize(
    "script", ["bin/env-sync", "deploy/prepare", "deploy/make-env", "deploy/example/databases.sh"]
)
def test_scripts_can_be_run(script: str) -> None:
    path = ROOT / script
    assert path.stat().st_mode & stat.S_IXUSR
    first, text = path.read_text().split("\n", 1)
    if "python" in first:
        compile(text, script, "exec")
    else:
        subprocess.run([first.removeprefix("#!").split()[-1], "-n", path], check=True)


def test_a_python_without_the_packages_is_told_what_to_install(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    python = tmp_path / "bare" / "bin" / "python"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [ROOT / "bin" / "env-sync", "check"],
        env={**env, "ENV_SYNC_PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"{python} lacks the packages of requirements.txt" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_of_redis_shows_no_password() -> None:
    command = SERVICES["redis"]["command"]
    assert not VARIABLE.search(" ".join(command))
    assert "--requirepass" not in " ".join(command)


def test_make_env_fills_every_secret_and_never_twice(tmp_path: Path) -> None:
    program = tmp_path / "deploy" / "make-env"
    program.parent.mkdir()
    shutil.copy(ROOT / "deploy" / "make-env", program)
    shutil.copy(EXAMPLE, tmp_path)
    subprocess.run([program], check=True)
    written = tmp_path / ".env"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    values = dict(line.split("=", 1) for line in written.read_text().splitlines() if line and line[0] != "#")
    given = {name: value for name, value in example_variables().items() if value}
    secrets = {name: value for name, value in values.items() if name not in given}
    assert values.items() >= given.items()
    assert len(set(secrets.values())) == len(secrets) == len(example_variables()) - len(given)
    Fernet(secrets.pop("AIRFLOW_FERNET_KEY"))
    # Part of URLs and of JSON as they are.
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in secrets.values())

    again = subprocess.run([program], capture_output=True, text=True)
    assert again.returncode == 1
    assert "remove it first" in again.stderr
    assert values == dict(
        line.split("=", 1) for line in written.read_text().splitlines() if line and line[0] != "#"
    )


def test_the_programs_of_python_do_nothing_when_they_are_read() -> None:
    for program in ("deploy/make-env", "deploy/prepare"):
        assert callable(runpy.run_path(str(ROOT / program), run_name="read")["main"])


def test_compose_itself_takes_the_file() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("Docker Compose is not installed here")
    given = {name: value or "x" for name, value in example_variables().items()}
    subprocess.run(
        [docker, "compose", "--file", COMPOSE_FILE, "config", "--quiet"],
        env={**os.environ, **given},
        check=True,
    )
