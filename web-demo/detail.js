/** One job in full, by a `FEED/KEY` subscription of its own, so that it stays when the job leaves the list. @module */

import { happening, happeningItem } from './activity.js';
import { byId, chip, element, moment, progress } from './format.js';

/** @typedef {import('./jobfeed.js').AppliedChange} AppliedChange */
/** @typedef {import('./jobfeed.js').JobFeed} JobFeed */
/** @typedef {import('./jobfeed.js').Row} Row */
/** @typedef {import('./jobfeed.js').Subscription} Subscription */
/** @typedef {import('./activity.js').Happening} Happening */

const MOST_PER_JOB = 40;
const MOST_JOBS = 500;
const narrow = matchMedia('(max-width: 1099px)');

/** What was seen of each job lately, bounded in jobs and in events of each. */
export class Histories {
  /** @type {Map<string, Happening[]>} */ #jobs = new Map();

  clear() {
    this.#jobs.clear();
  }

  /** @param {Happening} event */
  add(event) {
    if (event.key === undefined) return;
    const events = this.#jobs.get(event.key) ?? [];
    this.#jobs.delete(event.key);
    append(events, event);
    this.#jobs.set(event.key, events);
    if (this.#jobs.size > MOST_JOBS) this.#jobs.delete(/** @type {string} */ (this.#jobs.keys().next().value));
  }

  /** @param {string} key */
  of(key) {
    return [...(this.#jobs.get(key) ?? [])];
  }
}

/** The drawer. */
export class Detail {
  #dialog = /** @type {HTMLDialogElement} */ (document.getElementById('detail'));
  #title = byId('detail-title');
  #sum = byId('detail-sum');
  #gone = byId('detail-gone');
  #columns = byId('detail-columns');
  #timeline = byId('detail-timeline');
  /** @type {Subscription|undefined} */ #subscription;
  /** @type {Happening[]} */ #events = [];
  /** @type {string|undefined} */ #key;
  /** @type {Row|undefined} */ #row;
  #frame = 0;

  /**
   * @param {Histories} histories
   * @param {(key: string|undefined, hadFocus: boolean) => void} onChange Which job is open.
   */
  constructor(histories, onChange) {
    this.histories = histories;
    this.onChange = onChange;
    byId('detail-close').addEventListener('click', () => this.close());
    this.#dialog.addEventListener('cancel', (event) => {
      event.preventDefault();
      this.close();
    });
    document.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && this.#key !== undefined && !event.defaultPrevented) this.close();
    });
  }

  get key() {
    return this.#key;
  }

  /**
   * @param {JobFeed} feed
   * @param {string} name The name of the feed.
   * @param {string} key
   * @param {Row|undefined} row As the list has it, until the answer is there.
   */
  open(feed, name, key, row) {
    this.#subscription?.close();
    this.#key = key;
    this.#row = row;
    this.#events = this.histories.of(key);
    this.#gone.hidden = true;
    const subscription = feed.subscribe(`${name}/${key}`, {
      onLive: () => this.#update(subscription),
      onBatch: ({ changes }) => {
        for (const change of changes) this.#saw(change);
        this.#update(subscription);
      },
      onError: (error) => this.#say(error.message),
    });
    this.#subscription = subscription;
    this.#draw();
    if (!this.#dialog.open) {
      if (narrow.matches) this.#dialog.showModal();
      else this.#dialog.show();
    }
    byId('detail-close').focus();
    this.onChange(key, true);
  }

  close() {
    if (this.#key === undefined) return;
    this.#subscription?.close();
    this.#subscription = undefined;
    this.#key = undefined;
    const hadFocus = this.#dialog.contains(document.activeElement);
    this.#dialog.close();
    this.onChange(undefined, hadFocus);
  }

  /** @param {AppliedChange} change */
  #saw(change) {
    append(this.#events, happening(change));
    if (change.op === 'leave') {
      this.#say(change.reason === 'deleted' ? 'This job was deleted.' : 'This job is no longer visible to you.');
    } else {
      this.#gone.hidden = true;
    }
  }

  /** @param {Subscription} subscription */
  #update(subscription) {
    if (subscription !== this.#subscription || this.#key === undefined) return;
    const row = subscription.rows.get(this.#key);
    if (row) this.#row = row;
    else if (this.#gone.hidden) this.#say('This job is not there any more.');
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  /** @param {string} text */
  #say(text) {
    this.#gone.textContent = text;
    this.#gone.hidden = false;
  }

  #draw() {
    const row = this.#row ?? {};
    const { percent, message } = progress(row);
    this.#title.textContent = `Job ${this.#key}`;
    const sum = [chip(String(row.status ?? 'unknown'))];
    if (percent !== undefined) sum.push(element('span', 'percent', `${Math.round(percent)}%`));
    if (message) sum.push(element('span', 'message', message));
    this.#sum.replaceChildren(...sum);
    const columns = Object.entries(row).flatMap(([name, value]) => [element('dt', 'mono', name), valueOf(value)]);
    this.#columns.replaceChildren(...columns);
    const items = this.#events.map((event) => happeningItem(event, { withKey: false })).reverse();
    if (items.length === 0) items.push(element('li', 'event none', 'Nothing has happened to it since you came.'));
    this.#timeline.replaceChildren(...items);
  }
}

/**
 * @param {Happening[]} events
 * @param {Happening} event
 */
function append(events, event) {
  const last = events.at(-1);
  if (last?.gauge && event.gauge) {
    const start = last.fromPercent;
    events.pop();
    if (start !== undefined) {
      event = { ...event, fromPercent: start, text: event.text.replace(/^\d+(?= →)/, String(Math.round(start))) };
    }
  }
  events.push(event);
  if (events.length > MOST_PER_JOB) events.shift();
}

/** @param {unknown} value */
function valueOf(value) {
  if (value === null || value === undefined) return element('dd', 'null', 'null');
  if (typeof value === 'object') return element('dd', 'mono', JSON.stringify(value, null, 1));
  if (typeof value === 'string' && /^\d{4}-\d\d-\d\d[T ]\d\d:/.test(value)) {
    const made = element('dd', '', moment(value) || value);
    made.title = value;
    return made;
  }
  return element('dd', typeof value === 'string' ? '' : 'mono', String(value));
}
