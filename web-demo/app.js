/** The page: who is looking, which jobs, and how the connection does. @module app */

import { Activity, happening } from './activity.js';
import { Detail, Histories } from './detail.js';
import { FINAL, STATUSES, byId, duration, element, number, plural } from './format.js';
import { JobFeed } from './jobfeed.js';
import { JobList } from './joblist.js';

/** @typedef {import('./jobfeed.js').AppliedChange} AppliedChange */
/** @typedef {import('./jobfeed.js').JobFeedError} JobFeedError */
/** @typedef {import('./jobfeed.js').StateDetail} StateDetail */
/** @typedef {import('./jobfeed.js').Subscription} Subscription */
/** @typedef {{name: string, access: string, token: string}} User */

const TABS = ['all', ...STATUSES];
const LIMIT = 10_000;
const MAX_RATE = 8;
const NOTICE_FOR = 15_000;
const TOKEN_ERRORS = new Set(['token_expired', 'token_refused', 'unauthenticated', 'invalid_token', 'upgrade_refused']);
/** @type {Record<string, string>} */
const NOT_RECOVERED = {
  retention: 'the gap was longer than the server keeps', epoch: 'the database is another one now',
  malformed_cursor: 'the server did not know where we were',
};

/** @type {User[]} */ let users = [];
let feedName = 'jobs';
/** @type {User|undefined} */ let user;
/** @type {JobFeed|undefined} */ let feed;
/** @type {Subscription|undefined} */ let jobs;
/** @type {Subscription|undefined} */ let next;
let tab = 'all';
let filter = '';
let acceptedFilter = '';
let paused = false;
let awaySince = 0;
/** @type {StateDetail} */ let link = { state: 'closed', previous: 'closed' };
let countdown = 0;
let noticeTimer = 0;
/** @type {Record<string, number>} */ let outcomes = {};
let outcomeTimer = 0;

const histories = new Histories();
const activity = new Activity();
const list = new JobList({
  onOpen: (key) => feed && detail.open(feed, feedName, key, jobs?.rows.get(key)),
  onForget: (key) => jobs?.forget(key),
  onDrawn: (count) => drawTotal(count),
});
const detail = new Detail(histories, (key, hadFocus) => {
  list.select(key);
  if (key === undefined && hadFocus) list.focus();
});

// ----------------------------------------------------------------------------------------------------------- who looks

async function start() {
  readAddress();
  drawTabs();
  try {
    const response = await fetch('demo/tokens', { cache: 'no-store' });
    if (response.ok) {
      const answer = await response.json();
      users = answer.users;
      feedName = answer.feed ?? feedName;
    } else if (response.status !== 404) {
      throw new Error(`HTTP ${response.status}`);
    }
  } catch (error) {
    drawPill('away', 'no answer');
    showState('error', 'The gateway does not answer', error instanceof Error ? error.message : String(error),
      { action: 'Try again', onAction: start });
    return;
  }
  if (users.length > 0) {
    drawUsers();
    choose(users.find(({ name }) => name === addressUser()) ?? users[0]);
  } else {
    const token = sessionStorage.getItem('jobfeed.token');
    if (token) connect(token);
    else askForToken();
  }
}

/** @param {User} chosen */
function choose(chosen) {
  user = chosen;
  drawUsers();
  connect(async ({ reason }) => {
    if (reason === 'connect') return chosen.token;
    const response = await fetch('demo/tokens', { cache: 'no-store' });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    /** @type {{users: User[]}} */ const answer = await response.json();
    for (const { name, token } of answer.users) {
      const known = users.find((user) => user.name === name);
      if (known) known.token = token;
    }
    return chosen.token;
  });
  writeAddress();
}

/** @param {JobFeedError} [error] */
function askForToken(error) {
  sessionStorage.removeItem('jobfeed.token');
  drawPill('away', 'no token');
  showState('token', error ? 'Another token is needed' : 'Who is looking?',
    error ? error.message : 'This gateway has no demo users. Paste a token; it stays in this tab.');
}

/** @param {string | (({reason}: {reason: string}) => Promise<string>)} token */
function connect(token) {
  feed?.close();
  detail.close();
  histories.clear();
  activity.clear();
  list.replace(new Map());
  hideNotice();
  paused = false;
  awaySince = 0;
  jobs = next = undefined;
  showState('loading', '', '');
  byId('who').textContent = '';
  const mine = new JobFeed('/', { token });
  feed = mine;
  mine.on('state', (detail) => mine === feed && stateChanged(detail));
  mine.on('welcome', ({ user, access, node }) => (byId('who').textContent = `${user} · ${access} · ${node}`));
  mine.on('error', (error) => mine === feed && failed(error));
  const counts = mine.subscribe(`${feedName}#counts`, {
    onLive: () => drawCounts(counts.counts),
    onBatch: () => drawCounts(counts.counts),
  });
  drawCounts(undefined);
  subscribe();
  mine.connect();
  byId('network').hidden = false;
}

// ------------------------------------------------------------------------------------------------------------ the view

/** Asks for another view and shows it once it is complete; until then the old one stays. */
function subscribe() {
  const mine = /** @type {JobFeed} */ (feed);
  next?.close();
  const channel = tab === 'all' ? feedName : `${feedName}:${tab}`;
  const wanted = filter;
  byId('grid').setAttribute('aria-busy', 'true');
  const subscription = mine.subscribe(channel, {
    filter: wanted || undefined, limit: LIMIT, maxRate: MAX_RATE,
    onLive: (detail) => {
      if (subscription === next) {
        jobs?.close();
        jobs = subscription;
        next = undefined;
        acceptedFilter = wanted;
        byId('grid').removeAttribute('aria-busy');
        list.replace(jobs.rows);
      } else if (detail.replaced) {
        list.replace(subscription.rows, { keepPlace: true });
      }
      drawState();
      if (awaySince > 0) returned(detail);
    },
    onBatch: ({ changes }) => {
      if (subscription !== jobs) return;
      activity.count(changes.length);
      for (const change of changes) {
        list.changed(change, subscription.rows);
        saw(change);
      }
    },
    onError: (error) => {
      if (error.retry) return;
      if (subscription === jobs) showState('error', 'This view can no longer be shown', error.message);
      if (subscription !== next) return;
      next = undefined;
      subscription.close();
      byId('grid').removeAttribute('aria-busy');
      filter = acceptedFilter;
      if (wanted && wanted !== filter) filterError(error.message);
      else showState('error', 'This view cannot be shown', error.message);
    },
  });
  next = subscription;
}

/** @param {AppliedChange} change */
function saw(change) {
  const event = happening(change);
  histories.add(event);
  activity.add(event);
  if (event.to && event.op !== 'enter' && FINAL.has(event.to)) {
    outcomes[event.to] = (outcomes[event.to] ?? 0) + 1;
    outcomes.last = Number(change.key);
    outcomeTimer ||= window.setTimeout(announceOutcomes, 1500);
  }
}

function announceOutcomes() {
  outcomeTimer = 0;
  const { success = 0, failed = 0, last } = outcomes;
  outcomes = {};
  if (success + failed === 1) {
    announce(`Job ${last} ${failed ? 'failed' : 'succeeded'}.`);
  } else {
    const parts = [success && `${number(success)} succeeded`, failed && `${number(failed)} failed`].filter(Boolean);
    announce(`${plural(success + failed, 'job')} finished: ${parts.join(', ')}.`);
  }
}

/** @param {string} text */
function announce(text) {
  byId('announcer').textContent = text;
}

// ------------------------------------------------------------------------------------------------------ the connection

/** @param {StateDetail} detail */
function stateChanged(detail) {
  const before = link.state;
  link = detail;
  if (detail.state === 'reconnecting' && awaySince === 0) awaySince = Date.now();
  clearInterval(countdown);
  if (detail.state !== 'live') hideNotice();
  if (detail.state === 'reconnecting') countdown = window.setInterval(drawLink, 250);
  drawLink();
  drawState();
  if (before === detail.state) return;
  if (detail.state === 'live') announce('Live.');
  else if (detail.state === 'behind') announce('The feed is behind.');
  else if (detail.state === 'reconnecting') announce('Connection lost, reconnecting.');
  else if (detail.state === 'closed' && paused) announce('Network paused.');
}

function drawLink() {
  const { state, retryAt, lagSeconds, error } = link;
  const button = byId('network');
  byId('network-text').textContent = paused ? 'Resume network' : 'Pause network';
  button.querySelector('use')?.setAttribute('href', paused ? '#i-play' : '#i-pause');
  button.hidden = !feed || error !== undefined;
  if (state === 'closed') {
    drawPill(paused ? 'paused' : error ? 'stopped' : 'away', paused ? 'paused' : error ? 'stopped' : 'starting');
  } else if (state === 'behind') {
    drawPill(state, lagSeconds ? `behind ${duration(lagSeconds * 1000)}` : 'behind');
  } else if (state === 'reconnecting') {
    const seconds = Math.ceil(((retryAt ?? 0) - Date.now()) / 1000);
    drawPill(state, seconds > 0 ? `reconnecting in ${seconds} s` : 'reconnecting');
  } else {
    drawPill(state, state);
  }
}

/** @param {string} state @param {string} text */
function drawPill(state, text) {
  const pill = byId('pill');
  pill.dataset.state = state;
  pill.title = link.reason ?? '';
  byId('pill-text').textContent = text;
}

function toggleNetwork() {
  if (!feed) return;
  paused = !paused;
  if (paused) {
    awaySince ||= Date.now();
    hideNotice();
    feed.close();
    activity.add({ time: Date.now(), op: 'link', text: 'network paused', gauge: false });
  } else {
    feed.connect();
  }
}

/** @param {{recovered: boolean, reason: string|undefined, caughtUp: number}} detail */
function returned({ recovered, reason, caughtUp }) {
  const away = duration(Date.now() - awaySince);
  awaySince = 0;
  if (reason === 'no_cursor') return;
  const why = NOT_RECOVERED[reason ?? ''] ?? reason ?? 'no reason given';
  const text = recovered
    ? `Recovered after ${away}: ${caughtUp ? `caught up on ${plural(caughtUp, 'change')}` : 'nothing had changed'}.`
    : `Back after ${away} with a fresh view: ${why}.`;
  const notice = byId('notice');
  notice.textContent = text;
  notice.dataset.recovered = String(recovered);
  notice.dataset.caughtUp = String(caughtUp);
  notice.hidden = false;
  announce(text);
  clearTimeout(noticeTimer);
  noticeTimer = window.setTimeout(hideNotice, NOTICE_FOR);
  activity.add({
    time: Date.now(), op: 'link', gauge: false,
    text: recovered ? `recovered, ${plural(caughtUp, 'change')} caught up` : `fresh view (${reason ?? 'unknown'})`,
  });
}

function hideNotice() {
  byId('notice').hidden = true;
}

/** @param {JobFeedError} error */
function failed(error) {
  if (feed?.error !== error) {
    activity.add({ time: Date.now(), op: 'link', text: error.message, gauge: false });
    return;
  }
  announce(`The feed has stopped. ${error.message}`);
  if (users.length === 0 && TOKEN_ERRORS.has(error.code)) {
    feed = undefined;
    byId('network').hidden = true;
    askForToken(error);
    return;
  }
  showState('error', 'The feed has stopped', error.message, {
    action: 'Connect again',
    onAction: () => {
      showState('loading', '', '');
      feed?.connect();
    },
  });
}

// ------------------------------------------------------------------------------------------------- what stands instead

/**
 * @param {'loading'|'empty'|'error'|'token'} kind
 * @param {string} title
 * @param {string} text
 * @param {{code?: string, action?: string, onAction?: () => void}} [more]
 */
function showState(kind, title, text, more = {}) {
  const state = byId('state');
  state.dataset.kind = kind;
  byId('state-title').textContent = title;
  byId('state-text').textContent = text;
  byId('state-code').textContent = more.code ?? '';
  byId('state-code').hidden = !more.code;
  byId('token').hidden = kind !== 'token';
  const action = /** @type {HTMLButtonElement} */ (byId('state-action'));
  action.hidden = !more.action;
  action.textContent = more.action ?? '';
  action.onclick = more.onAction ?? null;
  state.hidden = false;
  byId('panel').dataset.kind = kind;
  document.body.classList.toggle('asking', kind === 'token');
  if (kind !== 'loading') byId('grid').removeAttribute('aria-busy');
}

/** The list, or what to say when it is empty. */
function drawState() {
  const panel = byId('panel');
  if (feed?.error || panel.dataset.kind === 'token') return;
  if (list.length > 0 && jobs?.state !== 'failed') {
    byId('state').hidden = true;
    delete panel.dataset.kind;
  } else if (jobs?.state === 'failed') {
    return;
  } else if (!jobs || jobs.state !== 'live') {
    const reason = link.state === 'reconnecting' ? 'The gateway does not answer; trying again.' : '';
    showState('loading', '', reason);
  } else if (acceptedFilter) {
    const text = `Nothing visible to you matches ${acceptedFilter}. A job that does will appear here.`;
    showState('empty', 'No job matches', text);
  } else if (tab !== 'all') {
    showState('empty', `No ${tab} jobs`, 'A job that gets there will appear here at once.');
  } else {
    const name = user?.name ?? feed?.welcome?.user ?? 'you';
    showState('empty', 'No jobs yet', `Insert one that ${name} may see, and it appears here when it commits.`,
      user && user.access !== 'operator' ? { code: exampleInsert(name) } : {});
  }
}

/** @param {string} name */
function exampleInsert(name) {
  return `with t as (insert into thread (title, author)
           values ('Hello', '${name.replaceAll("'", "''")}') returning id)
insert into job (assigned_to, path)
select id, '/hello' from t;`;
}

/** @param {number} count */
function drawTotal(count) {
  const known = jobs?.truncated && count >= LIMIT ? `the newest ${plural(count, 'job')}` : plural(count, 'job');
  const text = acceptedFilter ? `${known} matching` : known;
  if (byId('total').textContent !== text) byId('total').textContent = text;
  if ((count === 0) !== (byId('panel').dataset.kind === 'empty')) drawState();
}

// ------------------------------------------------------------------------------------------------------- the controls

function drawTabs() {
  byId('tabs').replaceChildren(...TABS.map((name) => {
    const made = element('button', 'tab', element('span', '', name), element('span', 'count', '–'));
    made.type = 'button';
    made.id = `tab-${name}`;
    made.dataset.tab = name;
    made.setAttribute('role', 'tab');
    made.setAttribute('aria-controls', 'panel');
    made.setAttribute('aria-selected', String(name === tab));
    made.tabIndex = name === tab ? 0 : -1;
    return made;
  }));
  byId('panel').setAttribute('aria-labelledby', `tab-${tab}`);
}

/** @param {string} name */
function chooseTab(name) {
  if (name === tab) return;
  tab = name;
  for (const made of byId('tabs').children) {
    const chosen = /** @type {HTMLElement} */ (made).dataset.tab === name;
    made.setAttribute('aria-selected', String(chosen));
    /** @type {HTMLElement} */ (made).tabIndex = chosen ? 0 : -1;
  }
  byId('panel').setAttribute('aria-labelledby', `tab-${name}`);
  byId(`tab-${name}`).scrollIntoView({ block: 'nearest', inline: 'nearest' });
  writeAddress();
  if (feed && !feed.error) subscribe();
}

/** @param {Record<string, number>|undefined} counts */
function drawCounts(counts) {
  const all = Object.values(counts ?? {}).reduce((sum, count) => sum + count, 0);
  for (const made of byId('tabs').children) {
    const name = /** @type {HTMLElement} */ (made).dataset.tab ?? '';
    const text = counts ? number(name === 'all' ? all : counts[name] ?? 0) : '–';
    const count = /** @type {Element} */ (made.querySelector('.count'));
    if (count.textContent !== text) count.textContent = text;
  }
}

function drawUsers() {
  const group = byId('users');
  group.hidden = false;
  const focused = group.contains(document.activeElement);
  group.replaceChildren(...users.map((known) => {
    const chosen = known === user;
    const made = element('button', 'user', known.name);
    made.type = 'button';
    made.dataset.user = known.name;
    made.title = known.access;
    made.setAttribute('role', 'radio');
    made.setAttribute('aria-checked', String(chosen));
    made.tabIndex = chosen || (!user && known === users[0]) ? 0 : -1;
    if (chosen && focused) queueMicrotask(() => made.focus());
    return made;
  }));
}

/** @param {string} text */
function filterError(text) {
  const error = byId('filter-error');
  error.textContent = text;
  error.hidden = text === '';
  byId('filter-text').setAttribute('aria-invalid', String(text !== ''));
}

/** @param {string} text */
function applyFilter(text) {
  const input = /** @type {HTMLInputElement} */ (byId('filter-text'));
  input.value = text;
  byId('filter-clear').hidden = text === '';
  filterError('');
  filter = text.trim();
  if (feed && !feed.error) subscribe();
}

/**
 * Moves along a row of choices with the arrow keys.
 * @param {KeyboardEvent} event
 * @param {HTMLElement} group
 * @param {(chosen: HTMLElement) => void} choose
 */
function alongArrows(event, group, choose) {
  const items = /** @type {HTMLElement[]} */ ([...group.children]);
  const index = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const to = /** @type {Record<string, number>} */ ({
    ArrowRight: index + 1, ArrowDown: index + 1, ArrowLeft: index - 1, ArrowUp: index - 1, Home: 0,
    End: items.length - 1,
  })[event.key];
  if (index < 0 || to === undefined) return;
  event.preventDefault();
  const chosen = items[(to + items.length) % items.length];
  chosen.focus();
  choose(chosen);
}

function readAddress() {
  const [, wanted] = decodeURIComponent(location.hash.slice(1)).split('/');
  if (TABS.includes(wanted)) tab = wanted;
}

function addressUser() {
  return decodeURIComponent(location.hash.slice(1)).split('/')[0];
}

function writeAddress() {
  history.replaceState(null, '', `#${encodeURIComponent(user?.name ?? '')}/${tab}`);
}

/** @param {string} theme */
function drawTheme(theme) {
  const root = document.documentElement;
  if (theme === 'system') delete root.dataset.theme;
  else root.dataset.theme = theme;
  byId('theme').setAttribute('aria-label', `Theme: ${theme}`);
  byId('theme').title = `Theme: ${theme}`;
  activity.redraw();
}

function nextTheme() {
  const order = ['system', 'light', 'dark'];
  const theme = order[(order.indexOf(document.documentElement.dataset.theme ?? 'system') + 1) % order.length];
  drawTheme(theme);
  try {
    localStorage.setItem('jobfeed.theme', theme);
  } catch {
    // It holds for this page only, then.
  }
}

/** @param {boolean} open */
function showActivity(open) {
  byId('activity').classList.toggle('open', open);
  byId('activity-toggle').setAttribute('aria-expanded', String(open));
  if (open) byId('activity-close').focus();
  else byId('activity-toggle').focus();
  activity.redraw();
}

byId('tabs').addEventListener('click', (event) => {
  const name = /** @type {HTMLElement} */ (event.target).closest?.('[data-tab]')?.getAttribute('data-tab');
  if (name) chooseTab(name);
});
byId('tabs').addEventListener('keydown', (event) =>
  alongArrows(event, byId('tabs'), (chosen) => chooseTab(chosen.dataset.tab ?? 'all')));
byId('users').addEventListener('click', (event) => {
  const name = /** @type {HTMLElement} */ (event.target).dataset.user;
  const chosen = users.find((known) => known.name === name);
  if (chosen && chosen !== user) choose(chosen);
});
byId('users').addEventListener('keydown', (event) => alongArrows(event, byId('users'), (chosen) => chosen.click()));
byId('filter').addEventListener('submit', (event) => {
  event.preventDefault();
  applyFilter(/** @type {HTMLInputElement} */ (byId('filter-text')).value);
});
byId('filter-clear').addEventListener('click', () => {
  applyFilter('');
  byId('filter-text').focus();
});
byId('network').addEventListener('click', toggleNetwork);
byId('theme').addEventListener('click', nextTheme);
byId('activity-toggle').addEventListener('click', () => showActivity(!byId('activity').classList.contains('open')));
byId('activity-close').addEventListener('click', () => showActivity(false));
byId('activity').addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && byId('activity').classList.contains('open')) {
    event.preventDefault();
    showActivity(false);
  }
});
byId('token').addEventListener('submit', (event) => {
  event.preventDefault();
  const token = /** @type {HTMLTextAreaElement} */ (byId('token-text')).value.trim();
  if (!token) return;
  sessionStorage.setItem('jobfeed.token', token);
  /** @type {HTMLTextAreaElement} */ (byId('token-text')).value = '';
  connect(token);
});
drawTheme(document.documentElement.dataset.theme ?? 'system');
start();
