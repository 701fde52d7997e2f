"""Asset Manager's database, on MongoDB: the files that people upload, and who fetched them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.demo.invented import Invented
from sandbox.demo.seed import SUBJECTS
from sandbox.mongodb import SYNC_USER, MongoDBServer

NAME = "govuk_assets_production"
HOST = "asset-manager-mongo"
"""Its server's name in hieradata."""
APPLICATION = "asset-manager"
LEASES = "env_sync"
ASSETS = 2_500
DOWNLOADS = 3_000

Documents = Mapping[str, Sequence[dict[str, Any]]]
"""Collection -> its documents."""


def documents(invented: Invented) -> Documents:
    """What production holds."""
    random = invented.random
    assets = []
    for number in range(1, ASSETS + 1):
        subject, editor = random.choice(SUBJECTS), invented.person()
        name = f"{subject.lower().replace(' ', '-')}-{number}.pdf"
        asset: dict[str, Any] = {
            "_id": number,
            "title": subject,
            "filename": name,
            "uploaded_by": {"name": editor.name, "email": editor.email},
            "legacy_url_path": f"/government/uploads/{number}/{name}",
        }
        if number % 12 == 0:
            name = f"the-{invented.secret_matter().lower()}-review.pdf"
            asset |= {
                "title": f"Before anybody hears of {name}",
                "filename": name,
                "legacy_url_path": f"/government/uploads/{number}/{name}",
                "access_limited": [editor.email],
            }
        assets.append(asset)
    downloads = [
        {"_id": number, "asset": random.randint(1, ASSETS), "by": invented.ip_address()}
        for number in range(1, DOWNLOADS + 1)
    ]
    return {"assets": assets, "downloads": downloads}


def make(server: MongoDBServer, passwords: tuple[str, str], filling: Documents | None) -> None:
    """Make the database anew, with these documents or, below production, still empty.

    `passwords` are those of Env Sync's user and of the application's.
    """
    for name in server.databases():
        server.drop_database(name)
    with server.connected() as client:
        if SYNC_USER not in server.users():
            server.create_looking_role("env_sync_looks")
            ours, theirs = passwords
            writes = [
                {"role": role, "db": name}
                for name in (NAME, f"{NAME}__incoming")
                for role in ("readWrite", "dbAdmin")
            ]
            server.create_user(
                SYNC_USER,
                ours,
                [
                    *writes,
                    {"role": "readWrite", "db": LEASES},
                    {"role": "env_sync_looks", "db": "admin"},
                ],
            )
            server.create_user(APPLICATION, theirs, [{"role": "readWrite", "db": NAME}])
        database = client[NAME]
        database.assets.create_index("legacy_url_path")
        for collection, values in (filling or {}).items():
            database[collection].insert_many(values)
