/** Words and numbers as the page shows them. @module format */

/** @typedef {import('./jobfeed.js').Row} Row */

export const STATUSES = ['pending', 'processing', 'success', 'failed'];
export const FINAL = new Set(['success', 'failed']);

const NUMBER = new Intl.NumberFormat('en');
const MOMENT = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });
const CLOCK = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });

/** @param {number} value */
export const number = (value) => NUMBER.format(value);

/** @param {number} count @param {string} noun */
export const plural = (count, noun) => `${number(count)} ${noun}${count === 1 ? '' : 's'}`;

/**
 * How long, in at most four characters and a unit: `now`, `12 s`, `3 min`, `5 h`, `2 d`.
 * @param {number} milliseconds
 */
export function duration(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 1) return 'now';
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** @param {number|Date} time */
export const clock = (time) => CLOCK.format(time);

/** @param {string|undefined|null} time */
export function moment(time) {
  const date = new Date(time ?? NaN);
  return Number.isNaN(date.getTime()) ? '' : MOMENT.format(date);
}

/**
 * What `progress` says, whatever shape a runner gave it.
 * @param {Row|undefined} row
 * @returns {{percent: number|undefined, message: string}}
 */
export function progress(row) {
  const value = row?.progress;
  const percent = typeof value === 'number' ? value : Number(value?.percent ?? NaN);
  const message = typeof value?.message === 'string' ? value.message : '';
  return { percent: Number.isFinite(percent) ? Math.min(100, Math.max(0, percent)) : undefined, message };
}

/** @param {Row|undefined} row */
export function thread(row) {
  return row?.assigned_to == null ? '' : `thread ${row.assigned_to}`;
}

/** @param {string|undefined} status */
export function iconOf(status) {
  return STATUSES.includes(status ?? '') ? `#i-${status}` : '#i-other';
}

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} [className]
 * @param {...(Node|string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** @param {string} status */
export function chip(status) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', iconOf(status));
  svg.append(use);
  const made = element('span', 'chip', svg, status);
  made.dataset.status = status;
  return made;
}

/**
 * @template {HTMLElement} Kind
 * @param {string} id
 * @returns {Kind}
 */
export function byId(id) {
  return /** @type {Kind} */ (document.getElementById(id));
}
