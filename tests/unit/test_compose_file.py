"""docker-compose.yml, Dockerfile and .env.example have what a production start relies on."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.compose import (
    COMPOSE_FILE,
    ROOT,
    SERVERS,
    VARIABLE,
    example_variables,
    seconds,
    services_with,
)
from mernet.worker.settings import Settings, settings

ONE_SHOTS = {"logins", "migrate", "atlas-reader"}
COMPOSE_COMMANDS = ("docker compose", "docker-compose")
DOCKERFILE = (ROOT / "Dockerfile").read_text()
FILLED_IN = example_variables()
COMPOSE = yaml.safe_load(COMPOSE_FILE.read_text())
SERVICES = services_with(FILLED_IN)
OURS = {name: service for name, service in SERVICES.items() if name not in SERVERS}
WORKERS = {name: each for name, each in OURS.items() if each["command"].startswith("mernet worker")}
ROOMS = {link.name for link in (ROOT / "mernet").iterdir() if link.is_symlink()}
LASTING = {name: service for name, service in SERVICES.items() if name not in ONE_SHOTS}


def of_profile(profile: str) -> dict[str, Any]:
    return {
        name: service
        for name, service in SERVICES.items()
        if profile in service.get("profiles", [profile])
    }


def queues(service: dict[str, Any]) -> set[str]:
    return set(re.findall(r"--queue (\S+)", service["command"]))


def copied_into_image() -> set[str]:
    """The files and folders of the build context that the Dockerfile copies."""
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    return {name for line in copied for name in line.split()}


def test_passwords_are_files_and_no_variable_holds_one():
    assert {each["file"] for each in COMPOSE["secrets"].values()} == {
        f"./secrets/{name}" for name in COMPOSE["secrets"]
    }
    values = [
        str(value) for each in SERVICES.values() for value in each.get("environment", {}).values()
    ]
    assert not [value for value in values if re.search(r"://[^/]*:[^/]*@", value)]
    names = {name for each in SERVICES.values() for name in each.get("environment", {})}
    assert not [name for name in names if re.search(r"(PASSWORD|AUTH)$", name)]


def test_each_service_gets_the_secrets_that_its_command_reads_and_no_other():
    for name, service in SERVICES.items():
        text = str(service.get("environment")) + str(service.get("command"))
        assert set(re.findall(r"/run/secrets/(\w+)", text)) == set(service["secrets"]), name


def test_only_the_services_that_make_logins_have_the_superuser_s_password():
    having = {name for name, each in OURS.items() if "postgres_password" in each["secrets"]}
    assert having == {"logins", "atlas-reader"}
    assert not [name for name in having if name not in ONE_SHOTS]
    assert not {"worker_password", "owner_password"} & set(OURS["flower"]["secrets"])


def test_make_secrets_makes_each_secret_once_and_closes_the_folder(tmp_path: Path):
    def make() -> dict[str, str]:
        command = ["make", "-f", str(ROOT / "Makefile"), "secrets"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        return {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}

    made = make()
    assert made.keys() == COMPOSE["secrets"].keys()
    assert len(set(made.values())) == len(made)
    assert re.fullmatch(r"operator:\w{48}\n", made["flower_login"])
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    assert make() == made


def test_containers_cannot_write_their_image_and_have_limits():
    for name, service in SERVICES.items():
        assert service["read_only"] is True, name
        assert any(each.startswith("/tmp:size=") for each in service["tmpfs"]), name
        assert service["mem_limit"], name
        assert service["pids_limit"] > 0, name
        assert "cpus" in service, name


def test_variables_are_those_of_the_example():
    used = {found["name"] for found in VARIABLE.finditer(COMPOSE_FILE.read_text())} - {None}
    assert used | {"COMPOSE_PROFILES"} == example_variables().keys()


def test_the_example_explains_each_variable():
    lines = (ROOT / ".env.example").read_text().splitlines()
    bare = [line for above, line in pairwise(lines) if "=" in line and not above.startswith("#")]
    assert bare == []


@pytest.mark.parametrize("name", OURS)
def test_each_service_has_valid_settings(name, monkeypatch, tmp_path):
    for variable in [each for each in os.environ if each.startswith("MERNET_")]:
        monkeypatch.delenv(variable)
    secret = tmp_path / "secret"
    secret.write_text("sesame")
    for variable, value in OURS[name]["environment"].items():
        monkeypatch.setenv(variable, str(secret) if "/run/secrets/" in value else value)
    assert isinstance(settings.__wrapped__(), Settings)


def test_ports_are_published_on_loopback_only():
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_long_running_services_have_a_health_check_and_restart():
    for name, service in LASTING.items():
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name


def test_no_argument_of_a_check_has_spaces_at_which_podman_would_split_it():
    for name, service in LASTING.items():
        kind, *words = service["healthcheck"]["test"]
        assert kind == "CMD-SHELL" or not any(" " in word for word in words), name


def test_one_shot_services_are_not_restarted():
    assert {SERVICES[name]["restart"] for name in ONE_SHOTS} == {"no"}


def test_a_worker_that_is_stopped_may_finish_its_chunk():
    for name, worker in WORKERS.items():
        limit = int(worker["environment"]["MERNET_CHUNK_TIME_LIMIT"])
        assert seconds(worker["stop_grace_period"]) > limit, name


def test_there_is_one_scheduler():
    schedulers = [name for name, each in OURS.items() if each["command"] == "mernet scheduler"]
    assert schedulers == ["scheduler"]
    assert "deploy" not in OURS["scheduler"]
    assert all("--no-scheduler" in worker["command"] for worker in WORKERS.values())


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_in_each_profile_every_queue_has_one_service(profile):
    consumed = [queues(each) for name, each in of_profile(profile).items() if name in WORKERS]
    assert sorted(queue for each in consumed for queue in each) == ["classify", "listing"]


def test_only_the_profile_gpu_needs_a_gpu():
    def wants(service: dict[str, Any]) -> bool:
        return "nvidia" in str(service.get("deploy"))

    assert {name for name in of_profile("gpu") if wants(SERVICES[name])} == {"worker-classify"}
    assert not [name for name in of_profile("cpu") if wants(SERVICES[name])]
    assert SERVICES["worker-classify"]["environment"]["MERNET_DEVICE"] == "cuda"
    assert SERVICES["worker-classify-cpu"]["environment"]["MERNET_DEVICE"] == "cpu"


def test_our_services_wait_for_the_servers_and_the_tables():
    ready = {
        "postgres": {"condition": "service_healthy"},
        "redis": {"condition": "service_healthy"},
        "migrate": {"condition": "service_completed_successfully"},
    }
    assert {name for name, each in OURS.items() if each["depends_on"] != ready} == ONE_SHOTS
    needed = {name: set(OURS[name]["depends_on"]) for name in ONE_SHOTS}
    assert needed == {"logins": {"postgres"}, "migrate": {"logins"}, "atlas-reader": {"migrate"}}


def test_no_service_of_ours_has_rights_that_it_does_not_need():
    users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert users
    assert users[-1] not in ("root", "0")
    for name, service in SERVICES.items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
        assert service["cap_drop"] == ["ALL"], name
        assert name == "postgres" or "cap_add" not in service, name
    assert not [name for name, service in OURS.items() if "user" in service]


def test_the_size_of_every_log_is_limited():
    assert all(
        each["logging"]["options"].keys() == {"max-size", "max-file"} for each in LASTING.values()
    )


def test_persistent_data_is_on_a_named_volume():
    named = yaml.safe_load(COMPOSE_FILE.read_text())["volumes"].keys()
    kept = {name: set(each.get("volumes", ())) for name, each in SERVICES.items()}
    assert named == {"postgres", "redis", "data"}
    assert kept["postgres"] == {"postgres:/var/lib/postgresql"}  # where Postgres 18 and later are
    assert kept["redis"] == {"redis:/data"}
    for name in (*WORKERS, "scheduler", "flower"):
        assert "data:/var/lib/mernet" in kept[name], name
        assert OURS[name]["environment"]["MERNET_DATA_DIR"] == "/var/lib/mernet"


def test_workers_see_checkpoints_and_archives_of_the_host_but_cannot_change_them():
    for name, worker in WORKERS.items():
        folders = {volume.partition(":")[2] for volume in worker["volumes"]}
        assert folders == {"/var/lib/mernet", "/checkpoints:ro", "/archives:ro"}, name


LARGEST_TABLE = 772 * 10**6
"""Bytes of the largest index table known."""


def mebibytes(size: str) -> float:
    return float(size[:-1]) * {"m": 1, "g": 1024}[size[-1]]


def test_what_processes_list_at_a_time_is_on_a_volume_and_not_in_memory():
    listing = next(each for each in WORKERS.values() if queues(each) == {"listing"})
    folder = listing["environment"]["TMPDIR"]
    assert folder in {volume.split(":")[1] for volume in listing["volumes"]}


def test_temporary_files_in_memory_leave_room_for_the_program():
    for name, service in OURS.items():
        [size] = re.findall(r"/tmp:size=(\w+)", str(service["tmpfs"]))
        assert mebibytes(size) <= mebibytes(service["mem_limit"]) / 8, name
        if mebibytes(size) * 2**20 < 2 * LARGEST_TABLE:
            assert "listing" not in queues(service) or "TMPDIR" in service["environment"], name


def test_redis_persists_its_data_and_hides_its_password():
    command = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert "requirepass $(cat /run/secrets/redis_password)" in command


def test_images_are_pinned_and_ours_has_this_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {each["image"] for each in OURS.values()} == {f"mernet:{project['version']}"}
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(set(bases)) == 1
    for image in (*bases, *(SERVICES[name]["image"] for name in SERVERS)):
        assert re.search(r":\d+(\.\d+)+-", image), image


def test_the_image_gets_the_packages_and_nothing_else():
    names = copied_into_image()
    assert names == {"mernet", *ROOMS, "pyproject.toml", "README.md", "LICENSE"}
    first, *rest = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] != "#"
    ]
    assert first == "*"
    assert {line[1:] for line in rest if line[0] == "!"} == names


def test_git_does_not_see_passwords():
    assert {".env", "secrets/"} <= set((ROOT / ".gitignore").read_text().splitlines())


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
@pytest.mark.parametrize("command", COMPOSE_COMMANDS)
def test_compose_reads_the_file_as_the_tests_do(command, profile, tmp_path: Path):
    words = command.split()
    if (
        shutil.which(words[0]) is None
        or subprocess.run([*words, "version"], capture_output=True).returncode
    ):
        pytest.skip(f"{command} is not installed")
    variables = FILLED_IN | {"COMPOSE_PROFILES": profile}
    env_file = tmp_path / "env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    read = subprocess.run(
        [*words, "--file", COMPOSE_FILE, "--env-file", env_file, "config"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert read.returncode == 0, read.stderr
    services = yaml.safe_load(read.stdout)["services"]
    for name in of_profile(profile):
        assert services[name].get("environment") == SERVICES[name].get("environment")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel that is built from what the Dockerfile copies, symbolic links as they are."""
    context = tmp_path_factory.mktemp("context")
    for name in copied_into_image():
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, context / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(source, context)
    options = ["--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--wheel-dir"]
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, "dist", "."],
        cwd=context,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    [path] = (context / "dist").glob("mernet-*.whl")
    return zipfile.ZipFile(path)


def test_the_image_s_wheel_has_all_modules_and_data_files(wheel):
    names = set(wheel.namelist())
    modules = {
        f"mernet/{path.relative_to(ROOT)}"
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert modules <= names
    assert {
        "mernet/__init__.py",
        "mernet/py.typed",
        "mernet/pds/archives.toml",
        "mernet/db/migrations/env.py",
    } <= names
    assert any(name.endswith("evaluation/table1.csv") for name in names)
    assert any("/templates/" in name and name.endswith(".html") for name in names)
    assert any(name.startswith("mernet/db/migrations/versions/") for name in names)


def test_the_image_s_wheel_installs_one_import_name(wheel):
    [top_level] = [name for name in wheel.namelist() if name.endswith("top_level.txt")]
    assert wheel.read(top_level).decode().split() == ["mernet"]
    folders = {name.partition("/")[0] for name in wheel.namelist()}
    assert {name for name in folders if not name.endswith(".dist-info")} == {"mernet"}
