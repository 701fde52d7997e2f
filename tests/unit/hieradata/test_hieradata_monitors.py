"""The monitors of an environment, and what is wrong with them."""

from collections.abc import Callable
from pathlib import PurePosixPath

import pytest

from env_sync.domain.environment import Environment
from env_sync.domain.monitors import Icinga, Nsca, Pushgateway, fill
from tests.unit.hieradata.conftest import Hieradata

ICINGA = """\
  - kind: icinga
    url: https://icinga.example:5665/
    connection: icinga
    host: db-admin-{environment}
"""
NSCA = "  - {kind: nsca, server: alert.cluster, host: db-admin}\n"
GATEWAY = "  - {kind: pushgateway, url: 'http://pushgateway.example:9091'}\n"
READ = Icinga(url="https://icinga.example:5665", connection="icinga", host="db-admin-{environment}")

ReadMonitors = Callable[..., Environment]


@pytest.fixture
def monitors(hieradata: Hieradata) -> ReadMonitors:
    """Read monitors that are written in the environment's file, and in common.yaml."""

    def read(own: str, common: str = "") -> Environment:
        for name, text in (("integration.yaml", own), ("common.yaml", common)):
            hieradata.write(name, f"govuk_env_sync::monitors:\n{text}" if text else "{}\n")
        return hieradata.read()

    return read


def test_each_kind_is_read_with_its_defaults(monitors: ReadMonitors) -> None:
    environment = monitors(ICINGA + NSCA + GATEWAY)
    assert environment.problems == ()
    assert environment.settings.monitors == (
        READ,
        Nsca(server="alert.cluster", host="db-admin"),
        Pushgateway(url="http://pushgateway.example:9091"),
    )
    assert READ.service == "GOV.UK environment sync {sync}"
    assert [str(each) for each in environment.settings.monitors] == [
        "icinga icinga.example:5665",
        "nsca alert.cluster:5667",
        "pushgateway pushgateway.example:9091",
    ]


def test_every_field_is_read(monitors: ReadMonitors) -> None:
    text = (
        "  - {kind: icinga, url: 'https://i.example', connection: i, host: h,\n"
        "     service: '{group} of {database}', ca: /etc/ssl/icinga.pem}\n"
        "  - {kind: nsca, server: 10.0.0.7, port: 5668, host: h, service: s, config: /etc/send_nsca.cfg}\n"
        "  - {kind: pushgateway, url: 'https://p.example', job: j, connection: p, ca: /etc/ssl/p.pem}\n"
    )
    environment = monitors(text)
    assert environment.problems == ()
    icinga, nsca, gateway = environment.settings.monitors
    assert isinstance(icinga, Icinga)
    assert isinstance(nsca, Nsca)
    assert isinstance(gateway, Pushgateway)
    assert (icinga.service, icinga.ca) == ("{group} of {database}", PurePosixPath("/etc/ssl/icinga.pem"))
    assert (nsca.port, nsca.config) == (5668, PurePosixPath("/etc/send_nsca.cfg"))
    assert (gateway.job, gateway.connection, gateway.ca) == ("j", "p", PurePosixPath("/etc/ssl/p.pem"))


def test_own_monitors_come_before_the_common_ones(monitors: ReadMonitors, hieradata: Hieradata) -> None:
    assert monitors("", ICINGA).settings.monitors == (READ,)
    assert len(monitors(NSCA, ICINGA).settings.monitors) == 1
    hieradata.write("integration.yaml", "govuk_env_sync::monitors: []\n")
    assert hieradata.read().settings.monitors == ()
    hieradata.write("integration.yaml", f"govuk_env_sync::monitors:\n{NSCA}")
    hieradata.write("integration/backend.yaml", f"govuk_env_sync::monitors:\n{GATEWAY}")
    assert len(hieradata.read().settings.monitors) == 2


@pytest.mark.parametrize(
    ("text", "line", "read", "right"),
    [
        ("  - nsca\n", 2, "a monitor is `nsca`", "write a mapping"),
        ("  - {url: 'https://i.example'}\n", 2, "`kind` is missing", "`icinga`"),
        ("  - {kind: icinca}\n", 2, "`kind` is `icinca`", "Did you mean `icinga`"),
        (ICINGA + "    hots: x\n", 6, "unknown field `hots`", "Did you mean `host`"),
        (ICINGA.replace("    connection: icinga\n", ""), 2, "`connection` is missing", "add it"),
        (ICINGA.replace("{environment}", "{enviroment}"), 5, "{enviroment}", "Did you mean `environment`"),
        (ICINGA.replace("{environment}", "{environment"), 5, "`host`", "close every"),
        (ICINGA.replace("https:", "http:"), 3, "`url`", "the password would go over the network"),
        (ICINGA.replace("https:", "ftp:"), 3, "`url`", "write the address alone"),
        (ICINGA.replace(":5665", ":port"), 3, "`url`", "write the address alone"),
        (NSCA.replace("alert.cluster", "'-H x'"), 2, "`server`", "a host's name"),
        (NSCA.replace("}", ", port: 0}"), 2, "`port` is `0`", "from 1 to 65535"),
        (NSCA.replace("}", ", config: send.cfg}"), 2, "`config`", "absolute path"),
        (GATEWAY.replace("}", ", connection: p}"), 2, "`url`", "the password would go over the network"),
    ],
)
def test_a_wrong_monitor_takes_away_itself_alone(
    monitors: ReadMonitors, text: str, line: int, read: str, right: str
) -> None:
    environment = monitors(text + ICINGA)
    assert environment.settings.monitors == (READ,)
    (problem,) = environment.problems
    assert (problem.place.file, problem.place.line) == ("integration.yaml", line)
    assert read in problem.read
    assert right in problem.right


def test_every_problem_of_a_monitor_is_told(monitors: ReadMonitors) -> None:
    problems = monitors("  - {kind: nsca, server: '', port: x, hots: y}\n").problems
    assert len(problems) == 4


def test_a_password_in_a_url_is_a_problem_that_does_not_repeat_it(monitors: ReadMonitors) -> None:
    (problem,) = monitors(GATEWAY.replace("http://", "https://me:opensesame@")).problems
    assert "opensesame" not in str(problem)
    assert "connection" in problem.right


def test_a_list_that_is_none_is_a_problem(hieradata: Hieradata) -> None:
    hieradata.write("integration.yaml", "govuk_env_sync::monitors: icinga\n")
    (problem,) = hieradata.read().problems
    assert problem.right == "write a list of monitors, or `[]`"
    hieradata.write("integration.yaml", "govuk_env_sync::monitor: []\n")
    (problem,) = hieradata.read().problems
    assert "govuk_env_sync::monitors" in problem.right


def test_a_local_address_needs_no_tls(monitors: ReadMonitors) -> None:
    assert monitors(ICINGA.replace("https://icinga.example", "http://127.0.0.1")).problems == ()


def test_a_template_is_filled() -> None:
    values = {"environment": "integration", "sync": "{group}", "group": "g", "database": "d"}
    assert fill("{sync} of {environment}", values) == "{group} of integration"
