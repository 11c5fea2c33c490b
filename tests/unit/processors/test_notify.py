"""Notices reach a real HTTP server, signed and in order, through failures and restarts."""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from backends.catalog import open_catalog
from backends.catalog.settings import CatalogSettings
from core.alerts import AlertEvent, EventKind, Evidence, Priority, alert_id, event_id
from core.clock import ManualClock
from core.errors import SettingsError, Unavailable
from core.ports import OutboxItem
from processors import NotifySettings
from processors.metrics import ProcessorMetrics
from processors.notify.contract import NoticeRefused
from processors.notify.notifier import Notifier, senders_for
from processors.notify.webhook import WebhookSender, parse_secret, sign

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from core.ports import Outbox
    from processors.notify.contract import NoticeSender

NOW = ManualClock().now_ns()
KEY = bytes(range(24))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


class _Hook(ThreadingHTTPServer):
    """A receiver that answers what it is told to, and remembers what came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, bytes, dict[str, str]]] = []
        self.got: list[tuple[dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: _Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
        status, words, headers = self.server.answers.pop(0) if self.server.answers else (204, b"", {})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(words)))
        self.end_headers()
        self.wfile.write(words)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Stay silent."""


@pytest.fixture
def hook() -> Iterator[_Hook]:
    with _Hook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def _item(name: str = "n-1", alert: str = "a-1", created: int = NOW) -> OutboxItem:
    return OutboxItem(name, "webhook", alert, f"urbanpulse/alerts/d/{alert}", b'{"event":"raised"}', created)


class _MemoryOutbox:
    """`Outbox` over a list."""

    def __init__(self, *items: OutboxItem) -> None:
        self.items = {item.id: item for item in items}
        self.due_at = dict.fromkeys(self.items, 0)
        self.done: dict[str, str] = {}

    def due(self, now_ns: int, limit: int) -> list[OutboxItem]:
        return [i for i in self.items.values() if i.id not in self.done and self.due_at[i.id] <= now_ns][:limit]

    def sent(self, item: str, now_ns: int) -> None:
        self.done[item] = f"sent {now_ns}"

    def failed(self, item: str, retry_ns: int, error: str) -> None:
        old = self.items[item]
        self.items[item] = OutboxItem(
            old.id, old.channel, old.alert, old.topic, old.body, old.created, old.attempts + 1
        )
        self.due_at[item] = retry_ns
        assert error

    def given_up(self, item: str, now_ns: int, error: str) -> None:
        self.done[item] = f"given up {now_ns}: {error}"

    def pending(self) -> int:
        return len(self.items) - len(self.done)


class _Scripted:
    """`NoticeSender` that raises what it is told to, then delivers."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.got: list[str] = []

    async def send(self, item: OutboxItem) -> None:
        self.got.append(item.id)
        if self.failures:
            raise self.failures.pop(0)


def _notifier(outbox: Outbox, sender: NoticeSender, clock: ManualClock, **changes: Any) -> Notifier:
    return Notifier(
        outbox,
        {"webhook": sender},
        settings=NotifySettings(**changes),
        clock=clock,
        rng=random.Random(5),
        metrics=ProcessorMetrics(CollectorRegistry()),
    )


async def test_a_notice_arrives_signed_with_its_id(hook: _Hook) -> None:
    clock = ManualClock()

    async with WebhookSender(hook.url, SECRET, timeout_seconds=5, clock=clock) as sender:
        await sender.send(_item())

    headers, body = hook.got[0]
    seconds = clock.now_ns() // 1_000_000_000
    digest = hmac.new(KEY, b"n-1." + str(seconds).encode() + b"." + body, hashlib.sha256).digest()
    assert body == _item().body
    assert headers["webhook-id"] == "n-1"
    assert headers["webhook-timestamp"] == str(seconds)
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    assert headers["content-type"] == "application/json"


def test_the_signature_is_that_of_the_published_example() -> None:
    """The example of the Standard Webhooks reference libraries."""
    key = parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

    signature = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        pytest.param(400, NoticeRefused, "400 Bad Request: no such rule", id="a bad request is final"),
        pytest.param(404, NoticeRefused, "404 Not Found: no such rule", id="a missing page is final"),
        pytest.param(302, NoticeRefused, "302 Found: no such rule", id="a redirect is not followed"),
        pytest.param(408, Unavailable, "408", id="a time-out is tried again"),
        pytest.param(409, Unavailable, "409", id="a conflict is tried again"),
        pytest.param(429, Unavailable, "429", id="too many is tried again"),
        pytest.param(500, Unavailable, "500", id="a broken receiver is tried again"),
        pytest.param(503, Unavailable, "503", id="a busy receiver is tried again"),
    ],
)
async def test_what_the_answer_means(hook: _Hook, status: int, error: type[Exception], words: str) -> None:
    hook.answers = [(status, b"no such rule", {"location": f"{hook.url}/elsewhere"})]

    async with WebhookSender(hook.url, SECRET, timeout_seconds=5, clock=ManualClock()) as sender:
        with pytest.raises(error, match=words):
            await sender.send(_item())

    assert len(hook.got) == 1


async def test_nobody_listening_is_tried_again(free_port: Any) -> None:
    url = f"http://127.0.0.1:{free_port()}/"

    async with WebhookSender(url, SECRET, timeout_seconds=5, clock=ManualClock()) as sender:
        with pytest.raises(Unavailable, match="ConnectError"):
            await sender.send(_item())


@pytest.mark.parametrize(
    ("url", "secret", "text"),
    [
        pytest.param("ftp://host/", SECRET, "an http or https address expected", id="another scheme"),
        pytest.param("/hook", SECRET, "an http or https address expected", id="no host"),
        pytest.param("http://host/", "hunter2hunter2", "24 to 64 bytes expected", id="no prefix"),
        pytest.param("http://host/", "whsec_?!", "not base64", id="not base64"),
        pytest.param("http://host/", "whsec_" + base64.b64encode(bytes(23)).decode(), "24 to 64", id="too short"),
        pytest.param("http://host/", "whsec_" + base64.b64encode(bytes(65)).decode(), "24 to 64", id="too long"),
        pytest.param("http://host/", None, "needs a secret", id="none"),
    ],
)
async def test_wrong_settings_are_named_without_the_secret(url: str, secret: str | None, text: str) -> None:
    settings = NotifySettings(webhook_url=url, webhook_secret=SecretStr(secret) if secret else None)

    with pytest.raises(SettingsError, match=text) as caught:
        async with senders_for(settings, {}, clock=ManualClock()):
            pytest.fail("accepted")

    assert caught.value.setting.startswith("notify.webhook_")
    assert secret is None or secret not in str(caught.value)


async def test_failures_wait_longer_each_time_up_to_a_limit(executor: ThreadPoolExecutor) -> None:
    clock, outbox = ManualClock(), _MemoryOutbox(_item())
    sender = _Scripted(*[Unavailable("webhook", "busy")] * 6)
    notifier = _notifier(outbox, sender, clock, retry_seconds=1, retry_max_seconds=8)

    waits = []
    for _ in range(6):
        await notifier.send_due(executor)
        waits.append((outbox.due_at["n-1"] - clock.now_ns()) / 1e9)
        clock.advance(waits[-1])
    await notifier.send_due(executor)

    for wait, longest in zip(waits, [1, 2, 4, 8, 8, 8], strict=True):
        assert longest / 2 <= wait <= longest
    assert outbox.done["n-1"].startswith("sent")
    assert sender.got == ["n-1"] * 7


async def test_a_refusal_is_given_up_at_once_with_its_words(executor: ThreadPoolExecutor) -> None:
    clock, outbox = ManualClock(), _MemoryOutbox(_item(), _item("n-2", "a-2"))

    await _notifier(outbox, _Scripted(NoticeRefused("410 Gone: moved away")), clock).send_due(executor)

    assert outbox.done["n-1"].endswith("410 Gone: moved away")
    assert outbox.done["n-2"].startswith("sent")


@pytest.mark.parametrize(("attempts", "is_given_up"), [(2, False), (3, True)])
async def test_attempts_are_bounded(executor: ThreadPoolExecutor, attempts: int, is_given_up: bool) -> None:
    clock, outbox = ManualClock(), _MemoryOutbox(_item())
    notifier = _notifier(outbox, _Scripted(*[Unavailable("webhook", "busy")] * 9), clock, max_attempts=3)

    for _ in range(attempts):
        await notifier.send_due(executor)
        clock.advance(400)

    assert ("n-1" in outbox.done) is is_given_up


@pytest.mark.parametrize(("age", "is_given_up"), [(100, False), (101, True)])
async def test_age_is_bounded(executor: ThreadPoolExecutor, age: int, is_given_up: bool) -> None:
    clock = ManualClock()
    outbox = _MemoryOutbox(_item(created=clock.now_ns() - age * 1_000_000_000))

    await _notifier(outbox, _Scripted(Unavailable("webhook", "busy")), clock, max_age_seconds=100).send_due(executor)

    assert ("n-1" in outbox.done) is is_given_up


async def test_a_failed_notice_holds_back_later_ones_of_its_alert_only(executor: ThreadPoolExecutor) -> None:
    outbox = _MemoryOutbox(_item("n-1", "a-1"), _item("n-2", "a-1"), _item("n-3", "a-2"))
    sender = _Scripted(Unavailable("webhook", "busy"))

    await _notifier(outbox, sender, ManualClock()).send_due(executor)

    assert sender.got == ["n-1", "n-3"]
    assert list(outbox.done) == ["n-3"]


async def test_killed_between_delivery_and_note_it_sends_again_with_the_same_id(
    hook: _Hook, executor: ThreadPoolExecutor, tmp_path: Path
) -> None:
    """With the real catalog: at least once, and the receiver can tell the repeat; a third start sends nothing."""
    clock = ManualClock()
    evidence = Evidence(code="gap", rule="gap", priority=Priority.LOW, district="d", device="dev", measured=1)
    alert = alert_id("gap", "dev", 1)
    raised = AlertEvent(
        id=event_id(alert, EventKind.RAISED, 1), alert=alert, kind=EventKind.RAISED, at=1, recorded=clock.now_ns(),
        evidence=evidence,
    )  # fmt: skip

    for start in range(3):
        catalog = open_catalog(f"sqlite:///{tmp_path}/catalog.sqlite", CatalogSettings(), channels=("webhook",))
        catalog.alerts.record("processor", 7, [raised])  # the replay of each start
        async with WebhookSender(hook.url, SECRET, timeout_seconds=5, clock=clock) as sender:
            notifier = _notifier(catalog.outbox, sender, clock)
            if start == 0:
                for item in catalog.outbox.due(clock.now_ns(), 10):
                    await sender.send(item)  # delivered, and killed before `sent`
            else:
                await notifier.send_due(executor)
        executor.submit(catalog.close).result()

    ids = [headers["webhook-id"] for headers, _ in hook.got]
    assert len(ids) == 2
    assert len(set(ids)) == 1
