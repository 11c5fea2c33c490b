"""This module tests what people's browsers are given: the console's files and the page of the interface."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from api.pages import DOCS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.api.fakes import World


@pytest.fixture
def built(world: World, tmp_path: Path) -> World:
    """A world with a built console."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>console</title>")
    (tmp_path / "assets" / "app-1a2b.js").write_text("export {}")
    (tmp_path / "favicon.svg").write_text("<svg/>")
    return world.with_console(tmp_path)


@pytest.mark.parametrize("path", ["/", "/alerts", "/devices/air-1", "/index.html"])
async def test_the_console_is_served_for_its_own_addresses(built: World, path: str) -> None:
    async with built.client(None) as client:
        answer = await client.get(path)

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["cache-control"] == "no-cache"
    assert "console" in answer.text


async def test_head_is_answered_like_get_without_the_page(built: World) -> None:
    async with built.client(None) as client:
        page, docs = await client.head("/"), await client.head("/docs")

    assert [(a.status_code, a.content) for a in (page, docs)] == [(200, b""), (200, b"")]


@pytest.mark.parametrize(
    "path", ["/..%2f..%2fsecret", "/assets/..%2f..%2fsecret", "/docs/..%2f..%2fsecret", "/%2fetc/passwd"]
)
async def test_no_path_leads_out_of_the_folder(built: World, tmp_path: Path, path: str) -> None:
    (tmp_path.parent / "secret").write_text("mine")
    async with built.client(None) as client:
        answer = await client.get(path)

    assert "mine" not in answer.text
    assert "root:" not in answer.text


async def test_hashed_assets_are_cached_for_ever_and_others_are_asked_for_again(built: World) -> None:
    async with built.client(None) as client:
        asset = await client.get("/assets/app-1a2b.js")
        icon = await client.get("/favicon.svg")
        fresh = await client.get("/favicon.svg", headers={"If-None-Match": icon.headers["etag"]})

    assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert icon.headers["cache-control"] == "no-cache"
    assert fresh.status_code == 304


@pytest.mark.parametrize(
    "path", ["/assets/old-0000.js", "/api/v1/nothing", "/api", "/docs/nothing.js", "/%2e%2e/settings.py", "/metrics/x"]
)
async def test_what_is_not_there_is_not_found(built: World, path: str) -> None:
    async with built.client(None) as client:
        answer = await client.get(path)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "immutable" not in answer.headers["cache-control"]


async def test_without_a_built_console_the_page_says_how_to_get_one(world: World, tmp_path: Path) -> None:
    async with world.with_console(tmp_path / "nothing").client(None) as client:
        answer = await client.get("/")
        missing = await client.get("/alerts")

    assert answer.status_code == 200
    assert "was not built" in answer.text
    assert missing.status_code == 404


async def test_the_page_of_the_interface_needs_nothing_from_elsewhere(world: World) -> None:
    async with world.client(None) as client:
        page = (await client.get("/docs")).text
        links = re.findall(r'(?:href|src)="([^"#]+)"', page)
        answers = [await client.get(link) for link in links]

    assert links
    assert [answer.status_code for answer in answers] == [200] * len(links)
    for file in DOCS.iterdir():
        text = file.read_text()
        assert "//" not in re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE), file
        assert "innerHTML" not in text
        assert "<script>" not in text
        assert " style=" not in text
