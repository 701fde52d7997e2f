"""The rows of production: tens of thousands, about invented people, the same ones each time."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sandbox.demo.invented import Invented, Person

SEED = 20_260_105
SUBSCRIBERS = 12_000
EMAILS = 16_000
DOCUMENTS = 6_000
USERS = 4_000
AUTHORITIES = 400
SERVICES = 60

Row = tuple[Any, ...]
Rows = Mapping[str, tuple[Sequence[str], Sequence[Row]]]
"""Table -> its columns and rows, in an order that foreign keys allow."""

SUBJECTS = (
    "Passports", "Foreign travel advice", "Flood warnings", "Universal Credit", "Bank holidays", "Visas",
    "Self Assessment", "Maternity pay", "MOT history", "Student finance", "Pensions", "Apprenticeships",
)  # fmt: skip
APPLICATIONS = (
    "Publisher",
    "Whitehall",
    "Collections",
    "Signon",
    "Maps",
    "Support",
    "Content Data",
    "Travel Advice",
)


def rows_of_production() -> tuple[Mapping[str, Rows], Invented]:
    """Database -> its rows, and the invented values with the marks of all that is in them."""
    invented = Invented(SEED)
    users = [invented.person() for _ in range(USERS)]
    uids = [_uuid(invented) for _ in users]
    rows = {
        "signon_production": _signon(invented, users, uids),
        "publishing_api_production": _publishing_api(invented, users, uids),
        "email-alert-api_production": _email_alert_api(invented),
        "local-links-manager_production": _local_links_manager(invented),
    }
    return rows, invented


def _email_alert_api(invented: Invented) -> Rows:
    random = invented.random
    lists = [
        (
            number,
            f"{_slug(subject)}-{number}",
            f"{subject}, part {number}",
            json.dumps({"topics": [_uuid(invented)]}),
        )
        for number, subject in zip(range(1, 301), SUBJECTS * 25, strict=True)
    ]
    people = [invented.person() for _ in range(SUBSCRIBERS)]
    subscribers, postcodes = [], {}
    for number, person in enumerate(people, start=1):
        preferences: dict[str, Any] = {
            "format": random.choice(("html", "plain")),
            "language": random.choice(("en", "cy")),
        }
        if number % 2:
            postcodes[number] = preferences["postcode"] = invented.postcode()
        if number % 7 == 0:
            preferences["notes"] = [
                {"by": "the call centre", "text": f"Goes by {person.name}; write to {person.email}"}
            ]
        telephone = invented.telephone() if number % 5 == 0 else None
        subscribers.append((number, person.email, person.name, telephone, json.dumps(preferences)))
    subscriptions = [
        (_uuid(invented), number, number * step % 300 + 1, random.choice(("immediately", "daily", "weekly")))
        for number in range(1, SUBSCRIBERS + 1)
        for step in (1, 2)
        if step == 1 or number * 2 % 300 != number % 300
    ]
    emails = []
    for _ in range(EMAILS):
        number = random.randint(1, SUBSCRIBERS)
        person, subject = people[number - 1], random.choice(SUBJECTS)
        place = f" near {postcodes[number]}" if number in postcodes else ""
        body = (
            f"Dear {person.name},\n\nwhat you follow{place} has changed: {subject}.\n\n"
            f"You asked for this at {person.email}. Stop it: "
            f"https://www.example.gov.uk/unsubscribe/{number}?token={invented.token()}\n"
        )
        emails.append((_uuid(invented), number, person.email, f"{subject} for {person.name}", body, "sent"))
    logins = [
        (number, random.randint(1, SUBSCRIBERS), invented.token(), invented.ip_address())
        for number in range(1, 2001)
    ]
    versions = [
        (number, number, json.dumps({"id": number, "address": invented.email()})) for number in range(1, 1501)
    ]
    return {
        "subscriber_lists": (("id", "slug", "title", "links"), lists),
        "subscribers": (("id", "address", "name", "telephone", "preferences"), subscribers),
        "subscriptions": (("id", "subscriber_id", "subscriber_list_id", "frequency"), subscriptions),
        "emails": (("id", "subscriber_id", "address", "subject", "body", "status"), emails),
        "login_links": (("id", "subscriber_id", "token", "ip_address"), logins),
        "versions": (("id", "item_id", "object"), versions),
    }


def _publishing_api(invented: Invented, users: Sequence[Person], uids: Sequence[str]) -> Rows:
    random = invented.random
    documents: list[Row] = []
    editions: list[Row] = []
    limits: list[Row] = []
    notes: list[Row] = []
    link_sets: list[Row] = []
    links: list[Row] = []
    expanded: list[Row] = []
    paths: list[Row] = []
    events: list[Row] = []
    contents = [_uuid(invented) for _ in range(DOCUMENTS)]
    for number, content in enumerate(contents, start=1):
        documents.append((number, content, "en"))
        link_sets.append((number, content))
        links.append((number, None, random.choice(contents), "organisations"))
        subject = random.choice(SUBJECTS)
        # Of fifteen documents: one is secret and nothing else, one is published with a secret new draft.
        secret = {7: "only", 11: "next"}.get(number % 15)
        if secret != "only":
            editions.append(
                _edition(invented, number, len(editions) + 1, "published", 1, subject, users, uids)
            )
            asked = f"Questions go to {random.choice(users).email}."
            said = ("First published.", "Corrected a date.", "Added a form.", asked)
            notes.append((len(editions), random.choice(said)))
            paths.append((editions[-1][4], "publisher"))
        expanded.append((content, False, json.dumps({"organisations": [{"title": subject, "locale": "en"}]})))
        if secret:
            matter = f"{subject}: the {invented.secret_matter()} review"
            edition = len(editions) + 1
            editions.append(_edition(invented, number, edition, "draft", 2, matter, users, uids))
            limits.append((edition, json.dumps([random.choice(uids)]), json.dumps([_uuid(invented)])))
            notes.append((edition, f"Before anybody hears of {matter}"))
            paths.append((editions[-1][4], "publisher"))
            links.append((None, edition, random.choice(contents), "taxons"))
            expanded.append((content, True, json.dumps({"taxons": [{"title": matter, "locale": "en"}]})))
        editor = random.randrange(len(users))
        payload = {
            "title": editions[-1][5],
            "base_path": editions[-1][4],
            "editor": {"name": users[editor].name, "email": users[editor].email},
            "access_limited": {"auth_bypass_ids": [invented.token()]} if secret else None,
        }
        events.append(("PutContent", content, uids[editor], json.dumps(payload)))
    return {
        "documents": (("id", "content_id", "locale"), documents),
        "editions": (
            (
                "id", "document_id", "state", "user_facing_version", "base_path", "title", "details",
                "last_edited_by_editor_id", "auth_bypass_ids",
            ),
            editions,
        ),
        "access_limits": (("edition_id", "users", "organisations"), limits),
        "change_notes": (("edition_id", "note"), notes),
        "link_sets": (("id", "content_id"), link_sets),
        "links": (("link_set_id", "edition_id", "target_content_id", "link_type"), links),
        "expanded_links": (("content_id", "with_drafts", "expanded_links"), expanded),
        "path_reservations": (("base_path", "publishing_app"), paths),
        "events": (("action", "content_id", "user_uid", "payload"), events),
    }  # fmt: skip


def _edition(
    invented: Invented,
    document: int,
    edition: int,
    state: str,
    version: int,
    title: str,
    users: Sequence[Person],
    uids: Sequence[str],
) -> tuple[Any, ...]:
    editor = invented.random.randrange(len(users))
    asked = users[invented.random.randrange(len(users))]
    details = {
        "body": f"<p>{title}.</p>\n<p>Questions:\n{asked.email}</p>",
        "contact": {"email": asked.email, "post": [{"lines": ["10 Example Street", "London"]}]},
        "editors": [{"name": users[editor].name, "telephone": invented.telephone()}],
        "internal_notes": f"{users[editor].name} asks {asked.name} to read this again",
    }
    path = f"/{_slug(title)}-{document}"
    tokens = [invented.token()] if state == "draft" else []
    return (edition, document, state, version, path, title, json.dumps(details), uids[editor], tokens)


def _signon(invented: Invented, users: Sequence[Person], uids: Sequence[str]) -> Rows:
    random = invented.random
    organisations = [
        (number, _uuid(invented), f"Department of {subject}", f"department-of-{_slug(subject)}")
        for number, subject in enumerate(SUBJECTS, start=1)
    ]
    people = []
    for number, (person, uid) in enumerate(zip(users, uids, strict=True), start=1):
        suspended = number % 25 == 0
        people.append(
            (
                number,
                uid,
                person.name,
                person.email,
                invented.email() if number % 40 == 0 else None,
                random.randint(1, len(SUBJECTS)),
                invented.password_hash(),
                invented.token() if number % 2 else None,
                invented.token() if number % 30 == 0 else None,
                max(1, number // 10),
                invented.ip_address(),
                invented.ip_address() if number % 3 == 0 else None,
                "2026-01-01 09:00+00" if suspended else None,
                f"{person.name} left; call {invented.telephone()} or write to {invented.postcode()}"
                if suspended
                else None,
            )
        )
    applications = [
        (number, name, invented.token(), invented.token(), f"https://{_slug(name)}.example/auth")
        for number, name in enumerate(APPLICATIONS, start=1)
    ]
    permissions = [
        (number, application, "signin")
        for number in range(1, USERS + 1)
        for application in random.sample(range(1, len(APPLICATIONS) + 1), 2)
    ]
    invitees = [
        [{"name": invitee.name, "email": invitee.email} for invitee in (invented.person(), invented.person())]
        for _ in range(200)
    ]
    logs = [
        (uids[number], "Unsuccessful login", f"for {users[number].email}", invented.ip_address())
        for number in (random.randrange(USERS) for _ in range(8000))
    ]
    tokens = [
        (random.randint(1, USERS), random.randint(1, len(APPLICATIONS)), invented.token())
        for _ in range(5000)
    ]
    # This table stays in production: its push leaves it out.
    sessions = [(invented.token(), f"warden.user={users[number].email}") for number in range(1500)]
    return {
        "organisations": (("id", "content_id", "name", "slug"), organisations),
        "users": (
            (
                "id", "uid", "name", "email", "unconfirmed_email", "organisation_id", "encrypted_password",
                "otp_secret_key", "reset_password_token", "invited_by_id", "current_sign_in_ip",
                "last_sign_in_ip", "suspended_at", "reason_for_suspension",
            ),
            people,
        ),
        "old_passwords": (
            ("user_id", "encrypted_password"),
            [(number, invented.password_hash()) for number in range(1, 1001)],
        ),
        "oauth_applications": (("id", "name", "uid", "secret", "redirect_uri"), applications),
        "oauth_access_tokens": (
            ("resource_owner_id", "application_id", "token"),
            tokens,
        ),
        "user_application_permissions": (("user_id", "application_id", "permission"), permissions),
        "batch_invitations": (
            ("user_id", "invitees"),
            [(random.randint(1, USERS), json.dumps(people)) for people in invitees],
        ),
        "event_logs": (("uid", "event", "trailing_message", "ip_address"), logs),
        "sessions": (("session_id", "data"), sessions),
    }  # fmt: skip


def _local_links_manager(invented: Invented) -> Rows:
    random = invented.random
    authorities = [
        (
            number,
            f"Borough {number}",
            f"borough-{number}",
            f"E{number:08}",
            tier,
            f"https://borough-{number}.example",
        )
        for number, tier in zip(
            range(1, AUTHORITIES + 1), ("unitary", "district") * AUTHORITIES, strict=False
        )
    ]
    services = [(number, 100 + number, f"Service {number}") for number in range(1, SERVICES + 1)]
    links = [
        (
            authority,
            service,
            f"https://borough-{authority}.example/{service}",
            random.choice(("ok", "ok", "broken")),
        )
        for authority in range(1, AUTHORITIES + 1)
        for service in range(1, SERVICES + 1)
    ]
    return {
        "local_authorities": (("id", "name", "slug", "gss", "tier", "homepage_url"), authorities),
        "services": (("id", "lgsl_code", "label"), services),
        "links": (("local_authority_id", "service_id", "url", "status"), links),
    }


def sequences(rows: Rows) -> Iterator[str]:
    """The tables whose ids were given, so that their sequences have to follow."""
    return (
        table
        for table, (columns, values) in rows.items()
        if columns[0] == "id" and isinstance(values[0][0], int)
    )


def _uuid(invented: Invented) -> str:
    return str(uuid.UUID(int=invented.random.getrandbits(128), version=4))


def _slug(text: str) -> str:
    return "-".join(text.lower().replace(":", "").split())
