"""The page against the real product: what a person sees when rows change in Postgres."""

import pytest
from playwright.sync_api import expect

from conftest import EXPECTED_WHEN_AWAY, TIMEOUT, wait_until

expect.set_options(timeout=TIMEOUT)


def test_a_job_appears_progresses_and_finishes(jobs, open_feed):
    feed = open_feed("alice")
    key = jobs.add("alice")
    row = feed.row(key)
    expect(row.locator(".chip")).to_have_text("pending")
    expect(row.locator(".c-path")).to_have_text(jobs.path)
    jobs.status(key, "processing")
    jobs.progress(key, 40, "halfway, nearly")
    expect(row.locator(".chip")).to_have_text("processing")
    bar = row.get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuenow", "40")
    expect(bar).to_have_attribute("aria-valuetext", "40 percent, halfway, nearly")
    expect(row.locator(".message")).to_have_text("halfway, nearly")
    jobs.progress(key, 100, "done")
    jobs.status(key, "success")
    expect(row.locator(".chip")).to_have_text("success")
    expect(bar).to_have_attribute("aria-valuenow", "100")
    expect(feed.event(key, "enter")).to_have_attribute("data-reason", "created")
    expect(feed.page.get_by_role("status")).to_have_text(f"Job {key} succeeded.")


def test_a_deleted_job_goes(jobs, open_feed):
    key = jobs.add("alice")
    feed = open_feed("alice")
    expect(feed.row(key)).to_be_visible()
    jobs.delete(key)
    expect(feed.row(key)).to_have_count(0)
    expect(feed.event(key, "leave")).to_have_attribute("data-reason", "deleted")


def test_bob_never_sees_what_is_alices(jobs, open_feed):
    bob, operator = open_feed("bob"), open_feed("operator")
    hers, his = jobs.add("alice"), jobs.add("bob")
    jobs.status(hers, "processing")
    # One feed has one order: when his later job is here, hers would have been.
    last = jobs.add("bob")
    expect(bob.row(last)).to_be_visible()
    expect(bob.row(his)).to_be_visible()
    expect(bob.row(hers)).to_have_count(0)
    expect(bob.event(hers, "enter")).to_have_count(0)
    expect(operator.row(hers)).to_be_visible()
    expect(operator.row(his)).to_be_visible()
    assert hers not in bob.page.evaluate("[...document.querySelectorAll('[data-key]')].map((it) => it.dataset.key)")


def test_another_user_sees_another_list(jobs, open_feed):
    hers, his = jobs.add("alice"), jobs.add("bob")
    feed = open_feed("alice")
    expect(feed.row(hers)).to_be_visible()
    feed.page.get_by_role("radio", name="bob").click()
    expect(feed.row(his)).to_be_visible()
    expect(feed.row(hers)).to_have_count(0)


def test_a_status_tab_filters(jobs, open_feed):
    waiting, working = jobs.add("alice", "pending"), jobs.add("alice", "processing")
    feed = open_feed("alice")
    expect(feed.row(waiting)).to_be_visible()
    feed.page.get_by_role("tab", name="processing").click()
    expect(feed.row(working)).to_be_visible()
    expect(feed.row(waiting)).to_have_count(0)
    jobs.status(waiting, "processing")
    expect(feed.row(waiting)).to_be_visible()
    expect(feed.event(waiting, "enter")).to_have_attribute("data-reason", "filter")
    jobs.status(working, "failed")
    expect(feed.row(working)).to_have_count(0)
    expect(feed.event(working, "leave")).to_have_attribute("data-reason", "filter")
    expect(feed.event(working, "leave").locator('.chip[data-status="failed"]')).to_be_visible()


def test_counts_move(jobs, open_feed):
    feed = open_feed("alice")
    all_before, pending, processing = (feed.count(tab) for tab in ("all", "pending", "processing"))
    key = jobs.add("alice")
    feed.wait_for_count("pending", pending + 1)
    feed.wait_for_count("all", all_before + 1)
    jobs.status(key, "processing")
    feed.wait_for_count("pending", pending)
    feed.wait_for_count("processing", processing + 1)
    jobs.delete(key)
    feed.wait_for_count("processing", processing)


def test_a_filter_filters_and_a_wrong_one_says_why(jobs, open_feed):
    key, other = jobs.add("alice"), jobs.add("alice", path="/elsewhere")
    feed = open_feed("alice")
    expect(feed.row(other)).to_be_visible()
    feed.filter(f"path=eq.{jobs.path}")
    expect(feed.row(other)).to_have_count(0)
    expect(feed.row(key)).to_be_visible()
    feed.filter("stat=eq.pending")
    expect(feed.page.locator("#filter-error")).to_contain_text("stat")
    expect(feed.page.locator("#filter-text")).to_have_attribute("aria-invalid", "true")
    expect(feed.row(key)).to_be_visible()
    expect(feed.row(other)).to_have_count(0)
    feed.page.get_by_role("button", name="Clear the filter").click()
    expect(feed.row(other)).to_be_visible()
    expect(feed.page.locator("#filter-error")).to_be_hidden()


def test_pause_and_resume_recovers(jobs, open_feed):
    feed = open_feed("alice")
    kept = jobs.add("alice")
    expect(feed.row(kept)).to_be_visible()
    feed.page.get_by_role("button", name="Pause network").click()
    feed.wait_for_state("paused")
    missed = jobs.add("alice")
    jobs.status(kept, "processing")
    feed.page.get_by_role("button", name="Resume network").click()
    feed.wait_for_state("live")
    expect(feed.row(missed)).to_be_visible()
    expect(feed.row(kept).locator(".chip")).to_have_text("processing")
    notice = feed.page.locator("#notice")
    expect(notice).to_be_visible()
    expect(notice).to_have_attribute("data-recovered", "true")
    assert int(notice.get_attribute("data-caught-up")) >= 2


def test_a_paused_page_receives_nothing(jobs, open_feed):
    feed = open_feed("alice")
    feed.page.get_by_role("button", name="Pause network").click()
    feed.wait_for_state("paused")
    witness = open_feed("alice")
    key = jobs.add("alice")
    expect(witness.row(key)).to_be_visible()
    expect(feed.row(key)).to_have_count(0)


def test_the_page_resumes_after_the_gateway_was_restarted(restartable, jobs, open_feed):
    feed = open_feed("alice", at=restartable, tokens=restartable.tokens, complain=False)
    before = jobs.add("alice")
    expect(feed.row(before)).to_be_visible()
    written = []

    def while_away():
        feed.wait_for_state("reconnecting")
        expect(feed.row(before)).to_be_visible()
        written.append(jobs.add("alice"))

    complaints = []
    feed.page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    restartable.restart(while_away)
    feed.wait_for_state("live", timeout=60_000)
    expect(feed.row(written[0])).to_be_visible()
    expect(feed.page.locator("#notice")).to_have_attribute("data-recovered", "true")
    assert [text for text in complaints if not EXPECTED_WHEN_AWAY.search(text)] == []


def test_the_details_follow_a_job_out_of_the_tab(jobs, open_feed):
    key = jobs.add("alice", "processing")
    feed = open_feed("alice", "processing")
    feed.row(key).click()
    detail = feed.page.get_by_role("dialog")
    expect(detail).to_contain_text(jobs.path)
    expect(feed.row(key)).to_have_attribute("aria-selected", "true")
    jobs.progress(key, 70, "still here")
    expect(detail).to_contain_text("still here")
    jobs.status(key, "success")
    expect(feed.row(key)).to_have_count(0)
    expect(detail.locator("#detail-sum .chip")).to_have_text("success")
    expect(detail.locator("#detail-timeline .event").first).to_contain_text("success")
    assert "errors" not in detail.inner_text()
    feed.page.keyboard.press("Escape")
    expect(detail).to_be_hidden()


def test_everything_can_be_reached_from_the_keyboard(jobs, open_feed):
    keys = jobs.add("alice", count=40)
    feed = open_feed("alice")
    page = feed.page
    expect(feed.row(keys[-1])).to_be_visible()
    jobs.status(keys[-1], "processing")
    expect(feed.event(keys[-1], "update")).to_be_visible()

    def focused():
        return page.evaluate("document.activeElement.id || document.activeElement.dataset.user"
                             " || (document.activeElement.dataset.key ? 'row' : document.activeElement.className)")

    def expect_focus(attribute, value):
        wait_until(
            page, "([name, value]) => document.activeElement.getAttribute(name) === value", arg=[attribute, value]
        )

    seen = []
    for _ in range(20):
        page.keyboard.press("Tab")
        seen.append(focused())
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none" or seen[-1] == "skip", f"no visible focus on {seen}"
        if seen[-1] == "events":
            break
    for stop in ("skip", "alice", "network", "theme", "tab-all", "filter-text", "row", "activity-pause", "events"):
        assert stop in seen, f"{stop} cannot be reached: {seen}"
    assert seen.count("row") == 1

    page.focus("#tab-all")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tab-pending")).to_be_focused()
    expect(page.locator("#tab-pending")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("End")
    expect(page.locator("#tab-failed")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tab-all")).to_have_attribute("aria-selected", "true")
    expect(feed.row(keys[-1])).to_be_visible()

    feed.row(page.locator("#canvas .row[aria-rowindex='2']").get_attribute("data-key")).focus()
    page.keyboard.press("ArrowDown")
    expect_focus("aria-rowindex", "3")
    page.keyboard.press("End")
    total = page.locator("#grid").get_attribute("aria-rowcount")
    expect_focus("aria-rowindex", total)
    page.keyboard.press("Home")
    expect_focus("aria-rowindex", "2")
    key = page.evaluate("document.activeElement.dataset.key")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text(f"Job {key}")
    expect(page.locator("#detail-close")).to_be_focused()
    page.keyboard.press("Escape")
    expect_focus("data-key", key)


def test_ten_thousand_rows_stay_responsive(jobs, open_feed):
    jobs.add("alice", count=10_000)
    feed = open_feed("alice", init="""
        window.longest = 0;
        new PerformanceObserver((list) => {
          for (const { duration } of list.getEntries()) window.longest = Math.max(window.longest, duration);
        }).observe({ type: 'longtask', buffered: false });
    """)
    page = feed.page
    wait_until(page, "Number(document.getElementById('grid').getAttribute('aria-rowcount')) > 10000")
    assert page.locator("#canvas .row").count() < 100
    jobs.rename(f"{jobs.path}-b")
    expect(page.locator("#canvas .row .c-path", has_text=f"{jobs.path}-b").first).to_be_visible()
    page.evaluate("document.getElementById('viewport').scrollTop = 200000")
    wait_until(page, "[...document.querySelectorAll('#canvas .row')].some((row) => row.ariaRowIndex > 2000)")
    assert page.locator("#canvas .row").count() < 100
    shown = page.evaluate("""() => {
        const box = document.getElementById('viewport').getBoundingClientRect();
        return document.elementFromPoint(box.x + 40, box.y + box.height / 2).closest('.row').dataset.key;
    }""")
    newest = jobs.add("alice")
    expect(page.locator("#newer")).to_be_visible()
    # What is being read stays where it is while newer jobs arrive above it.
    assert shown == page.evaluate("""() => {
        const box = document.getElementById('viewport').getBoundingClientRect();
        return document.elementFromPoint(box.x + 40, box.y + box.height / 2).closest('.row').dataset.key;
    }""")
    page.locator("#newer").click()
    expect(feed.row(newest)).to_be_visible()
    # A page that sorts or draws ten thousand rows per change blocks for many seconds; a slow machine does not.
    assert page.evaluate("window.longest") < 3000


CONTRAST = """() => {
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const rgba = (color) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (color) => {
    const [r, g, b] = color.map((value) => value / 255).map((v) =>
        (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255, 255];
  };
  const texts = [...document.querySelectorAll('body *')].filter((element) => element.checkVisibility()
    && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== ''));
  return texts.map((element) => {
    const [a, b] = [luminance(rgba(getComputedStyle(element).color)), luminance(behind(element))].sort((a, b) => b - a);
    return { what: `${element.tagName}.${element.className || element.id} ${element.textContent.slice(0, 30)}`,
      ratio: (a + 0.05) / (b + 0.05) };
  });
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read(jobs, open_feed, theme):
    for status in ("pending", "processing", "success", "failed"):
        jobs.progress(jobs.add("alice", status), 50, "a message")
    feed = open_feed("alice", color_scheme=theme, reduced_motion="reduce")
    key = jobs.add("alice")
    expect(feed.event(key, "enter")).to_be_visible()
    feed.filter("stat=eq.x")
    expect(feed.page.locator("#filter-error")).to_be_visible()
    feed.row(key).click()
    expect(feed.page.get_by_role("dialog")).to_be_visible()
    measured = feed.page.evaluate(CONTRAST)
    assert len(measured) > 40
    assert [text for text in measured if text["ratio"] < 4.5] == []


@pytest.mark.parametrize("width", [360, 768, 1440, 2560])
def test_nothing_sticks_out(jobs, open_feed, width):
    jobs.progress(jobs.add("alice", "processing", path="/a/very/long/path" * 8), 50, "a very long message " * 12)
    feed = open_feed("alice", viewport={"width": width, "height": 740})
    expect(feed.page.locator("#canvas .row").first).to_be_visible()
    assert feed.page.evaluate("document.documentElement.scrollWidth") <= width
    sticking = feed.page.evaluate("""() => [...document.querySelectorAll('.bar *, .board *')]
        .filter((it) => it.checkVisibility() && !it.closest('.tabs, .head, .sr, svg'))
        .filter((it) => it.getBoundingClientRect().right > innerWidth + 1).map((it) => it.className || it.id)""")
    assert sticking == []


def test_the_theme_can_be_chosen_and_stays(open_feed):
    page = open_feed("alice", color_scheme="light").page
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    for _ in range(2):
        page.locator("#theme").click()
    expect(page.locator("#theme")).to_have_attribute("aria-label", "Theme: dark")
    dark = page.evaluate(paper)
    assert dark != light
    page.reload()
    assert page.evaluate(paper) == dark


def test_nothing_is_loaded_from_elsewhere_and_nothing_is_inline(gateway, open_feed):
    page = open_feed("alice").page
    hosts = page.evaluate("performance.getEntriesByType('resource').map((entry) => new URL(entry.name).origin)")
    assert set(hosts) == {gateway.url}
    html = page.evaluate("fetch('/').then((response) => response.text())")
    assert "<style" not in html and " style=" not in html and " onclick=" not in html
    assert page.evaluate("[...document.scripts].every((script) => script.src)")


def test_without_demo_users_the_page_asks_for_a_token(gateway, jobs, browser):
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)
    page.goto(gateway.url)
    token = page.evaluate("fetch('/demo/tokens').then((it) => it.json()).then((it) => it.users[0].token)")
    page.route("**/demo/tokens", lambda route: route.fulfill(status=404, body=""))
    page.goto(f"{gateway.url}/?plain")
    page.get_by_label("Token").fill("not.a.token")
    page.get_by_role("button", name="Connect").click()
    expect(page.get_by_role("heading", name="Another token is needed")).to_be_visible(timeout=30_000)
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Connect").click()
    page.wait_for_selector('#pill[data-state="live"]')
    key = jobs.add("alice")
    expect(page.locator(f'#canvas .row[data-key="{key}"]')).to_be_visible()
    context.close()
