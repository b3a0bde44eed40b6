/** Keys in the order of the list, kept by merging instead of sorting. @module ordered */

/** @typedef {{key: string, time: number}} Entry */

/**
 * Newest first; for the same instant the larger key first, digits compared as numbers.
 * @param {Entry} a
 * @param {Entry} b
 */
export function newestFirst(a, b) {
  if (a.time !== b.time) return b.time - a.time;
  if (a.key.length !== b.key.length) return b.key.length - a.key.length;
  return a.key < b.key ? 1 : a.key > b.key ? -1 : 0;
}

const FEW = 64;

/** A sorted list of entries that takes many additions and removals at once in one pass. */
export class Ordered {
  /** @type {Entry[]} */ entries = [];
  /** @type {Map<string, number>} */ #times = new Map();

  get length() {
    return this.entries.length;
  }

  /** @param {string} key */
  timeOf(key) {
    return this.#times.get(key);
  }

  /** @param {Iterable<Entry>} entries */
  replace(entries) {
    this.entries = [...entries].sort(newestFirst);
    this.#times = new Map(this.entries.map(({ key, time }) => [key, time]));
  }

  /** @param {string} key */
  indexOf(key) {
    const time = this.#times.get(key);
    if (time === undefined) return -1;
    const index = this.#lowerBound({ key, time });
    return this.entries[index]?.key === key ? index : -1;
  }

  /**
   * @param {Map<string, number|null>} moves Key → its time, or null when it goes.
   */
  apply(moves) {
    /** @type {Entry[]} */ const added = [];
    /** @type {Set<string>} */ const removed = new Set();
    for (const [key, time] of moves) {
      const known = this.#times.get(key);
      if (known === time || (known === undefined && time === null)) continue;
      if (known !== undefined) removed.add(key);
      if (time !== null) added.push({ key, time });
    }
    if (removed.size <= FEW) {
      for (const key of removed) this.entries.splice(this.indexOf(key), 1);
    } else {
      this.entries = this.entries.filter(({ key }) => !removed.has(key));
    }
    for (const key of removed) this.#times.delete(key);
    for (const { key, time } of added) this.#times.set(key, time);
    if (added.length <= FEW) {
      for (const entry of added) this.entries.splice(this.#lowerBound(entry), 0, entry);
    } else {
      this.entries = merged(this.entries, added.sort(newestFirst));
    }
  }

  /**
   * Cuts the far end off and says what it was.
   * @param {number} limit
   */
  truncate(limit) {
    const cut = this.entries.splice(limit);
    for (const { key } of cut) this.#times.delete(key);
    return cut;
  }

  /** @param {Entry} entry */
  #lowerBound(entry) {
    let low = 0;
    let high = this.entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (newestFirst(this.entries[middle], entry) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/**
 * @param {Entry[]} a
 * @param {Entry[]} b
 */
function merged(a, b) {
  /** @type {Entry[]} */ const result = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) result.push(newestFirst(a[i], b[j]) <= 0 ? a[i++] : b[j++]);
  while (i < a.length) result.push(a[i++]);
  while (j < b.length) result.push(b[j++]);
  return result;
}
