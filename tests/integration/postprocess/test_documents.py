"""The rules for documents, on a real server with documents shaped like the applications'."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import pytest
from bson import ObjectId
from pymongo.database import Database

from env_sync.core.errors import TransformationFailed
from sandbox.mongodb import MongoDBServer
from tests.integration.postprocess.bound import bound
from tests.integration.postprocess.documents import Document, Documents

ABOVE = "staging.govuk-internal.digital"
BELOW = "integration.govuk-internal.digital"
APPLICATIONS = ("static", "frontend", "collections", "whitehall-frontend", "search-api")


@pytest.fixture
def database(mongodb: MongoDBServer) -> Iterator[Database[Document]]:
    name = "router__incoming"
    with mongodb.connected() as client:
        yield client[name]
    mongodb.drop_database(name)


def fill_router(database: Database[Document]) -> None:
    now = {"created_at": "2026-11-23", "updated_at": "2026-11-23"}
    backends: list[Document] = [
        {"_id": ObjectId(), "backend_id": name, "backend_url": f"http://{name}.{ABOVE}/", **now}
        for name in APPLICATIONS
    ]
    backends += [
        {"_id": ObjectId(), "backend_id": name, "backend_url": url, **now}
        for name, url in (
            ("spotlight-proxy", "https://spotlight-proxy.staging.publishing.service.gov.uk/"),
            ("campaign", "https://campaign.example.org/a"),
        )
    ]
    database["backends"].insert_many(backends)
    database["backends"].create_index("backend_id", unique=True)
    database["routes"].insert_many(
        {"incoming_path": f"/page-{number}", "backend_id": "frontend", "disabled": False}
        for number in range(200)
    )


def test_a_router_points_at_this_environment(database: Database[Document]) -> None:
    fill_router(database)
    before = {one["_id"]: one for one in database["backends"].find()}
    bound("router", "integration", "mongo").run(Documents(database))
    after = {one["_id"]: one for one in database["backends"].find()}
    assert after.keys() == before.keys()
    for key, backend in after.items():
        expected = before[key]["backend_url"].replace(ABOVE, BELOW)
        expected = expected.replace("staging.publishing.service.gov.uk", BELOW)
        assert backend == {**before[key], "backend_url": expected}
    assert {one["backend_url"] for one in after.values()} >= {
        f"http://static.{BELOW}/",
        "https://campaign.example.org/a",
    }
    assert database["routes"].count_documents({"backend_id": "frontend"}) == 200


def test_a_router_without_static_is_refused(database: Database[Document]) -> None:
    fill_router(database)
    database["backends"].delete_one({"backend_id": "static"})
    before = list(database["backends"].find())
    with pytest.raises(TransformationFailed, match="holds 0 documents with backend_id static"):
        bound("router", "integration", "mongo").run(Documents(database))
    assert list(database["backends"].find()) == before


PRIVATE = "private"


def fill_assets(database: Database[Document], count: int) -> None:
    kinds: list[Document] = [
        {},
        {"access_limited": []},
        {"access_limited": False},
        {"access_limited": [], "access_limited_organisation_ids": []},
        {"access_limited": ["5d1e"]},
        {"access_limited": [], "access_limited_organisation_ids": ["8a4f", "77c0"]},
    ]
    database["assets"].insert_many(
        {
            "_id": ObjectId(),
            "uuid": f"0000-{number}",
            "file": f"file-{number}.pdf",
            "legacy_url_path": f"/government/uploads/system/uploads/{number // 10}/{PRIVATE}-{number}.pdf",
            **kinds[number % len(kinds)],
        }
        for number in range(count)
    )
    database["assets"].insert_one({"_id": ObjectId(), "uuid": "new", "access_limited": ["5d1e"]})
    # As the application has it: two may not become the same.
    database["assets"].create_index("legacy_url_path", unique=True, sparse=True)


def limited(asset: Document) -> bool:
    return bool(asset.get("access_limited") or asset.get("access_limited_organisation_ids"))


@pytest.mark.parametrize("environment", ["staging", "integration"])
def test_names_of_limited_files_are_gone(database: Database[Document], environment: str) -> None:
    fill_assets(database, 1500)
    before = {one["_id"]: one for one in database["assets"].find()}
    rule = bound("govuk_assets_production", environment, "documentdb")
    rule.run(Documents(database))
    changed = 0
    for asset in database["assets"].find():
        was = before[asset["_id"]]
        if not limited(was) or "legacy_url_path" not in was:
            assert asset == was
            continue
        changed += 1
        head = was["legacy_url_path"].rpartition("/")[0]
        assert re.fullmatch(rf"{head}/redacted-[0-9a-f]{{24}}", asset["legacy_url_path"])
        assert asset == {**was, "legacy_url_path": asset["legacy_url_path"]}
    assert changed == 500
    after = list(database["assets"].find())
    rule.run(Documents(database))
    assert list(database["assets"].find()) == after


def test_an_error_of_the_server_tells_no_path(database: Database[Document]) -> None:
    fill_assets(database, 12)
    other = database["assets"].find_one({"access_limited": ["5d1e"], "legacy_url_path": {"$exists": True}})
    assert other
    own = hashlib.sha256(str(other["_id"]).encode()).hexdigest()[:24]
    taken = f"{other['legacy_url_path'].rpartition('/')[0]}/redacted-{own}"
    database["assets"].insert_one({"uuid": "taken", "legacy_url_path": taken})
    with pytest.raises(TransformationFailed, match=r"the server changed \d+ \(code 11000\)") as failed:
        bound("govuk_assets_production", "staging", "documentdb").run(Documents(database))
    assert PRIVATE not in str(failed.value)
    assert "uploads" not in str(failed.value)
