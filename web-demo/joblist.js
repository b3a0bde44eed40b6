/** The list of jobs: only what is in sight is in the document. @module joblist */

import { FINAL, byId, duration, iconOf, moment, progress, thread } from './format.js';
import { Ordered } from './ordered.js';

/** @typedef {import('./jobfeed.js').Row} Row */
/** @typedef {import('./jobfeed.js').AppliedChange} AppliedChange */

/**
 * @typedef {object} Cells
 * @property {HTMLElement} key
 * @property {HTMLElement} path
 * @property {HTMLElement} thread
 * @property {HTMLElement} status
 * @property {HTMLElement} chip
 * @property {HTMLElement} word
 * @property {SVGUseElement} use
 * @property {HTMLElement} progress
 * @property {HTMLElement} meter
 * @property {HTMLElement} bar
 * @property {HTMLElement} percent
 * @property {HTMLElement} message
 * @property {HTMLElement} retries
 * @property {HTMLElement} age
 * @property {HTMLElement} updated
 */

const OVERSCAN = 6;
const MOST_ROWS = 20_000;
const FLASH = { duration: 1100, easing: 'ease-out' };
const stillness = matchMedia('(prefers-reduced-motion: reduce)');

/** Which cell shows which column. */
const CELL_OF = /** @type {Record<string, keyof Cells>} */ ({
  path: 'path', assigned_to: 'thread', status: 'chip', progress: 'progress', retries: 'retries',
  max_retries: 'retries', created_at: 'age',
});

/** The windowed list; everything that happens between two frames is drawn once. */
export class JobList {
  #viewport = byId('viewport');
  #head = byId('grid-head');
  #canvas = byId('canvas');
  #grid = byId('grid');
  #newer = byId('newer');
  #template = /** @type {HTMLTemplateElement} */ (document.getElementById('row'));
  #order = new Ordered();
  /** @type {ReadonlyMap<string, Row>} */ #rows = new Map();
  /** @type {Map<string, HTMLElement>} */ #shown = new Map();
  /** @type {HTMLElement[]} */ #spare = [];
  /** @type {WeakMap<HTMLElement, Cells>} */ #cells = new WeakMap();
  /** @type {WeakMap<HTMLElement, Row>} */ #drawn = new WeakMap();
  /** @type {Map<string, number|null>} */ #moves = new Map();
  /** @type {Map<string, Set<string>>} */ #touched = new Map();
  /** @type {Map<string, number>} */ #updatedAt = new Map();
  #height = 0;
  #frame = 0;
  #unseen = 0;
  /** @type {string|undefined} */ #active;
  #activeIndex = 0;
  /** @type {string|undefined} */ #selected;

  /**
   * @param {{onOpen: (key: string) => void, onForget: (key: string) => void, onDrawn: (count: number) => void}} events
   */
  constructor(events) {
    this.events = events;
    this.#viewport.addEventListener('scroll', () => this.#schedule(), { passive: true });
    this.#canvas.addEventListener('click', (event) => {
      const key = rowOf(event.target)?.dataset.key;
      if (key !== undefined && getSelection()?.isCollapsed !== false) this.#open(key);
    });
    this.#canvas.addEventListener('keydown', (event) => this.#keyPressed(event));
    this.#canvas.addEventListener('focusin', (event) => {
      const key = rowOf(event.target)?.dataset.key;
      if (key !== undefined) this.#activate(key);
    });
    this.#newer.addEventListener('click', () => {
      this.#viewport.scrollTo({ top: 0, behavior: stillness.matches ? 'auto' : 'smooth' });
      this.#focusIndex(0);
    });
    new ResizeObserver(() => this.#measure()).observe(this.#viewport);
    setInterval(() => this.#tick(), 1000);
    this.#measure();
  }

  get length() {
    return this.#order.length;
  }

  /**
   * Another view altogether.
   * @param {ReadonlyMap<string, Row>} rows
   * @param {{keepPlace?: boolean}} [options]
   */
  replace(rows, options = {}) {
    const { keepPlace = false } = options;
    this.#rows = rows;
    this.#moves.clear();
    this.#touched.clear();
    if (!keepPlace) {
      this.#updatedAt.clear();
      this.#active = undefined;
      this.#viewport.scrollTop = 0;
    }
    this.#anchored(() => this.#order.replace([...rows].map(([key, row]) => ({ key, time: timeOf(row) }))));
    this.#unseen = 0;
    this.#schedule();
  }

  /**
   * @param {AppliedChange} change
   * @param {ReadonlyMap<string, Row>} rows
   */
  changed(change, rows) {
    this.#rows = rows;
    const { key } = change;
    if (change.op === 'leave') {
      this.#moves.set(key, null);
      this.#touched.delete(key);
      this.#updatedAt.delete(key);
    } else {
      const row = /** @type {Row} */ (change.row);
      this.#updatedAt.set(key, Date.parse(change.at ?? '') || Date.now());
      if (change.op === 'enter' || 'created_at' in change.set) this.#moves.set(key, timeOf(row));
      const touched = this.#touched.get(key) ?? new Set();
      for (const column of change.op === 'enter' ? ['*'] : Object.keys(change.set)) touched.add(column);
      this.#touched.set(key, touched);
    }
    this.#schedule();
  }

  /** @param {string|undefined} key */
  select(key) {
    this.#selected = key;
    for (const [shown, row] of this.#shown) row.setAttribute('aria-selected', String(shown === key));
  }

  /** Puts the keyboard back where it was. */
  focus() {
    this.#focusIndex(this.#active === undefined ? 0 : Math.max(0, this.#order.indexOf(this.#active)));
  }

  /** @param {string} key */
  updatedAt(key) {
    return this.#updatedAt.get(key);
  }

  // ---------------------------------------------------------------------------------------------------------- drawing

  /** The height of what can be seen of the rows, below the head that stays. */
  get #sight() {
    return this.#viewport.clientHeight - this.#head.offsetHeight;
  }

  #measure() {
    const height = parseFloat(getComputedStyle(this.#grid).getPropertyValue('--row-height')) || 52;
    if (height !== this.#height) {
      const top = this.#height ? this.#viewport.scrollTop / this.#height : 0;
      this.#height = height;
      this.#canvas.style.height = `${this.#order.length * height}px`;
      this.#viewport.scrollTop = top * height;
    }
    this.#schedule();
  }

  #schedule() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  #draw() {
    if (this.#moves.size > 0) {
      const moves = this.#moves;
      this.#moves = new Map();
      this.#anchored(() => this.#order.apply(moves));
    }
    if (this.#order.length > MOST_ROWS) {
      for (const { key } of this.#order.truncate(MOST_ROWS)) {
        this.#updatedAt.delete(key);
        this.events.onForget(key);
      }
    }
    const { entries } = this.#order;
    const scroll = this.#viewport.scrollTop;
    const first = Math.max(0, Math.floor(scroll / this.#height) - OVERSCAN);
    const last = Math.min(entries.length, Math.ceil((scroll + this.#sight) / this.#height) + OVERSCAN);
    if (scroll < this.#height) this.#unseen = 0;
    this.#newer.hidden = this.#unseen === 0;
    if (this.#unseen > 0) this.#newer.textContent = `↑ ${this.#unseen} new`;

    const active = this.#settleActive();
    /** @type {Map<string, number>} */ const wanted = new Map();
    for (let index = first; index < last; index += 1) wanted.set(entries[index].key, index);
    if (active >= 0) wanted.set(entries[active].key, active);

    for (const [key, row] of this.#shown) {
      if (wanted.has(key)) continue;
      this.#shown.delete(key);
      row.remove();
      if (this.#spare.length < 60) this.#spare.push(row);
    }
    const appear = document.createDocumentFragment();
    for (const [key, index] of wanted) {
      let row = this.#shown.get(key);
      if (!row) {
        row = this.#spare.pop() ?? this.#makeRow();
        this.#shown.set(key, row);
        row.dataset.key = key;
        row.setAttribute('aria-selected', String(key === this.#selected));
        appear.append(row);
      }
      this.#place(row, key, index);
    }
    this.#canvas.append(appear);
    this.#touched.clear();
    this.#canvas.style.height = `${entries.length * this.#height}px`;
    this.#grid.setAttribute('aria-rowcount', String(entries.length + 1));
    this.events.onDrawn(entries.length);
  }

  /**
   * Keeps what the reader looks at where it is while rows come and go above it.
   * @param {() => void} change
   */
  #anchored(change) {
    const scroll = this.#viewport.scrollTop;
    const anchor = scroll >= this.#height ? this.#order.entries[Math.floor(scroll / this.#height)] : undefined;
    const before = anchor ? this.#order.indexOf(anchor.key) : 0;
    change();
    if (!anchor) return;
    const after = this.#order.indexOf(anchor.key);
    if (after < 0 || after === before) return;
    this.#unseen = Math.max(0, this.#unseen + after - before);
    this.#canvas.style.height = `${this.#order.length * this.#height}px`;
    this.#viewport.scrollTop = scroll + (after - before) * this.#height;
  }

  #makeRow() {
    const row = /** @type {HTMLElement} */ (
      /** @type {Element} */ (this.#template.content.firstElementChild).cloneNode(true));
    /** @param {string} selector */
    const find = (selector) => /** @type {any} */ (row.querySelector(selector));
    this.#cells.set(row, {
      key: find('.c-key'), path: find('.c-path'), thread: find('.c-thread'), status: find('.c-status'),
      chip: find('.chip'), word: find('.chip > span'), use: find('use'), progress: find('.c-progress'),
      meter: find('.meter'), bar: find('.meter-bar'), percent: find('.percent'), message: find('.message'),
      retries: find('.c-retries'), age: find('.c-age'), updated: find('.c-updated'),
    });
    return row;
  }

  /**
   * @param {HTMLElement} element
   * @param {string} key
   * @param {number} index
   */
  #place(element, key, index) {
    element.style.transform = `translateY(${index * this.#height}px)`;
    element.setAttribute('aria-rowindex', String(index + 2));
    element.tabIndex = key === this.#active || (this.#active === undefined && index === 0) ? 0 : -1;
    const row = this.#rows.get(key);
    if (!row) return;
    if (this.#drawn.get(element) !== row) {
      this.#drawn.set(element, row);
      this.#fill(element, key, row);
    }
    const touched = this.#touched.get(key);
    if (touched && !stillness.matches) this.#flash(element, touched);
  }

  /**
   * @param {HTMLElement} element
   * @param {string} key
   * @param {Row} row
   */
  #fill(element, key, row) {
    const cells = /** @type {Cells} */ (this.#cells.get(element));
    const status = String(row.status ?? '');
    const { percent, message } = progress(row);
    element.dataset.status = status;
    write(cells.key, key);
    write(cells.path, String(row.path ?? ''));
    cells.path.title = String(row.path ?? '');
    write(cells.thread, thread(row));
    cells.chip.dataset.status = status;
    cells.use.setAttribute('href', iconOf(status));
    write(cells.word, status);
    const none = percent === undefined;
    cells.meter.classList.toggle('none', none);
    cells.bar.style.transform = `scaleX(${(percent ?? 0) / 100})`;
    if (none) cells.meter.removeAttribute('aria-valuenow');
    else cells.meter.setAttribute('aria-valuenow', String(Math.round(percent)));
    const spoken = none ? 'not started' : `${Math.round(percent)} percent${message ? `, ${message}` : ''}`;
    cells.meter.setAttribute('aria-valuetext', spoken);
    cells.meter.setAttribute('aria-label', `Progress of job ${key}`);
    write(cells.percent, none ? '' : `${Math.round(percent)}%`);
    write(cells.message, message);
    cells.message.title = message;
    const most = row.max_retries == null ? '' : ` / ${row.max_retries}`;
    write(cells.retries, row.retries == null ? '' : `${row.retries}${most}`);
    cells.retries.classList.toggle('some', Number(row.retries) > 0);
    cells.age.title = moment(row.created_at);
    this.#times(element, key, row, Date.now());
  }

  /**
   * @param {HTMLElement} element
   * @param {string} key
   * @param {Row} row
   * @param {number} now
   */
  #times(element, key, row, now) {
    const cells = /** @type {Cells} */ (this.#cells.get(element));
    const created = Date.parse(row.created_at);
    const updated = this.#updatedAt.get(key) ?? Date.parse(row.updated_at);
    write(cells.age, Number.isNaN(created) ? '' : duration(now - created));
    write(cells.updated, Number.isNaN(updated) ? '' : ago(now - updated));
  }

  #tick() {
    if (document.hidden) return;
    const now = Date.now();
    for (const [key, element] of this.#shown) {
      const row = this.#rows.get(key);
      if (row) this.#times(element, key, row, now);
    }
  }

  /**
   * @param {HTMLElement} element
   * @param {Set<string>} touched
   */
  #flash(element, touched) {
    const cells = /** @type {Cells} */ (this.#cells.get(element));
    const styles = getComputedStyle(this.#grid);
    if (touched.has('*')) {
      element.animate([{ backgroundColor: styles.getPropertyValue('--flash-row') }, {}], FLASH);
      return;
    }
    const status = element.dataset.status ?? '';
    const color = styles.getPropertyValue(`--flash-${FINAL.has(status) && touched.has('status') ? status : 'any'}`);
    const frames = [{ backgroundColor: color, boxShadow: `0 0 0 4px ${color}` }, {}];
    const targets = new Set([...touched].flatMap((column) => (column in CELL_OF ? [cells[CELL_OF[column]]] : [])));
    for (const target of targets) /** @type {HTMLElement} */ (target).animate(frames, FLASH);
  }

  // --------------------------------------------------------------------------------------------------------- keyboard

  /** @returns {number} The index of the row the keyboard is on, or -1. */
  #settleActive() {
    if (this.#active === undefined) return -1;
    const index = this.#order.indexOf(this.#active);
    if (index >= 0) return (this.#activeIndex = index);
    const hadFocus = this.#shown.get(this.#active)?.contains(document.activeElement) ?? false;
    const next = this.#order.entries[Math.min(this.#activeIndex, this.#order.length - 1)];
    this.#active = next?.key;
    if (hadFocus && next) queueMicrotask(() => this.#shown.get(next.key)?.focus({ preventScroll: true }));
    return next ? this.#order.indexOf(next.key) : -1;
  }

  /** @param {string} key */
  #activate(key) {
    if (key === this.#active) return;
    const previous = this.#active === undefined ? this.#order.entries[0]?.key : this.#active;
    const row = previous === undefined ? undefined : this.#shown.get(previous);
    if (row) row.tabIndex = -1;
    this.#active = key;
    this.#activeIndex = this.#order.indexOf(key);
    const now = this.#shown.get(key);
    if (now) now.tabIndex = 0;
  }

  /** @param {number} index */
  #focusIndex(index) {
    const entry = this.#order.entries[Math.max(0, Math.min(index, this.#order.length - 1))];
    if (!entry) return;
    const at = this.#order.indexOf(entry.key);
    const top = at * this.#height;
    const view = this.#viewport;
    if (top < view.scrollTop) view.scrollTop = top;
    else if (top + this.#height > view.scrollTop + this.#sight) view.scrollTop = top + this.#height - this.#sight;
    this.#activate(entry.key);
    this.#draw();
    this.#shown.get(entry.key)?.focus({ preventScroll: true });
  }

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    const row = rowOf(event.target);
    if (!row || event.altKey || event.ctrlKey || event.metaKey) return;
    const index = this.#order.indexOf(row.dataset.key ?? '');
    const page = Math.max(1, Math.floor(this.#sight / this.#height) - 1);
    const to = /** @type {Record<string, number>} */ ({
      ArrowDown: index + 1, ArrowUp: index - 1, PageDown: index + page, PageUp: index - page, Home: 0,
      End: this.#order.length - 1,
    })[event.key];
    if (to !== undefined) this.#focusIndex(to);
    else if (event.key === 'Enter' || event.key === ' ') this.#open(row.dataset.key ?? '');
    else return;
    event.preventDefault();
  }

  /** @param {string} key */
  #open(key) {
    this.#activate(key);
    this.events.onOpen(key);
  }
}

/** @param {EventTarget|null} target */
function rowOf(target) {
  return target instanceof Element ? /** @type {HTMLElement|null} */ (target.closest('.row')) : null;
}

/** @param {Row} row */
function timeOf(row) {
  return Date.parse(row.created_at) || 0;
}

/** @param {number} milliseconds */
function ago(milliseconds) {
  const words = duration(milliseconds);
  return words === 'now' ? words : `${words} ago`;
}

/** @param {HTMLElement} element @param {string} text */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
