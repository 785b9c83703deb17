"""``lgmnet mcp``: tools for assistants over stdio, restricted to folders."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.cli.allowed_folders import AllowedFolders
from lgmnet.errors import ConfigError
from tests.support.command_line import lgmnet
from tests.support.images import symbols

Call = Callable[[str, dict[str, Any]], Awaitable[Any]]


def converse(folders: list[Path], use: Callable[[Any], Awaitable[None]]) -> None:
    """Start ``lgmnet mcp`` in a process of its own, and talk to it as an assistant does."""
    mcp = pytest.importorskip("mcp", reason="needs the extra 'mcp'")
    pytest.importorskip("mcp.server.mcpserver", reason="needs mcp 2")
    stdio = pytest.importorskip("mcp.client.stdio")
    words = ["-m", "lgmnet", "mcp", *map(str, folders)]
    server = stdio.StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))

    async def run() -> None:
        async with (
            stdio.stdio_client(server) as (read, write),
            mcp.ClientSession(read, write) as session,
        ):
            await session.initialize()
            await use(session)

    # In a thread of its own: the browser of other tests may have left an event loop in this one.
    with ThreadPoolExecutor(1) as executor:
        executor.submit(asyncio.run, run()).result()


def test_an_assistant_forges_predicts_edits_reports_and_asks_what_to_label(tmp_path):
    work, secret = tmp_path / "work", tmp_path / "secret"
    symbols(work / "symbols", {"moon": 3, "star": 3})
    symbols(work / "more", {"sun": 2}, seed=1)
    symbols(work / "test", {"moon": 2, "star": 2}, seed=0)
    symbols(secret, {"moon": 2, "star": 2})
    (work / "linked").mkdir()
    (work / "linked" / "moon").symlink_to(secret / "moon")

    async def use(session: Any) -> None:
        listed = await session.list_tools()
        assert [t.name for t in listed.tools] == ["forge", "predict", "edit", "report", "suggest"]
        assert all(tool.description for tool in listed.tools)

        async def call(name: str, **arguments: Any) -> dict[str, Any]:
            result = await session.call_tool(name, arguments)
            assert not result.is_error, result.content[0].text
            data = result.structured_content
            assert isinstance(data, dict)
            return data

        async def refuse(name: str, **arguments: Any) -> str:
            result = await session.call_tool(name, arguments)
            assert result.is_error
            return str(result.content[0].text)

        made = await call("forge", folder="symbols", output="c.safetensors")
        assert made["classes"] == {"moon": 3, "star": 3}
        assert made["leave_one_out"]["asked"] == 6
        assert made["with_twice_the_images"]["shot"] == 6
        answers = await call("predict", file="c.safetensors", images=[str(work / "symbols")])
        assert [row["label"] for row in answers["predictions"]] == ["moon"] * 3 + ["star"] * 3
        assert answers["warnings"] == []
        wanted = await call("suggest", file="c.safetensors", images=["more"], number=1)
        assert len(wanted["suggestions"]) == 1
        edited = await call(
            "edit", file="c.safetensors", add=["more"], rename={"moon": "crescent"}, output="d.st"
        )
        assert edited["classes"] == {"crescent": 3, "star": 3, "sun": 2}
        report = await call("report", file="c.safetensors", folder="test")
        assert report["asked"] == 4

        message = await refuse("forge", folder="symbols", output="c.safetensors")
        assert "exists. Choose another name, or set overwrite to true." in message
        assert (await call("forge", folder="symbols", output="c.safetensors", overwrite=True))[
            "model"
        ]
        outside: dict[str, dict[str, Any]] = {
            "forge": {"folder": str(secret), "output": "e.st"},
            "predict": {"file": "c.safetensors", "images": ["../secret"]},
            "report": {"file": "c.safetensors", "folder": "linked"},
            "suggest": {"file": "../secret/c.st", "images": ["more"]},
            "edit": {"file": "c.safetensors", "remove": ["star"], "output": "../c.st"},
        }
        for name, arguments in outside.items():
            message = await refuse(name, **arguments)
            assert "lies outside the folders that may be used" in message, name
            assert str(work) in message
        assert "There is no file" in await refuse("predict", file="none.st", images=["more"])

    converse([work], use)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["secret", "work"]
    assert FittedClassifier.load(work / "c.safetensors").classes == ("moon", "star")
    assert FittedClassifier.load(work / "d.st").classes == ("crescent", "star", "sun")


def test_paths_are_resolved_before_they_are_compared(tmp_path):
    inside, outside = tmp_path / "a", tmp_path / "ab"
    for folder in (inside / "deep", outside):
        folder.mkdir(parents=True)
    (outside / "file").write_text("secret")
    (inside / "link").symlink_to(outside)
    (inside / "deep" / "again").symlink_to(inside / "deep")
    (inside / "circle").symlink_to(inside / "circle")
    allowed = AllowedFolders([inside])
    assert allowed.resolve("deep/../new.st") == inside.resolve() / "new.st"
    assert allowed.resolve_tree("deep") == inside.resolve() / "deep"
    for path in (
        "..",
        "../ab/file",
        outside,
        "link",
        "link/file",
        "/etc/passwd",
        "~/x",
        "a/../../b",
    ):
        with pytest.raises(ConfigError, match="lies outside the folders that may be used"):
            allowed.resolve(path)
    for path in ("circle", "a\0b"):
        with pytest.raises(ConfigError, match="cannot be used as a path"):
            allowed.resolve(path)
    (inside / "circle").unlink()
    with pytest.raises(ConfigError, match=r"'.*link' lies outside"):
        allowed.resolve_tree(".")
    both = AllowedFolders([inside, outside])
    assert both.resolve_tree("link") == outside.resolve()


def test_a_folder_that_does_not_exist_is_no_restriction(tmp_path):
    ran = lgmnet("mcp", tmp_path / "none")
    assert (ran.code, ran.out) == (2, "")
    assert "There is no folder" in ran.err
