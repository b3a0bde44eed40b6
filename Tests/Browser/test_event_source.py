"""The example of docs/http.md, as it stands there, with a real browser's EventSource."""

import json
import re

from conftest import ROOT, wait_until

EXAMPLE = re.search(r"```js\n(const source = .*?)```", (ROOT / "docs" / "http.md").read_text(encoding="utf-8"), re.S)[1]

RUN = """([url, token, example]) => {
  Object.assign(window, new Function("url", "token", example + "; return { source, rows }")(url, token))
  window.answers = []
  source.addEventListener("subscribed", (event) => answers.push(JSON.parse(event.data).recovered))
}"""


def test_event_source_goes_on_after_the_gateway_was_away(restartable, open_page, jobs):
    kept, gone = jobs.add(), jobs.add()
    token = json.loads(restartable.tokens)["users"][0]["token"]
    # The console says that the gateway was away.
    page = open_page(restartable.url + "/openapi.json", complain=False)
    page.evaluate(RUN, [restartable.url, token, EXAMPLE])
    is_shown = "([job, status]) => rows.get(job)?.status === status"
    wait_until(page, is_shown, [kept, "pending"])
    jobs.status(kept, "processing")
    wait_until(page, is_shown, [kept, "processing"])

    def meanwhile():
        jobs.status(kept, "success")
        jobs.delete(gone)

    restartable.restart(meanwhile)
    wait_until(page, is_shown, [kept, "success"])
    assert page.evaluate("answers") == [False, True]
    assert page.evaluate("job => rows.has(job)", gone) is False
    page.evaluate("source.close()")
