"""Airflow's REST API as its users see it: runs, tasks, logs, XComs, Variables, and waiting for them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from attrs import field, frozen
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_fixed

from sandbox import process
from sandbox.airflow_states import AirflowStates
from sandbox.process import PATIENCE, SandboxError

EVERY = 0.5
"""Seconds between two looks at what is awaited."""
RUN_OVER = frozenset({"success", "failed"})
TASK_OVER = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
PAGE = 100  # the most that Airflow gives at once
ATTEMPTS = 4
"""How often a request is made that Airflow's database undoes."""


class ApiRefused(SandboxError):
    """Airflow refused a request; `status` is the HTTP status and `detail` what it said."""

    def __init__(self, request: str, status: int, detail: Any) -> None:
        super().__init__(f"{request}: {status} {detail}")
        self.status = status
        self.detail = detail

    @property
    def undone_by_database(self) -> bool:
        """Whether Airflow's database undid the request, as it does where the scheduler changes the same rows.

        Airflow says so of every SQLAlchemyError: `airflow.api_fastapi.common.exceptions`.
        """
        is_database_error = isinstance(self.detail, Mapping) and self.detail.get("reason") == "Database error"
        return self.status == httpx.codes.INTERNAL_SERVER_ERROR and is_database_error


@frozen(kw_only=True)
class Run:
    """A DAG run; `raw` is all that Airflow says of it."""

    dag_id: str
    id: str
    state: str
    run_type: str
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def over(self) -> bool:
        """Whether it succeeded or failed."""
        return self.state in RUN_OVER


@frozen(kw_only=True)
class Task:
    """A task instance; `state` is `none` while Airflow has not looked at it. `raw` is all of it."""

    id: str
    state: str
    try_number: int
    pid: int | None
    note: str | None
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def over(self) -> bool:
        """Whether it will not run any more by itself."""
        return self.state in TASK_OVER


class AirflowApi:
    """One user's access to a running Airflow. Waits in vain end with SandboxError; limits are in seconds."""

    def __init__(
        self,
        url: str,
        user: str,
        password: str,
        *,
        log: Path | None = None,
        states: AirflowStates | None = None,
    ) -> None:
        """`log` is shown, at its end, when something is awaited in vain.

        With `states`, REST is asked for a run or a task only when it is in the state that is awaited.
        """
        self.user = user
        self._password = password
        self._log = log
        self._states = states
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False)

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()
        if self._states:
            self._states.close()

    @retry(
        retry=retry_if_exception(lambda raised: isinstance(raised, ApiRefused) and raised.undone_by_database),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_fixed(EVERY),
        reraise=True,
    )
    def request(self, method: str, path: str, **options: Any) -> Any:
        """One request to /api/v2, signed in; gives the JSON answer, or raises ApiRefused.

        What only reads is asked again where the answer does not come in time, and everything where the
        database undid it.
        """
        if "Authorization" not in self._http.headers:
            self._sign_in()
        try:
            answer = self._http.request(method, f"/api/v2/{path}", **options)
        except httpx.ReadTimeout:
            if method != "GET":
                raise
            answer = self._http.request(method, f"/api/v2/{path}", **options)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._sign_in()
            answer = self._http.request(method, f"/api/v2/{path}", **options)
        return _content(answer)

    def health(self) -> dict[str, Any]:
        """What Airflow says of its components; empty while it does not answer."""
        try:
            answer = self._http.get("/api/v2/monitor/health")
        except httpx.TransportError:
            return {}
        return dict(answer.json()) if answer.status_code == httpx.codes.OK else {}

    # DAGs

    def dags(self) -> dict[str, dict[str, Any]]:
        """All DAGs by their id."""
        return {each["dag_id"]: each for each in self._all("dags", "dags")}

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        """What Airflow says of a DAG, or None while there is none."""
        try:
            return dict(self.request("GET", f"dags/{_part(dag_id)}"))
        except ApiRefused as refused:
            if refused.status == httpx.codes.NOT_FOUND:
                return None
            raise

    def import_errors(self) -> dict[str, str]:
        """The DAG files that could not be read, with their tracebacks."""
        return {each["filename"]: each["stack_trace"] for each in self._all("importErrors", "import_errors")}

    def wait_for_dag(
        self, dag_id: str, seconds: float = PATIENCE, parsed_after: dt.datetime | None = None
    ) -> dict[str, Any]:
        """Waits until the DAG has been read (since then); SandboxError at once when its file has errors."""

        def parsed() -> dict[str, Any] | None:
            found = self.dag(dag_id)
            if found and not found["is_stale"] and found["last_parsed_time"]:
                if parsed_after is None or _time(found["last_parsed_time"]) >= parsed_after:
                    return found
            elif errors := self.import_errors():
                raise SandboxError(f"no DAG {dag_id}: {json.dumps(errors, indent=1)}")
            return None

        return self.wait_for(parsed, f"the DAG {dag_id}", seconds) or {}

    def parse_again(self, dag_id: str) -> None:
        """Asks for the DAG's file to be read again soon, for it may have other DAGs by now."""
        dag = self.request("GET", f"dags/{_part(dag_id)}")
        try:
            self.request("PUT", f"parseDagFile/{dag['file_token']}")
        except ApiRefused as refused:
            # Somebody else has asked, and it was not read since.
            if refused.status != httpx.codes.CONFLICT:
                raise

    def pause_dag(self, dag_id: str) -> None:
        """Switches the DAG off: nothing of it is started."""
        self.request("PATCH", f"dags/{_part(dag_id)}", json={"is_paused": True})

    def unpause_dag(self, dag_id: str) -> None:
        """Switches the DAG on."""
        self.request("PATCH", f"dags/{_part(dag_id)}", json={"is_paused": False})

    # Runs

    def trigger(
        self,
        dag_id: str,
        conf: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        logical_date: dt.datetime | None = None,
        run_after: dt.datetime | None = None,
    ) -> Run:
        """Starts a run by hand; the DAG must be switched on for it to get anywhere."""
        body: dict[str, Any] = {
            "logical_date": logical_date.isoformat() if logical_date else None,
            "conf": dict(conf or {}),
        }
        if run_id:
            body["dag_run_id"] = run_id
        if run_after:
            body["run_after"] = run_after.isoformat()
        return _run(self.request("POST", f"dags/{_part(dag_id)}/dagRuns", json=body))

    def run(self, dag_id: str, run_id: str) -> Run:
        """The run as it is now."""
        return _run(self.request("GET", _run_path(dag_id, run_id)))

    def run_state(self, dag_id: str, run_id: str) -> str:
        """The state of a run as it is now; `none` where there is none."""
        if self._states:
            return self._states.run(dag_id, run_id)
        return self.run(dag_id, run_id).state

    def runs(self, dag_id: str, **filters: str) -> list[Run]:
        """The DAG's runs, oldest first; filters as in the API, as `run_type="scheduled"`."""
        found = self._all(f"dags/{_part(dag_id)}/dagRuns", "dag_runs", order_by="run_after", **filters)
        return [_run(each) for each in found]

    def mark_run(self, dag_id: str, run_id: str, state: str) -> Run:
        """Marks the whole run `success`, `failed` or `queued`."""
        return _run(self.request("PATCH", _run_path(dag_id, run_id), json={"state": state}))

    def wait_for_run(
        self,
        dag_id: str,
        run_id: str,
        seconds: float = PATIENCE,
        states: Sequence[str] = ("success", "failed"),
    ) -> Run:
        """Waits until the run is in one of the states."""

        def reached() -> Run | None:
            if self._states and self._states.run(dag_id, run_id) not in states:
                return None
            found = self.run(dag_id, run_id)
            return found if found.state in states else None

        what = f"the run {run_id} of {dag_id} to be {' or '.join(states)}"
        try:
            return process.wait_for(reached, what, seconds, every=EVERY) or self.run(dag_id, run_id)
        except SandboxError as in_vain:
            raise SandboxError(f"{in_vain}\ntasks: {self.states(dag_id, run_id)}") from None

    # Tasks

    def tasks(self, dag_id: str, run_id: str, group: str | None = None) -> list[Task]:
        """The run's tasks, or those of one task group."""
        filters = {"task_group_id": group} if group else {}
        found = self._all(f"{_run_path(dag_id, run_id)}/taskInstances", "task_instances", **filters)
        return [_task(each) for each in found]

    def task(self, dag_id: str, run_id: str, task_id: str) -> Task:
        """The task as it is now."""
        return _task(self.request("GET", _task_path(dag_id, run_id, task_id)))

    def states(self, dag_id: str, run_id: str, group: str | None = None) -> dict[str, str]:
        """The state of each task, by its id."""
        return {task.id: task.state for task in self.tasks(dag_id, run_id, group)}

    def task_states(self, dag_id: str, run_id: str) -> Mapping[str, str]:
        """The same, at the least cost."""
        return self._states.tasks(dag_id, run_id) if self._states else self.states(dag_id, run_id)

    def wait_for_task(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        states: Sequence[str] = tuple(sorted(TASK_OVER)),
        seconds: float = PATIENCE,
    ) -> Task:
        """Waits until the task is in one of the states, by default any in which it is over."""

        def reached() -> Task | None:
            if self._states and self._states.tasks(dag_id, run_id).get(task_id) not in states:
                return None
            found = self.task(dag_id, run_id, task_id)
            return found if found.state in states else None

        what = f"{task_id} in {run_id} of {dag_id} to be {' or '.join(states)}"
        try:
            return process.wait_for(reached, what, seconds, every=EVERY) or self.task(dag_id, run_id, task_id)
        except SandboxError as in_vain:
            raise SandboxError(f"{in_vain}\ntasks: {self.states(dag_id, run_id)}") from None

    def wait_for_group(
        self, dag_id: str, run_id: str, group: str, seconds: float = PATIENCE
    ) -> dict[str, str]:
        """Waits until every task of the group is over; gives their states."""

        def over() -> list[Task] | None:
            if self._states and not all(
                state in TASK_OVER
                for task_id, state in self._states.tasks(dag_id, run_id).items()
                if task_id.startswith(f"{group}.")
            ):
                return None
            found = self.tasks(dag_id, run_id, group)
            return found if found and all(task.over for task in found) else None

        self.wait_for(over, f"the group {group} in {run_id} of {dag_id} to be over", seconds)
        return self.states(dag_id, run_id, group)

    def clear(
        self,
        dag_id: str,
        run_id: str,
        task_ids: Sequence[str],
        *,
        downstream: bool = False,
        upstream: bool = False,
    ) -> list[str]:
        """Clears the tasks, whatever their state, so that they run again; gives the ids that were cleared."""
        body = {
            "dry_run": False,
            "only_failed": False,
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "include_downstream": downstream,
            "include_upstream": upstream,
        }
        answer = self.request("POST", f"dags/{_part(dag_id)}/clearTaskInstances", json=body)
        return sorted({each["task_id"] for each in answer["task_instances"]})

    def clear_group(self, dag_id: str, run_id: str, group: str, *, downstream: bool = False) -> list[str]:
        """Clears every task of a group, as the UI does."""
        return self.clear(dag_id, run_id, list(self.states(dag_id, run_id, group)), downstream=downstream)

    def mark_task(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Marks a task `success`, `failed` or `skipped` by hand."""
        self.request("PATCH", _task_path(dag_id, run_id, task_id), json={"new_state": state})

    def mark_group(self, dag_id: str, run_id: str, group: str, state: str) -> None:
        """Marks every task of a group by hand."""
        path = f"{_run_path(dag_id, run_id)}/taskGroupInstances/{_part(group)}"
        self.request("PATCH", path, json={"new_state": state})

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int | None = None) -> str:
        """A task's log as lines of text, by default of its last try; structured fields follow as JSON."""
        number = try_number or self.task(dag_id, run_id, task_id).try_number
        path = f"{_task_path(dag_id, run_id, task_id)}/logs/{number}"
        answer = self.request(
            "GET", path, params={"full_content": True}, headers={"Accept": "application/json"}
        )
        return "\n".join(_line(each) for each in answer["content"])

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """A value that a task pushed; ApiRefused with 404 where there is none."""
        path = f"{_task_path(dag_id, run_id, task_id)}/xcomEntries/{_part(key)}"
        return self.request("GET", path, params={"stringify": False})["value"]

    def xcoms(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """All values that a task pushed, by their keys."""
        found = self._all(f"{_task_path(dag_id, run_id, task_id)}/xcomEntries", "xcom_entries")
        return {each["key"]: self.xcom(dag_id, run_id, task_id, each["key"]) for each in found}

    # Variables

    def variables(self) -> dict[str, str]:
        """All Variables."""
        return {each["key"]: each["value"] for each in self._all("variables", "variables")}

    def set_variable(self, key: str, value: str) -> None:
        """Makes or changes a Variable."""
        body = {"key": key, "value": value}
        try:
            self.request("POST", "variables", json=body)
        except ApiRefused as refused:
            if refused.status != httpx.codes.CONFLICT:
                raise
            self.request("PATCH", f"variables/{_part(key)}", json=body)

    def delete_variable(self, key: str) -> None:
        """Deletes a Variable."""
        self.request("DELETE", f"variables/{_part(key)}")

    def wait_for(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """Waits for anything; see `sandbox.process.wait_for`."""
        return process.wait_for(condition, what, seconds, every=EVERY, log=self._log)

    def _all(self, path: str, name: str, **filters: str) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            page = self.request("GET", path, params={**filters, "limit": PAGE, "offset": offset})
            yield from page[name]
            offset += len(page[name])
            if not page[name] or offset >= page["total_entries"]:
                return

    def _sign_in(self) -> None:
        body = {"username": self.user, "password": self._password}
        token = _content(self._http.post("/auth/token", json=body))["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"


def _content(answer: httpx.Response) -> Any:
    if answer.is_success:
        return answer.json() if answer.content else None
    try:
        detail = answer.json().get("detail")
    except ValueError:
        detail = answer.text
    raise ApiRefused(f"{answer.request.method} {answer.request.url.path}", answer.status_code, detail)


def _part(text: str) -> str:
    return quote(text, safe="")


def _run_path(dag_id: str, run_id: str) -> str:
    return f"dags/{_part(dag_id)}/dagRuns/{_part(run_id)}"


def _task_path(dag_id: str, run_id: str, task_id: str) -> str:
    return f"{_run_path(dag_id, run_id)}/taskInstances/{_part(task_id)}"


def _run(raw: Mapping[str, Any]) -> Run:
    return Run(
        dag_id=raw["dag_id"], id=raw["dag_run_id"], state=raw["state"], run_type=raw["run_type"], raw=raw
    )


def _task(raw: Mapping[str, Any]) -> Task:
    return Task(
        id=raw["task_id"],
        state=raw["state"] or "none",
        try_number=raw["try_number"],
        pid=raw["pid"],
        note=raw["note"],
        raw=raw,
    )


def _line(entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    rest = {
        name: value for name, value in entry.items() if name not in ("timestamp", "event", "level", "logger")
    }
    words = [entry.get("timestamp"), str(entry.get("level") or "").upper(), entry.get("event")]
    return " ".join(str(word) for word in [*words, json.dumps(rest, default=str) if rest else ""] if word)


def _time(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)
