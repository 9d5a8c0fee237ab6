"""The web view, in a real Chromium against a real bridge."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.support import Agent, Agents, BridgeProcess, NatsServer, eventually
from tests.support.agents import make_token
from tests.support.proxy import Proxy

CHROMIUM = os.environ.get("BRIDGE_TEST_CHROMIUM") or shutil.which("chromium")
PATIENCE_MS = 20_000
UI = Path(__file__).parent.parent / "bridge" / "http" / "ui"
Open = Callable[..., Page]
Json = dict[str, Any]

needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="THE WEB VIEW WAS NOT LOOKED AT: there is no chromium on PATH"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        quiet = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield made
        made.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport={"width": 1280, "height": 900})
    yield made
    made.close()


@pytest.fixture
def open_view(context: BrowserContext, bridge: BridgeProcess) -> Iterator[Open]:
    """Opens a page of the view; whatever its console tells of is a failure."""
    complaints: list[str] = []

    def open_(token: str, place: str = "/live", url: str = bridge.url) -> Page:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: _note(complaints, said.type, said.text))
        page.goto(f"{url}/ui/#token={token}&to={quote(place, safe='')}")
        return page

    yield open_
    assert complaints == []


def _note(complaints: list[str], kind: str, text: str) -> None:
    # A refused or lost request is told of by the browser itself.
    if kind == "error" and "Failed to load resource" not in text:
        complaints.append(text)


def leader(agents: Agents) -> Agent:
    return agents("leader", permissions=["publish_events", "spawn_agents"])


def test_its_parts_come_with_a_strict_policy_and_from_nowhere_else(bridge: BridgeProcess) -> None:
    answer = httpx.get(f"{bridge.url}/ui")
    assert (answer.status_code, answer.headers["location"]) == (307, "ui/")
    parts = {"": "text/html; charset=utf-8"}
    parts |= {path.name: "" for path in UI.iterdir() if path.is_file()}
    parts |= {f"vendor/{path.name}": "" for path in (UI / "vendor").iterdir()}
    for name, kind in parts.items():
        answer = httpx.get(f"{bridge.url}/ui/{name}")
        assert answer.status_code == 200, name
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["content-type"].startswith(kind)
    assert httpx.get(f"{bridge.url}/ui/nothing.js").status_code == 404
    assert httpx.get(f"{bridge.url}/ui/../app.py").status_code == 404


@pytest.mark.parametrize("path", sorted(UI.glob("*.*")), ids=lambda path: path.name)
def test_nothing_in_it_names_another_place(path: Path) -> None:
    found = re.findall(r"https?://[^\"' )]+", path.read_text())
    assert set(found) <= {"http://www.w3.org/2000/svg"}


def test_what_is_served_comes_with_its_licences() -> None:
    text = (UI / "vendor" / "LICENSES.txt").read_text()
    assert "htm 3.1.1" in text
    assert "Apache License" in text
    assert "The MIT License" in text
    assert "Preact" in text


@needs_browser
class TestView:
    def test_it_asks_for_a_token_and_keeps_it_in_the_tab(
        self, context: BrowserContext, bridge: BridgeProcess, agents: Agents
    ) -> None:
        page = context.new_page()
        page.goto(f"{bridge.url}/ui/")
        page.get_by_label("Token").fill(agents("ann").token)
        page.get_by_role("button", name="Look").click()
        expect(page.get_by_text("as ann")).to_be_visible()
        assert "token" not in page.url
        assert page.evaluate("localStorage.length") == 0
        page.get_by_role("button", name="Leave").click()
        expect(page.get_by_label("Token")).to_be_visible()

    def test_events_come_live_with_their_data_and_lead_to_their_workflow(
        self, open_view: Open, agents: Agents
    ) -> None:
        agent = agents("coder")
        agent.publish("task_started", {"n": 1}, correlation_id="job-1")
        page = open_view(agents("watcher").token)
        expect(page.get_by_role("status")).to_have_text("live")
        agent.publish("tests_passing", {"coverage": 93, "html": "<img src=x onerror=alert(1)>"})
        row = page.get_by_role("listitem").filter(has_text="tests_passing")
        expect(row).to_be_visible()
        expect(row).to_contain_text("testing")
        row.locator("summary").click()
        expect(row.locator("pre")).to_contain_text("<img src=x onerror=alert(1)>")
        assert page.locator("img[src=x]").count() == 0
        moment = row.locator("time")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z", moment.get_attribute("title") or "")
        page.get_by_role("link", name="job-1").click()
        expect(page.get_by_role("heading", name="job-1")).to_be_visible()

    def test_the_empty_state_says_what_to_do(self, open_view: Open, agents: Agents) -> None:
        page = open_view(agents("watcher").token)
        expect(page.get_by_role("heading", name="No events yet")).to_be_visible()
        for place, text in (
            ("workflows", "No workflows yet"),
            ("overview", "A quiet hour"),
            ("agents", "None: nothing was rejected"),
            ("workflow/none", "No event has this correlation ID"),
        ):
            page.goto(f"{page.url.partition('#')[0]}#/{place}")
            expect(page.get_by_text(text)).to_be_visible()

    def test_a_filter_shows_what_passes_what_is_wrong_and_why_nothing_comes(
        self, open_view: Open, agents: Agents
    ) -> None:
        agent = agents("coder")
        for n in range(3):
            agent.publish("task", {"n": n, "status": "failed"})
        page = open_view(agents("watcher").token)
        box = page.get_by_role("searchbox")
        box.fill("n:>=2")
        expect(page.locator(".event")).to_have_count(1)
        box.fill("n==2")
        told = page.get_by_role("alert")
        expect(told).to_contain_text("n:2")
        expect(told.locator(".caret")).to_contain_text("^")
        box.fill("statuss:failed")
        expect(page.locator(".hints")).to_contain_text("did you mean `status`?")
        agent.publish("task", {"statuss": "failed"})
        expect(page.locator(".event")).to_have_count(1)
        expect(page.locator(".hints")).to_have_count(0)

    def test_it_pauses_and_goes_on_with_what_came(self, open_view: Open, agents: Agents) -> None:
        agent = agents("coder")
        page = open_view(agents("watcher").token)
        expect(page.get_by_role("status")).to_have_text("live")
        page.get_by_role("button", name="Pause").click()
        for n in range(2):
            agent.publish("task", {"n": n})
        expect(page.get_by_role("status")).to_have_text("paused, 2 waiting")
        assert page.locator(".event").count() == 0
        page.get_by_role("button", name="Go on").click()
        expect(page.locator(".event")).to_have_count(2)

    def test_a_lost_connection_is_told_and_nothing_is_missed(
        self, open_view: Open, bridge: BridgeProcess, agents: Agents
    ) -> None:
        agent = agents("coder")
        with Proxy(bridge) as proxy:
            page = open_view(agents("watcher").token, url=f"http://{proxy.address}")
            expect(page.get_by_role("status")).to_have_text("live")
            proxy.backends.clear()
            proxy.cut()
            expect(page.get_by_role("status")).to_contain_text("connection lost")
            agent.publish("task", {"n": 1})
            proxy.backends.append(bridge)
            expect(page.locator(".event")).to_have_count(1)
            expect(page.get_by_role("status")).to_have_text("live")

    def test_an_expired_token_is_told_and_can_be_replaced(
        self, open_view: Open, agents: Agents
    ) -> None:
        expired = make_token("watcher", project_id=agents.project, exp=1_700_000_000)
        page = open_view(expired, "/overview")
        expect(page.get_by_role("alert")).to_contain_text("no longer good")
        page.get_by_role("button", name="Use another token").click()
        page.get_by_label("Token").fill(agents("watcher").token)
        page.get_by_role("button", name="Look").click()
        expect(page.get_by_role("heading", name="Events by minute")).to_be_visible()

    def test_a_workflow_has_lanes_marks_arrows_and_who_is_stuck(
        self, open_view: Open, agents: Agents
    ) -> None:
        lead, coder, tester = agents("lead"), agents("coder"), agents("tester")
        where: Json = {"filter": "correlation_id:job-7"}
        lead.publish("task_assigned", {"task": "<b>build</b>"}, correlation_id="job-7")
        coder.events("task_assigned", timeout=10, **where)
        tester.events("code_done", **where)
        coder.publish("code_done", {"files": 3}, correlation_id="job-7")
        page = open_view(lead.token, "/workflow/job-7")
        expect(page.locator("circle.mark")).to_have_count(2)
        names = page.locator("text.lane-name")
        expect(names).to_have_count(3)
        expect(page.locator("line.arrow.acknowledged")).to_have_count(1)
        expect(page.locator("line.arrow.pending")).to_have_count(1)
        expect(page.get_by_text("1 pending")).to_be_visible()
        page.locator("circle.mark").first.focus()
        page.keyboard.press("Enter")
        panel = page.get_by_role("complementary")
        expect(panel).to_contain_text("<b>build</b>")
        expect(panel.get_by_role("row").filter(has_text="coder")).to_contain_text("acknowledged")
        page.keyboard.press("Escape")
        expect(panel).to_have_count(0)
        tester.events("code_done", timeout=10, **where)
        expect(page.get_by_text("Everything was delivered and acknowledged")).to_be_visible()

    def test_a_workflow_of_500_events_is_drawn(self, open_view: Open, agents: Agents) -> None:
        agent = agents("coder")
        agent.publish_many(
            {"event_type": f"step_{n % 7}", "data": {"n": n}, "correlation_id": "long"}
            for n in range(500)
        )
        page = open_view(agent.token, "/workflow/long")
        expect(page.locator("circle.mark")).to_have_count(500)
        page.get_by_label("spread evenly").check()
        page.locator("circle.mark").last.click()
        expect(page.get_by_role("complementary")).to_contain_text('"n": 499')

    def test_who_waits_is_behind_or_dead_is_told(self, open_view: Open, agents: Agents) -> None:
        lead, worker = leader(agents), agents("worker")
        worker.events("task", filter="n:>0")
        query: Json = {"group": "g", "ack": "explicit"}
        worker.events("build", **query)
        lead.publish("task", {"n": 1})
        lead.publish("build", {}, event_id="b-1", correlation_id="job-9")
        ack_id = worker.wait("build", timeout=10, **query)["ack_id"]
        rejection = {"ack_ids": [ack_id], "reason": "no <disk>"}
        worker.http.post("/deliveries/reject", json=rejection).raise_for_status()
        plain = open_view(agents("watcher").token, "/agents")
        expect(plain.get_by_text("no <disk>")).to_be_visible()
        assert plain.get_by_role("button", name="Deliver once more").count() == 0
        page = open_view(lead.token, "/agents")
        row = page.get_by_role("row").filter(
            has=page.get_by_role("cell", name="worker", exact=True)
        )
        expect(row.first).to_contain_text("1")
        page.get_by_role("button", name="Deliver once more").click()
        expect(page.get_by_text("delivered once more")).to_be_visible()
        [again] = worker.events("build", timeout=10, **query)
        assert again["event_id"] == "b-1"

    def test_the_overview_counts(self, open_view: Open, agents: Agents) -> None:
        agent = agents("coder")
        for n in range(4):
            agent.publish("tests_passing", {"n": n})
        page = open_view(agents("watcher").token, "/overview")
        expect(page.locator(".legend")).to_contain_text("tests_passing 4")
        expect(page.locator(".card").filter(has_text="Retained")).to_contain_text("4")

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_it_fits_a_phone_in_either_scheme(
        self, browser: Browser, bridge: BridgeProcess, agents: Agents, scheme: str
    ) -> None:
        agents("coder").publish("tests_passing", {"text": "long " * 100}, correlation_id="x" * 80)
        made = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)  # type: ignore[arg-type]
        page = made.new_page()
        for place in ("live", "workflows", "agents", "overview", "workflow/" + "x" * 80):
            page.goto(f"{bridge.url}/ui/#token={agents('watcher').token}&to=/{place}")
            expect(page.locator("main section")).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, place
        made.close()


def test_the_command_prints_where_it_is_with_a_token_that_may_only_look(
    own_nats: NatsServer, start_bridge: Callable[..., BridgeProcess], tmp_path: Path
) -> None:
    bridge = start_bridge(own_nats.url)
    token = make_token("lead")
    command = [sys.executable, "-m", "bridge", "ui", "--print"]
    env = {**os.environ, "SIDECAR_URL": bridge.api, "JWT_TOKEN": token}
    told = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert told.stdout == f"{bridge.url}/ui/#token={token}&to=/live\n"


@needs_browser
def test_the_demo_stays_open_for_the_view(browser: Browser, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bridge", "demo", "--ui", "--speed", "20"]
    env = {**os.environ, "HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        said = ""
        for line in demo.stdout:
            said += line
            if "stays open" in line:
                break
        [where] = re.findall(r"The web view: (\S+)", said)
        page = browser.new_page()
        page.goto(where)
        expect(page.locator("circle.mark").first).to_be_visible()
        page.close()
        demo.send_signal(signal.SIGINT)
        eventually(lambda: demo.poll() is not None, what="its end", within=30)
