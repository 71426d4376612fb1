"""The generated parts of the docs: commands as click tells them, settings as the recipe's models have them."""

from __future__ import annotations

import types
import typing
from typing import Any

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from clone.cli import main
from clone.recipe import Recipe, block_of


def commands() -> str:
    """Return the help of every command as Markdown."""
    context = click.Context(main, info_name="clone", terminal_width=100, max_content_width=100)
    out = ["\n```\n" + main.get_help(context) + "\n```\n"]
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context, terminal_width=100, max_content_width=100)
        out.append(f"\n## clone {name}\n\n```\n{command.get_help(inner)}\n```\n")
    return "".join(out)


def settings() -> str:
    """Return every setting with default, range and explanation as Markdown."""
    out = ["\n| setting | default | what |\n| --- | --- | --- |\n"]
    out += [_row("", name, field) for name, field in Recipe.model_fields.items() if not block_of(field.annotation)]
    for name, field in Recipe.model_fields.items():
        block = block_of(field.annotation)
        if block:
            out.append(f"\n## {name}\n\n{(block.__doc__ or '').strip()}\n")
            out.append("\n| setting | default | what |\n| --- | --- | --- |\n")
            out += _rows("", block)
    return "".join(out)


def _rows(prefix: str, block: type[BaseModel]) -> list[str]:
    rows: list[str] = []
    for name, field in block.model_fields.items():
        inner = block_of(field.annotation)
        rows += _rows(f"{prefix}{name}.", inner) if inner else [_row(prefix, name, field)]
    return rows


def _row(prefix: str, name: str, field: FieldInfo) -> str:
    return f"| `{prefix}{name}` | {_default(field)} | {field.description or ''}{_range(field)} |\n"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if isinstance(value, list | tuple | dict):
        return "`" + str(list(value) if not isinstance(value, dict) else value).replace("'", "") + "`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _range(field: FieldInfo) -> str:
    words = []
    for item in field.metadata:
        for attribute, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
            if getattr(item, attribute, None) is not None:
                words.append(f"{sign} {getattr(item, attribute)}")
    choices = _choices(field.annotation)
    if choices:
        words.append("one of " + ", ".join(f"`{choice}`" for choice in choices))
    return f" ({', '.join(words)})" if words else ""


def _choices(annotation: Any) -> list[str]:
    if typing.get_origin(annotation) is typing.Literal:
        return [str(value) for value in typing.get_args(annotation)]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [choice for arg in typing.get_args(annotation) for choice in _choices(arg)]
    return []
