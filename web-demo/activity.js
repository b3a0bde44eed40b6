/** The list of what happened, and its pulse. @module activity */

import { byId, chip, clock, element, plural, progress } from './format.js';

/** @typedef {import('./jobfeed.js').AppliedChange} AppliedChange */

/**
 * @typedef {object} Happening
 * @property {number} time
 * @property {string} op `enter`, `update`, `leave`, or `link` for what happened to the connection.
 * @property {string} [key]
 * @property {string} [reason]
 * @property {string} [from] The status before.
 * @property {string} [to] The status after.
 * @property {string} text
 * @property {boolean} gauge Progress only, which the next progress may replace.
 * @property {number} [fromPercent]
 */

const MOST_EVENTS = 200;
const DRAW_EVERY = 200;
const SECONDS = 60;
/** @type {Record<string, string>} */
const ENTERED = { created: 'created', filter: 'now matches', permission: 'now visible' };
/** @type {Record<string, string>} */
const LEFT = { deleted: 'deleted', filter: 'no longer matches', permission: 'no longer visible' };

/**
 * A change in words.
 * @param {AppliedChange} change
 * @returns {Happening}
 */
export function happening(change) {
  const time = Date.parse(change.at ?? '') || Date.now();
  const { op, key } = change;
  const from = change.before?.status;
  if (op === 'enter') {
    const { reason, row } = change;
    return { time, op, key, reason, to: row?.status, text: ENTERED[reason] ?? reason, gauge: false };
  }
  if (op === 'leave') {
    const { reason, set } = change;
    const to = set?.status;
    return { time, op, key, reason, from: to && from, to, text: LEFT[reason] ?? reason, gauge: false };
  }
  const columns = Object.keys(change.set).filter((column) => column !== 'updated_at');
  if ('status' in change.set && from !== change.set.status) {
    return { time, op, key, from, to: change.set.status, text: '', gauge: false };
  }
  if (columns.length === 1 && columns[0] === 'progress') {
    const before = progress(change.before).percent;
    const { percent, message } = progress(change.row);
    const start = before === undefined ? '' : `${Math.round(before)} → `;
    const steps = percent === undefined ? 'progress cleared' : `${start}${Math.round(percent)}%`;
    return { time, op, key, text: message ? `${steps} · ${message}` : steps, gauge: true, fromPercent: before };
  }
  return { time, op, key, text: `${columns.join(', ')} changed`, gauge: false };
}

/**
 * @param {Happening} event
 * @param {{withKey: boolean}} options
 */
export function happeningItem(event, { withKey }) {
  const item = element('li', 'event');
  item.dataset.op = event.op;
  if (event.key !== undefined) item.dataset.key = event.key;
  if (event.reason) item.dataset.reason = event.reason;
  const time = element('time', 'event-time', clock(event.time));
  time.dateTime = new Date(event.time).toISOString();
  const body = element('span', 'event-body');
  if (withKey && event.key !== undefined) body.append(element('b', 'mono', event.key), ' ');
  if (event.from) body.append(chip(event.from), ' → ');
  if (event.to) body.append(chip(event.to), ' ');
  if (event.text) body.append(element('span', 'event-text', event.text));
  item.append(time, element('span', 'event-op', event.op), body);
  return item;
}

/** The last two hundred changes; drawn five times a second at most, and not at all while paused. */
export class Activity {
  #list = byId('events');
  #none = byId('events-none');
  #button = byId('activity-pause');
  #canvas = /** @type {HTMLCanvasElement} */ (document.getElementById('pulse'));
  #text = byId('pulse-text');
  /** @type {Happening[]} */ #queue = [];
  /** @type {Map<string, {item: HTMLElement, event: Happening}>} */ #gauges = new Map();
  #missed = 0;
  #paused = false;
  #timer = 0;
  #buckets = new Array(SECONDS).fill(0);
  #second = Math.floor(Date.now() / 1000);

  constructor() {
    this.#button.addEventListener('click', () => this.#toggle());
    setInterval(() => this.#beat(), 1000);
    new ResizeObserver(() => this.#drawPulse()).observe(this.#canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#drawPulse());
  }

  clear() {
    this.#list.replaceChildren();
    this.#gauges.clear();
    this.#queue = [];
    this.#buckets.fill(0);
    this.#none.hidden = false;
    this.#drawPulse();
  }

  /** @param {number} changes How many in this batch. */
  count(changes) {
    this.#advance();
    this.#buckets[SECONDS - 1] += changes;
  }

  /** @param {Happening} event */
  add(event) {
    this.#queue.push(event);
    if (this.#queue.length > MOST_EVENTS) {
      this.#queue.shift();
      if (this.#paused) this.#missed += 1;
    }
    if (this.#paused) this.#label();
    else this.#timer ||= window.setTimeout(() => this.#draw(), this.#list.childElementCount === 0 ? 0 : DRAW_EVERY);
  }

  redraw() {
    this.#drawPulse();
  }

  #toggle() {
    this.#paused = !this.#paused;
    this.#button.setAttribute('aria-pressed', String(this.#paused));
    this.#missed = 0;
    this.#label();
    if (!this.#paused) this.#draw();
  }

  #label() {
    const waiting = this.#queue.length + this.#missed;
    this.#button.textContent = this.#paused ? (waiting > 0 ? `Resume (${waiting})` : 'Resume') : 'Pause';
  }

  #draw() {
    this.#timer = 0;
    const fresh = document.createDocumentFragment();
    for (const event of this.#queue) {
      const gauge = event.gauge && event.key !== undefined ? this.#gauges.get(event.key) : undefined;
      if (gauge && event.key !== undefined) {
        const start = gauge.event.fromPercent;
        const text = start === undefined ? event.text : event.text.replace(/^\d+(?= →)/, String(Math.round(start)));
        const merged = { ...event, text, fromPercent: start };
        const item = happeningItem(merged, { withKey: true });
        gauge.item.replaceWith(item);
        this.#gauges.set(event.key, { item, event: merged });
        continue;
      }
      const item = happeningItem(event, { withKey: true });
      fresh.prepend(item);
      if (event.key === undefined) continue;
      if (event.gauge) this.#gauges.set(event.key, { item, event });
      else this.#gauges.delete(event.key);
    }
    this.#queue = [];
    this.#list.prepend(fresh);
    while (this.#list.childElementCount > MOST_EVENTS) {
      const last = /** @type {HTMLElement} */ (this.#list.lastElementChild);
      if (this.#gauges.get(last.dataset.key ?? '')?.item === last) this.#gauges.delete(last.dataset.key ?? '');
      last.remove();
    }
    this.#none.hidden = this.#list.childElementCount > 0;
  }

  // ------------------------------------------------------------------------------------------------------------ pulse

  #advance() {
    const now = Math.floor(Date.now() / 1000);
    const steps = Math.min(SECONDS, now - this.#second);
    if (steps <= 0) return;
    this.#second = now;
    this.#buckets = [...this.#buckets.slice(steps), ...new Array(steps).fill(0)];
  }

  #beat() {
    if (document.hidden) return;
    this.#advance();
    this.#drawPulse();
  }

  #drawPulse() {
    const canvas = this.#canvas;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    const total = this.#buckets.reduce((sum, count) => sum + count, 0);
    this.#text.textContent = total === 0 ? 'quiet' : `${plural(total, 'change')} in the last minute`;
    const context = canvas.getContext('2d');
    if (!context || width === 0) return;
    const ratio = devicePixelRatio || 1;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    context.scale(ratio, ratio);
    const styles = getComputedStyle(canvas);
    const most = Math.max(4, ...this.#buckets);
    const step = width / SECONDS;
    for (let index = 0; index < SECONDS; index += 1) {
      const value = this.#buckets[index];
      const bar = value === 0 ? 1 : Math.max(2, Math.sqrt(value / most) * (height - 2));
      context.fillStyle = value === 0 ? styles.borderTopColor : styles.color;
      context.fillRect(Math.round(index * step), height - bar, Math.max(1, Math.round(step) - 2), bar);
    }
  }
}
