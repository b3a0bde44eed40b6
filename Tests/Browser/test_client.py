"""jobfeed.js on its own: a scripted WebSocket plays the server, and the browser's clock is ours."""

import json

import pytest

SETUP = """
window.sockets = [];
window.fetched = [];
window.answer = () => { throw new TypeError('nobody there'); };
class ScriptedSocket {
  constructor(url, protocols) {
    Object.assign(this, { url, protocols, readyState: 0, sent: [], closedWith: undefined });
    sockets.push(this);
  }
  send(text) { this.sent.push(JSON.parse(text)); }
  close(code, reason) { this.readyState = 3; this.closedWith = code; }
  open() { this.readyState = 1; this.onopen?.({}); }
  say(...frames) { for (const frame of frames) this.onmessage?.({
      data: typeof frame === 'string' ? frame : JSON.stringify(frame) }); }
  end(code, reason = '') { this.readyState = 3; this.onclose?.({ code, reason }); }
  welcome(more = {}) {
    this.open();
    this.say({ type: 'welcome', connection: 'c', node: 'n', user: 'alice', access: 'account', heartbeat_seconds: 25,
      expires_at: new Date(Date.now() + 3600e3).toISOString(), limits: {}, ...more });
  }
}
window.last = () => sockets.at(-1);
window.turn = async () => { for (let i = 0; i < 20; i += 1) await null; };
window.begin = async (options = {}, subscribe = {}) => {
  const { JobFeed } = await import('/jobfeed.js');
  window.log = [];
  window.feed = new JobFeed('http://gateway.test', {
    token: 'the.jwt.token', WebSocket: ScriptedSocket, backoff: { random: () => 1 },
    fetch: async (url, init) => { fetched.push({ url: String(url), headers: init.headers }); return answer(); },
        ...options,
  });
  for (const type of ['state', 'error']) {
    feed.on(type, (detail) => log.push([type, detail.state ?? detail.code, detail.code]));
  }
  window.jobs = feed.subscribe('jobs', subscribe);
  for (const type of ['change', 'batch', 'snapshot', 'live', 'reset', 'error']) {
    jobs.on(type, (detail) => log.push([type, structuredClone({ ...detail, message: detail.message })]));
  }
  feed.connect();
  await turn();
};
window.live = (rows = [], cursor = 'c0') => last().say(
  { type: 'subscribed', id: 's1', recovered: false, reason: 'no_cursor' },
  { type: 'snapshot', id: 's1', rows, truncated: false },
  { type: 'live', id: 's1', cursor });
window.shown = () => Object.fromEntries(jobs.rows);
window.resumes = () => last().sent.filter(({ type }) => type === 'subscribe').map(({ resume }) => resume);
"""


@pytest.fixture
def page(open_page, files):
    page = open_page(f"{files}/blank")
    page.clock.install()
    page.add_script_tag(content=SETUP)
    return page


def run(page, script):
    return page.evaluate(f"async () => {{ {script} }}")


def test_it_says_hello_with_the_token_as_a_subprotocol(page):
    socket = run(page, """await begin(); last().welcome(); return {url: last().url, protocols: last().protocols,
        sent: last().sent}""")
    assert socket["url"] == "ws://gateway.test/v1/feed"
    assert socket["protocols"] == ["jobfeed.v1", "bearer.the.jwt.token"]
    assert socket["sent"] == [{"type": "subscribe", "id": "s1", "channel": "jobs"}]


def test_every_option_is_sent_under_its_name_on_the_wire(page):
    sent = run(page, """await begin({}, {filter: 'path=eq./x', columns: ['status'], limit: 5, maxRate: 4,
        snapshot: false, resume: 'r'});
        last().welcome(); return last().sent[0]""")
    assert sent == {
        "type": "subscribe", "id": "s1", "channel": "jobs", "filter": "path=eq./x", "columns": ["status"],
        "limit": 5, "max_rate": 4, "snapshot": False, "resume": "r",
    }


def test_it_is_live_only_after_live(page):
    states = run(page, """await begin(); last().welcome();
        last().say({type: 'subscribed', id: 's1', recovered: false}, {type: 'snapshot', id: 's1', rows: [{id: 1}]});
        const before = [feed.state, jobs.state, jobs.rows.size];
        last().say({type: 'live', id: 's1', cursor: 'c1'});
        return [before, [feed.state, jobs.state, jobs.rows.size]]""")
    assert states == [["connecting", "subscribing", 0], ["live", "live", 1]]


def test_changes_enter_update_and_leave(page):
    rows = run(page, """await begin(); last().welcome(); live([{id: 1, status: 'pending', note: 'x'}, {id: 2,
        status: 'pending'}]);
        last().say({type: 'changes', id: 's1', cursor: 'c1', at: '2026-01-01T00:00:00Z', changes: [
          {op: 'update', key: '1', set: {status: 'processing', note: null}},
          {op: 'update', key: '99', set: {status: 'processing'}},
          {op: 'enter', key: '2', reason: 'permission', row: {id: 2, status: 'failed'}},
          {op: 'enter', key: '3', reason: 'created', row: {id: 3, status: 'pending'}},
          {op: 'leave', key: '3', reason: 'deleted'}, {op: 'grow', key: '1'}]});
        return shown()""")
    assert rows == {"1": {"id": 1, "status": "processing", "note": None}, "2": {"id": 2, "status": "failed"}}


def test_a_column_named_like_a_trap_is_only_a_column(page):
    assert run(page, """await begin(); last().welcome(); live([{id: 1}]);
        last().say('{"type":"changes","id":"s1","cursor":"c1","changes":'
          + '[{"op":"update","key":"1","set":{"__proto__":{"polluted":1}}}]}');
        return [jobs.rows.get('1').polluted, {}.polluted]""") == [None, None]


def test_the_server_names_the_keys_where_it_can(page):
    assert run(page, """await begin(); last().welcome(); last().say({type: 'subscribed', id: 's1', recovered: false},
        {type: 'snapshot', id: 's1', keys: ['9007199254740993'], rows: [{id: 1}]}, {type: 'live', id: 's1',
        cursor: 'c'});
        return [...jobs.rows.keys()]""") == ["9007199254740993"]


def test_a_reset_keeps_the_old_rows_until_live(page):
    seen = run(page, """await begin(); last().welcome(); live([{id: 1, n: 'old'}]);
        const seen = [];
        last().say({type: 'reset', id: 's1', reason: 'retention'}); seen.push(shown());
        last().say({type: 'snapshot', id: 's1', rows: [{id: 2, n: 'new'}]}); seen.push(shown());
        last().say({type: 'changes', id: 's1', cursor: 'c5', changes: [{op: 'update', key: '2',
        set: {n: 'newer'}}]}); seen.push(shown());
        const cursor = jobs.cursor;
        last().say({type: 'live', id: 's1', cursor: 'c6'}); seen.push(shown());
        return [seen, cursor, jobs.cursor, log.filter(([type]) => type === 'reset')[0][1].reason]""")
    old = {"1": {"id": 1, "n": "old"}}
    assert seen == [[old, old, old, {"2": {"id": 2, "n": "newer"}}], "c0", "c6", "retention"]


def test_a_reset_that_is_cut_short_resumes_with_what_is_shown(page):
    assert run(page, """await begin(); last().welcome(); live([{id: 1}]);
        last().say({type: 'reset', id: 's1', reason: 'retention'}, {type: 'snapshot', id: 's1', rows: [{id: 2}]});
        last().end(1006); return [shown(), jobs.cursor]""") == [{"1": {"id": 1}}, "c0"]


def test_the_cursor_moves_only_after_the_whole_batch_was_applied(page):
    seen = run(page, """await begin(); last().welcome(); live([{id: 1, n: 0}]);
        jobs.on('change', () => seen.push(['told', jobs.cursor, jobs.rows.get('1').n]));
        const seen = [];
        last().say({type: 'changes', id: 's1', changes: [{op: 'update', key: '1', set: {n: 1}}]});
        seen.push(['half', jobs.cursor, jobs.rows.get('1').n]);
        last().say({type: 'changes', id: 's1', cursor: 'c1', changes: [{op: 'update', key: '1', set: {n: 2}}]});
        seen.push(['whole', jobs.cursor, jobs.rows.get('1').n]);
        return seen""")
    assert seen == [["half", "c0", 0], ["told", "c1", 2], ["told", "c1", 2], ["whole", "c1", 2]]


def test_half_a_batch_is_forgotten_when_the_connection_breaks(page):
    seen = run(page, """await begin(); last().welcome(); live([{id: 1, n: 0}]);
        last().say({type: 'changes', id: 's1', changes: [{op: 'update', key: '1', set: {n: 1}}, {op: 'leave',
        key: '1', reason: 'deleted'}]});
        last().end(1006); return [shown(), jobs.cursor]""")
    assert seen == [{"1": {"id": 1, "n": 0}}, "c0"]
    page.clock.run_for(1_000)
    seen = run(page, """last().welcome(); const resumed = resumes();
        last().say({type: 'subscribed', id: 's1', recovered: true},
          {type: 'changes', id: 's1', cursor: 'c1', changes: [{op: 'update', key: '1', set: {n: 1}}]},
          {type: 'live', id: 's1', cursor: 'c2'});
        const live = log.filter(([type]) => type === 'live').at(-1)[1];
        return [resumed, shown(), jobs.cursor, live.recovered, live.caughtUp, live.replaced]""")
    assert seen == [["c0"], {"1": {"id": 1, "n": 1}}, "c2", True, 1, False]


def test_a_failing_listener_harms_no_one(page, open_page):
    assert run(page, """window.reportError = (error) => log.push(['reported', error.message]);
        await begin(); last().welcome(); live([{id: 1}]); jobs.on('batch', () => { throw new Error('mine'); });
        last().say({type: 'changes', id: 's1', cursor: 'c1', changes: [{op: 'leave', key: '1', reason: 'deleted'}]});
        return [jobs.cursor, jobs.rows.size, log.at(-1)]""") == ["c1", 0, ["reported", "mine"]]


def test_a_heartbeat_moves_the_cursor_of_live_views_only(page):
    seen = run(page, """await begin(); last().welcome(); live();
        const late = feed.subscribe('jobs:failed'); const half = feed.subscribe('jobs:success');
        last().say({type: 'subscribed', id: 's3', recovered: false}, {type: 'live', id: 's3', cursor: 'h0'},
          {type: 'changes', id: 's3', changes: [{op: 'enter', key: '1', reason: 'created', row: {id: 1}}]},
          {type: 'heartbeat', as_of: new Date().toISOString(), cursor: 'c9', surprise: [1]});
        return [jobs.cursor, late.cursor ?? null, half.cursor]""")
    assert seen == ["c9", None, "h0"]


def test_unknown_frames_and_fields_are_tolerated(page):
    seen = run(page, """await begin(); last().welcome({novelty: {}});
        last().say({type: 'fireworks', id: 's1'}, {type: 'fireworks'}, {type: 'changes', id: 'nobody', changes: [{}]});
        live([{id: 1}]); last().say({type: 'live', id: 's77', cursor: 'x'}, {type: 'pong', id: '?'});
        return [feed.state, jobs.rows.size, log.filter(([type]) => type === 'error').length]""")
    assert seen == ["live", 1, 0]


@pytest.mark.parametrize("garbage", ["{", "[]", "null", "7", '"text"', '{"type":5}'])
def test_what_is_no_frame_costs_the_connection_but_not_the_view(page, garbage):
    seen = run(page, f"""await begin(); last().welcome(); live([{{id: 1}}]); last().say({json.dumps(garbage)});
        return [feed.state, jobs.cursor, jobs.rows.size, sockets[0].closedWith]""")
    assert seen == ["reconnecting", "c0", 1, 4500]
    page.clock.run_for(1_000)
    assert run(page, "last().welcome(); return resumes()") == ["c0"]


def test_counts_are_assigned(page):
    counts = run(page, """await begin(); const counts = feed.subscribe('jobs#counts'); last().welcome();
        last().say({type: 'subscribed', id: 's2', recovered: false}, {type: 'snapshot', id: 's2',
        counts: {pending: 3, failed: 1}},
          {type: 'live', id: 's2', cursor: 'c'}, {type: 'changes', id: 's2', cursor: 'd', counts: {pending: 2,
          success: 1}});
        return [counts.counts, counts.cursor]""")
    assert counts == [{"pending": 2, "failed": 1, "success": 1}, "d"]


def test_backoff_grows_to_twenty_seconds_and_jitters_fully(page):
    bounds = run(page, """const {backoffDelay} = await import('/jobfeed.js');
        return Array.from({length: 12}, (_, n) => [backoffDelay(n, {random: () => 0}), backoffDelay(n, {random: () =>
        1})])""")
    assert [low for low, _ in bounds] == [0] * 12
    assert [high for _, high in bounds] == [500, 1000, 2000, 4000, 8000, 16000] + [20000] * 6
    spread = run(page, """const {backoffDelay} = await import('/jobfeed.js');
        return Array.from({length: 500}, () => backoffDelay(9))""")
    assert min(spread) < 4000 and max(spread) > 16000 and max(spread) <= 20000


def test_it_waits_longer_each_time_and_starts_over_after_it_was_live_for_a_while(page):
    delays = run(page, """window.delays = []; await begin(); feed.on('state', (it) =>
        it.retryAt && delays.push(Math.round((it.retryAt - Date.now()) / 10) * 10));
        last().welcome(); live(); last().end(1006); return delays""")
    assert delays == [500]
    for _ in range(3):
        page.clock.run_for(8_000)
        run(page, "await turn(); last().open(); last().end(1012)")
    assert run(page, "return delays") == [500, 1000, 2000, 4000]
    page.clock.run_for(8_000)
    run(page, "await turn(); last().welcome(); live()")
    page.clock.run_for(6_000)
    assert run(page, "last().end(1001); return delays.at(-1)") == 500


def test_being_online_again_ends_the_waiting(page):
    seen = run(page, """await begin(); last().welcome(); live(); last().end(1006); const before = sockets.length;
        dispatchEvent(new Event('online')); await turn(); return [before, sockets.length]""")
    assert seen == [1, 2]


def test_a_rate_limit_is_obeyed(page):
    assert run(page, """await begin(); last().welcome(); live(); let wait;
        feed.on('state', (it) => (wait = Math.round((it.retryAt - Date.now()) / 10) * 10));
        last().end(4003, 'retry in 45 s');
        return wait""") == 45_000


@pytest.mark.parametrize("code,name", [(4500, "protocol_error"), (4501, "unauthenticated"), (4503, "forbidden"),
                                       (4504, "revoked"), (4508, "authentication_timeout"),
                                       (4509, "connection_limit"), (4777, "closed_for_good")])
def test_terminal_codes_stop_it(page, code, name):
    seen = run(page, f"""await begin(); last().welcome(); live([{{id: 1}}]); last().end({code}, 'why');
        return [feed.state, feed.error.code, feed.error.closeCode, feed.error.message.includes('why')]""")
    assert seen == ["closed", name, code, True]
    page.clock.run_for(120_000)
    assert run(page, "dispatchEvent(new Event('online')); await turn(); return sockets.length") == 1


@pytest.mark.parametrize("code", [1001, 1006, 1011, 1012, 4000, 4002, 4003, 4004, 4321])
def test_other_codes_reconnect(page, code):
    state = run(page, f"await begin(); last().welcome(); live(); last().end({code}); return feed.state")
    assert state == "reconnecting"
    page.clock.run_for(1_000)
    assert run(page, "last().welcome(); return resumes()") == ["c0"]


def test_an_expired_token_is_replaced_where_one_can_be_asked_for(page):
    run(page, """window.reasons = []; await begin({token: async ({reason}) => { reasons.push(reason);
        return 'token.' + reasons.length; }});
        last().welcome(); live(); last().end(4001)""")
    page.clock.run_for(1_000)
    assert run(page, "await turn(); return [reasons, last().protocols[1]]") == [["connect", "expired"],
        "bearer.token.2"]


def test_an_expired_token_that_cannot_be_replaced_is_the_end(page):
    assert run(page, """await begin(); last().welcome(); live(); last().end(4001); return [feed.state,
        feed.error.code]""") == [
        "closed", "token_expired"]


def test_the_token_is_renewed_on_the_open_connection_ahead_of_time(page):
    run(page, """window.reasons = []; await begin({token: ({reason}) => { reasons.push(reason);
        return 'token.' + reasons.length; }});
        last().welcome({heartbeat_seconds: 60, expires_at: new Date(Date.now() + 100e3).toISOString()}); live()""")
    page.clock.run_for(70_000)
    assert run(page, "await turn(); return reasons") == ["connect"]
    page.clock.run_for(12_000)
    sent = run(page, "await turn(); return last().sent.find(({type}) => type === 'authenticate')")
    assert sent["token"] == "token.2"
    run(page, """last().say({type: 'authenticated', id: 'a',
        expires_at: new Date(Date.now() + 3600e3).toISOString()})""")
    page.clock.run_for(15_000)
    assert run(page, "await turn(); return [reasons, sockets.length]") == [["connect", "expiring"], 1]


def test_a_server_that_is_away_is_waited_for(page):
    run(page, "await begin(); last().end(1006)")
    for _ in range(12):
        page.clock.run_for(20_000)
        run(page, "await turn(); if (last().readyState === 0) last().end(1006); await turn()")
    assert run(page, "return [feed.state, fetched.length > 5, sockets.length > 5]") == ["reconnecting", True, True]


def test_a_refused_token_is_told_from_a_server_that_is_away(page):
    run(page, """window.answer = () => new Response('{"detail":"the token is signed by nobody we know"}',
          {status: 401, headers: {'content-type': 'application/problem+json'}});
        await begin(); last().end(1006)""")
    page.clock.run_for(1_000)
    run(page, "await turn(); last().end(1006); await turn(); await turn(); await turn()")
    page.wait_for_function("feed.error")
    seen = run(page, """return [feed.state, feed.error.code, feed.error.message, fetched[0].url,
        fetched[0].headers.Authorization]""")
    assert seen == ["closed", "token_refused", "the token is signed by nobody we know", "http://gateway.test/v1/feed",
                    "Bearer the.jwt.token"]


def test_a_server_that_is_there_but_refuses_is_not_asked_forever(page):
    run(page, """window.answer = () => new Response('', {status: 426}); window.reasons = [];
        await begin({token: async ({reason}) => { reasons.push(reason); return 'a.b.c'; }})""")
    for _ in range(10):
        run(page, "await turn(); if (last().readyState === 0) last().end(1006); await turn()")
        page.clock.run_for(9_000)
    page.wait_for_function("feed.error")
    assert run(page, "return [feed.state, feed.error.code, sockets.length, reasons]") == [
        "closed", "upgrade_refused", 4, ["connect", "connect", "refused", "refused"]]


def test_two_heartbeats_of_silence_are_behind_and_three_are_gone(page):
    run(page, "await begin(); last().welcome(); live()")
    page.clock.run_for(45_000)
    assert run(page, "return feed.state") == "live"
    page.clock.run_for(12_000)
    assert run(page, "return [feed.state, last().sent.at(-1).type]") == ["behind", "ping"]
    assert run(page, "last().say({type: 'pong', id: 'alive'}); return feed.state") == "live"
    page.clock.run_for(58_000)
    assert run(page, "return feed.state") == "behind"
    page.clock.run_for(30_000)
    assert run(page, "return sockets[0].closedWith") == 4000
    assert run(page, "return feed.state") == "reconnecting"


def test_an_old_heartbeat_is_behind_and_a_wrong_clock_is_not(page):
    states = run(page, """await begin(); const skewed = Date.now() - 3600e3; const at = (ms) =>
        new Date(ms).toISOString();
        last().welcome({expires_at: at(skewed + 600e3)}); live();
        const beat = (age) => { last().say({type: 'heartbeat', as_of: at(skewed - age), token_expires_in: 600});
        return feed.state; };
        return [beat(0), beat(30e3), beat(1e3)]""")
    assert states == ["live", "behind", "live"]


def test_an_error_fails_one_view_and_leaves_the_others(page):
    seen = run(page, """await begin(); const other = feed.subscribe('jobs:failed', {filter: 'stat=eq.x'});
        last().welcome(); live();
        last().say({type: 'error', id: 's2', code: 'invalid_filter', message: 'no column "stat"', retry: false});
        return [feed.state, jobs.state, other.state, other.error.code, other.error.message]""")
    assert seen == ["live", "live", "failed", "invalid_filter", 'no column "stat"']


def test_an_error_that_may_pass_is_tried_again(page):
    run(page, """await begin(); last().welcome();
        last().say({type: 'error', id: 's1', code: 'unavailable', message: 'busy', retry: true})""")
    page.clock.run_for(3_000)
    assert run(page, "return last().sent.filter(({type}) => type === 'subscribe').length") == 2


def test_closing_a_view_waits_for_the_answer_and_ignores_what_is_on_the_way(page):
    seen = run(page, """await begin(); last().welcome(); live([{id: 1}]); let closed = false;
        jobs.close().then(() => (closed = true)); await turn(); const early = closed;
        last().say({type: 'changes', id: 's1', cursor: 'c1', changes: [{op: 'leave', key: '1', reason: 'deleted'}]});
        const size = jobs.rows.size;
        last().say({type: 'unsubscribed', id: 's1'}); await turn();
        return [early, size, closed, jobs.state, feed.subscriptions.length, last().sent.at(-1)]""")
    assert seen == [False, 1, True, "closed", 0, {"type": "unsubscribe", "id": "s1"}]


def test_a_failed_view_that_is_closed_is_forgotten(page):
    seen = run(page, """await begin(); last().welcome();
        last().say({type: 'error', id: 's1', code: 'invalid_filter', message: 'no', retry: false});
        const sent = last().sent.length; await jobs.close(); return [jobs.state, feed.subscriptions.length,
          last().sent.length - sent]""")
    assert seen == ["closed", 0, 0]


def test_closing_a_view_ends_with_the_connection(page):
    assert run(page, """await begin(); last().welcome(); live(); const closing = jobs.close(); last().end(1006);
        await closing; return [jobs.state, feed.subscriptions.length]""") == ["closed", 0]


def test_close_and_connect_continue_from_the_cursor(page):
    seen = run(page, """await begin(); last().welcome(); live([{id: 1}]); feed.close(); const state = feed.state;
        const code = sockets[0].closedWith; feed.connect(); await turn(); last().welcome();
        return [state, code, resumes(), jobs.rows.size]""")
    assert seen == ["closed", 1000, ["c0"], 1]


def test_views_survive_a_reload_together_with_their_cursor(page):
    seen = run(page, """const {storedViews} = await import('/jobfeed.js'); sessionStorage.clear();
        await begin({store: storedViews()}); last().welcome(); live([{id: 1, n: 'kept'}]); feed.close();
        await begin({store: storedViews()}); last().welcome(); const mine = [resumes(), shown()]; feed.close();
        await begin({store: storedViews()}); last().welcome({user: 'bob'}); return [...mine, resumes(), shown()]""")
    assert seen == [["c0"], {"1": {"id": 1, "n": "kept"}}, [None], {}]


def test_what_is_no_token_is_said_so_at_once(page):
    assert run(page, "await begin({token: 'two words', WebSocket}); return [feed.state, feed.error.code]") == [
        "closed", "invalid_token"]


def test_a_token_that_cannot_be_had_is_asked_for_again(page):
    assert run(page, """window.asked = 0; await begin({token: async () => { asked += 1;
        throw new Error('login first'); }});
        await turn(); return [feed.state, log.find(([type]) => type === 'error')[1]]""") == [
            "reconnecting", "token_unavailable"]
    page.clock.run_for(2_000)
    assert run(page, "return asked > 1")


def test_keys_are_kept_in_order_without_sorting_again(page):
    assert run(page, """const {Ordered, newestFirst} = await import('/ordered.js'); const list = new Ordered();
        const truth = new Map();
        let seed = 7; const random = (n) => (seed = (seed * 48271) % 2147483647) % n;
        for (let round = 0; round < 60; round += 1) {
          const moves = new Map();
          for (let i = random(3) === 0 ? 300 : 5; i > 0; i -= 1) moves.set(String(random(900)),
          random(4) === 0 ? null : random(50));
          list.apply(moves);
          for (const [key, time] of moves) { if (time === null) truth.delete(key); else truth.set(key, time); }
          const expected = [...truth].map(([key, time]) => ({key, time})).sort(newestFirst);
          if (JSON.stringify(expected) !== JSON.stringify(list.entries)) return `round ${round}`;
          if (expected.some(({key}, index) => list.indexOf(key) !== index)) return `index in round ${round}`;
        }
        return 'same'""") == "same"
