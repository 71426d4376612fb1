"""Invented exports of Telegram Desktop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ME, ANNA, BORIS = 1000001, 2000002, 3000003


def message(number: int, sender: int, text: Any, **more: Any) -> dict[str, Any]:
    """Return a message as versions since 4.1.2 write it."""
    entities = [{"type": "plain", "text": text}] if isinstance(text, str) and text else []
    return {
        "id": number,
        "type": "message",
        "date": "2024-01-01T12:00:00",
        "date_unixtime": str(1_700_000_000 + number),
        "from": {ME: "Mara Lind", ANNA: "Anna Berg", BORIS: "Boris Falk"}[sender],
        "from_id": f"user{sender}",
        "text": text,
        "text_entities": entities,
    } | more


def personal_chat(contact: int, messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    name = {ANNA: "Anna Berg", BORIS: "Boris Falk"}[contact]
    return {"name": name, "type": "personal_chat", "id": contact, "messages": messages} | more


def account(*chats: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the export of a whole account."""
    owner = {"user_id": ME, "first_name": "Mara", "last_name": "Lind", "phone_number": "", "username": "@mara"}
    return {"about": "", "personal_information": owner, "chats": {"about": "", "list": list(chats)}} | more


def write(path: Path, export: dict[str, Any], indent: int | None = 1) -> Path:
    path.write_text(json.dumps(export, ensure_ascii=False, indent=indent), encoding="utf-8")
    return path
