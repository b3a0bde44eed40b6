/**
 * jobfeed.js: the browser client of `jobfeed.v1`.
 *
 * One ES module without dependencies. It keeps, per subscription, exactly the rows the server says the user may see,
 * and gets them back after every interruption.
 *
 * ```js
 * import { JobFeed } from './jobfeed.js';
 *
 * const feed = new JobFeed('https://jobs.example.org', { token: () => fetchToken() });
 * const jobs = feed.subscribe('jobs:processing', {
 *   filter: 'path=eq./thumbnails',
 *   onBatch: () => render([...jobs.rows.values()]),
 * });
 * feed.on('state', ({ state }) => (pill.textContent = state));
 * feed.connect();
 * ```
 *
 * @module jobfeed
 */

// ---------------------------------------------------------------------------------------------------------- the wire

/**
 * A row as Postgres `to_jsonb` gives it, without the columns that are hidden from this user.
 * @typedef {Record<string, any>} Row
 */

/** @typedef {Record<string, number>} Counts Rows per status. */

/** @typedef {{rows: Map<string, Row>, counts: Counts, truncated: boolean}} Staging A view being collected. */

/**
 * @typedef {object} EnterChange A row came into view; it carries the whole visible row.
 * @property {'enter'} op
 * @property {string} key Primary key as text.
 * @property {'created'|'filter'|'permission'|string} reason
 * @property {Row} row
 */

/**
 * @typedef {object} UpdateChange Some visible columns changed.
 * @property {'update'} op
 * @property {string} key
 * @property {Row} set
 */

/**
 * @typedef {object} LeaveChange A row went out of view; one that left by filter says by which change.
 * @property {'leave'} op
 * @property {string} key
 * @property {'deleted'|'filter'|'permission'|string} reason
 * @property {Row} [set]
 */

/** @typedef {EnterChange|UpdateChange|LeaveChange} Change */

/**
 * @typedef {object} WelcomeFrame
 * @property {'welcome'} type
 * @property {string} connection
 * @property {string} node
 * @property {string} user
 * @property {string} access
 * @property {string} expires_at
 * @property {number} heartbeat_seconds
 * @property {{subscriptions: number, message_bytes: number}} limits
 */

/**
 * @typedef {object} SubscribedFrame
 * @property {'subscribed'} type
 * @property {string} id
 * @property {boolean} recovered
 * @property {string} [reason] Why it was not recovered.
 */

/**
 * @typedef {object} SnapshotFrame
 * @property {'snapshot'} type
 * @property {string} id
 * @property {Row[]} [rows]
 * @property {string[]} [keys] The keys of `rows`, where the server sends them.
 * @property {boolean} [truncated]
 * @property {Counts} [counts]
 */

/** @typedef {{type: 'live', id: string, cursor: string}} LiveFrame */

/**
 * @typedef {object} ChangesFrame
 * @property {'changes'} type
 * @property {string} id
 * @property {string} [cursor] Stands on the last frame of a batch only.
 * @property {string} [at]
 * @property {Change[]} [changes]
 * @property {Counts} [counts]
 */

/** @typedef {{type: 'reset', id: string, reason: string}} ResetFrame */
/** @typedef {{type: 'unsubscribed', id: string}} UnsubscribedFrame */
/** @typedef {{type: 'authenticated', id: string, expires_at: string}} AuthenticatedFrame */
/** @typedef {{type: 'pong', id: string}} PongFrame */

/**
 * @typedef {object} HeartbeatFrame
 * @property {'heartbeat'} type
 * @property {string} as_of The time up to which the view is complete.
 * @property {number} [token_expires_in] Seconds.
 * @property {string} [cursor] Every live subscription is complete up to here.
 */

/**
 * @typedef {object} ErrorFrame
 * @property {'error'} type
 * @property {string} [id]
 * @property {string} code
 * @property {string} message
 * @property {boolean} [retry]
 */

/**
 * @typedef {WelcomeFrame|SubscribedFrame|SnapshotFrame|LiveFrame|ChangesFrame|ResetFrame|UnsubscribedFrame
 *   |AuthenticatedFrame|PongFrame|HeartbeatFrame|ErrorFrame} ServerFrame
 */

/**
 * @typedef {object} SubscribeCommand
 * @property {'subscribe'} type
 * @property {string} id
 * @property {string} channel
 * @property {string} [filter]
 * @property {string[]} [columns]
 * @property {string} [resume]
 * @property {boolean} [snapshot]
 * @property {number} [limit]
 * @property {number} [max_rate]
 */

/** @typedef {{type: 'unsubscribe', id: string}} UnsubscribeCommand */
/** @typedef {{type: 'authenticate', id: string, token: string}} AuthenticateCommand */
/** @typedef {{type: 'ping', id: string}} PingCommand */
/** @typedef {SubscribeCommand|UnsubscribeCommand|AuthenticateCommand|PingCommand} ClientFrame */

// -------------------------------------------------------------------------------------------------- what callers see

/** @typedef {'connecting'|'live'|'behind'|'reconnecting'|'closed'} FeedState */
/** @typedef {'waiting'|'subscribing'|'live'|'failed'|'closed'} SubscriptionState */
/** @typedef {'connect'|'expiring'|'expired'|'refused'} TokenReason Why a token is asked for. */

/**
 * @typedef {object} StateDetail
 * @property {FeedState} state
 * @property {FeedState} previous
 * @property {number} [code] The close code that led here.
 * @property {string} [reason]
 * @property {number} [retryAt] `Date.now()` of the next attempt, while reconnecting.
 * @property {number} [attempt] How many attempts failed since the feed was last live.
 * @property {number} [lagSeconds] How far the view is behind, when the server said so.
 * @property {JobFeedError} [error] Why the feed stopped, when it stopped for good.
 */

/** @typedef {Change & {before: Row|undefined, row: Row|undefined, at: string|undefined}} AppliedChange
 * A change together with the row it met and the row it made (`row` is undefined after a leave).
 */

/**
 * @typedef {object} BatchDetail One consistent step from one snapshot of the database to the next.
 * @property {AppliedChange[]} changes
 * @property {Counts|undefined} counts
 * @property {string} cursor
 * @property {string|undefined} at
 */

/**
 * @typedef {object} LiveDetail
 * @property {boolean} recovered True when every change since the stored cursor was delivered.
 * @property {string|undefined} reason Why it was not recovered.
 * @property {boolean} replaced True when `rows` is a new map.
 * @property {number} caughtUp Changes applied between the interruption and now.
 */

/** @typedef {{cursor: string, rows: [string, Row][], counts: Counts}} StoredView */

/**
 * Where views survive a reload. Rows and cursor are one thing: a cursor alone would resume into an empty view.
 * @typedef {object} ViewStore
 * @property {(key: string) => StoredView|null} load
 * @property {(key: string, view: StoredView|null) => void} save `null` removes it.
 */

/**
 * @typedef {object} FeedOptions
 * @property {string | ((why: {reason: TokenReason}) => string|Promise<string>)} token
 *   The JWT, or where to get one. Only a function can renew it before it expires.
 * @property {{minimum?: number, maximum?: number, random?: () => number}} [backoff] Milliseconds; 500 and 20,000.
 * @property {number} [behindAfterSeconds] A heartbeat older than this means "behind"; 15.
 * @property {ViewStore} [store]
 * @property {typeof WebSocket} [WebSocket]
 * @property {typeof fetch} [fetch]
 * @property {(detail: StateDetail) => void} [onState]
 * @property {(error: JobFeedError) => void} [onError]
 */

/**
 * @typedef {object} SubscribeOptions
 * @property {string} [filter] PostgREST grammar.
 * @property {string[]} [columns]
 * @property {number} [limit] Newest rows in the snapshot.
 * @property {number} [maxRate] Gauges at most this many times a second per row.
 * @property {string} [resume] A cursor to continue from, whose rows the caller holds himself.
 * @property {boolean} [snapshot]
 * @property {string | string[] | ((row: Row) => string)} [key] The primary key column(s); `id`.
 * @property {(change: AppliedChange) => void} [onChange] Every change, after its batch was applied.
 * @property {(batch: BatchDetail) => void} [onBatch]
 * @property {(progress: {collected: number, truncated: boolean}) => void} [onSnapshot] Rows collected, not yet visible.
 * @property {(detail: LiveDetail) => void} [onLive]
 * @property {(detail: {reason: string}) => void} [onReset] The view will be replaced at the next `live`.
 * @property {(detail: {state: SubscriptionState, previous: SubscriptionState}) => void} [onState]
 * @property {(error: JobFeedError) => void} [onError]
 */

export const PROTOCOL = 'jobfeed.v1';

const MINUTE = 60_000;
const OPENING_TIMEOUT = 15_000;
const STABLE_AFTER = 5_000;
const REFRESH_AT_MOST_EVERY = 10_000;
const SAVE_AT_MOST_EVERY = 1_000;
const LONGEST_TIMER = 6 * 60 * MINUTE;
const REFUSALS_BEFORE_PROBE = 2;
const REFUSALS_BEFORE_STOP = 4;

/** What the terminal close codes mean to a person. */
const TERMINAL = new Map([
  [4500, ['protocol_error', 'The server could not understand this client.']],
  [4501, ['unauthenticated', 'The server does not accept this token.']],
  [4503, ['forbidden', 'This user may not use this feed.']],
  [4504, ['revoked', 'An operator ended this session.']],
  [4508, ['authentication_timeout', 'The server saw no token in time.']],
  [4509, ['connection_limit', 'This user has too many connections open.']],
]);

// RFC 6455 §7.4.1: what was sent is at fault, and would be sent again.
const FAULTS = new Set([1002, 1003, 1007, 1008, 1009, 1010]);

/**
 * Whether to come back, with backoff and the last cursor, after a close with this code.
 * @param {number} code
 */
export function mayReconnect(code) {
  return !(code >= 4500 && code <= 4999) && !FAULTS.has(code);
}

/** An error of the feed: `code` is stable and meant for programs, `message` for people. */
export class JobFeedError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{retry?: boolean, closeCode?: number, cause?: unknown}} [more]
   */
  constructor(code, message, more = {}) {
    super(message, { cause: more.cause });
    this.name = 'JobFeedError';
    this.code = code;
    this.retry = more.retry ?? false;
    this.closeCode = more.closeCode;
  }
}

/**
 * Full jitter: anything between nothing and the exponentially growing bound, so that clients that lost the same server
 * do not come back together.
 * @param {number} attempt 0 for the first.
 * @param {{minimum?: number, maximum?: number, random?: () => number}} [options]
 * @returns {number} Milliseconds.
 */
export function backoffDelay(attempt, options = {}) {
  const { minimum = 500, maximum = 20_000, random = Math.random } = options;
  return random() * Math.min(maximum, minimum * 2 ** Math.min(attempt, 30));
}

/**
 * A {@link ViewStore} over `sessionStorage` (or anything shaped like it). What does not fit is not kept.
 * @param {Storage} [storage]
 * @param {string} [prefix]
 * @returns {ViewStore}
 */
export function storedViews(storage = sessionStorage, prefix = 'jobfeed:') {
  return {
    load(key) {
      try {
        const view = JSON.parse(storage.getItem(prefix + key) ?? 'null');
        return view && typeof view.cursor === 'string' && Array.isArray(view.rows) ? view : null;
      } catch {
        return null;
      }
    },
    save(key, view) {
      try {
        if (view) storage.setItem(prefix + key, JSON.stringify(view));
        else storage.removeItem(prefix + key);
      } catch {
        storage.removeItem(prefix + key);
      }
    },
  };
}

/** The least an event source needs: listeners by name, and a failing listener that hurts nobody else. */
class Emitter {
  /** @type {Map<string, Set<(detail: any) => void>>} */
  #listeners = new Map();

  /**
   * @param {string} type
   * @param {(detail: any) => void} listener
   * @returns {() => void} Removes the listener.
   */
  on(type, listener) {
    let listeners = this.#listeners.get(type);
    if (!listeners) this.#listeners.set(type, (listeners = new Set()));
    listeners.add(listener);
    return () => this.off(type, listener);
  }

  /**
   * @param {string} type
   * @param {(detail: any) => void} listener
   */
  off(type, listener) {
    this.#listeners.get(type)?.delete(listener);
  }

  /**
   * @param {string} type
   * @returns {boolean}
   */
  hears(type) {
    return (this.#listeners.get(type)?.size ?? 0) > 0;
  }

  /**
   * @param {string} type
   * @param {unknown} [detail]
   */
  emit(type, detail) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try {
        listener(detail);
      } catch (error) {
        if (typeof reportError === 'function') reportError(error);
        else console.error(error);
      }
    }
  }
}

// -------------------------------------------------------------------------------------------------------- subscription

const receive = Symbol('receive');
const disconnected = Symbol('disconnected');
const subscribing = Symbol('subscribing');
const command = Symbol('command');
const advance = Symbol('advance');
const finish = Symbol('finish');
const restore = Symbol('restore');
const viewKey = Symbol('viewKey');
const unsubscribe = Symbol('unsubscribe');
const changed = Symbol('changed');
const settled = Symbol('settled');

/**
 * One view of the feed. Made by {@link JobFeed#subscribe}.
 *
 * Events: `change`, `batch`, `snapshot`, `live`, `reset`, `state`, `error` (see {@link SubscribeOptions}).
 */
export class Subscription extends Emitter {
  /** @type {JobFeed} */ #feed;
  /** @type {SubscribeOptions} */ #options;
  /** @type {Map<string, Row>} */ #rows = new Map();
  /** @type {Counts} */ #counts = {};
  /** @type {SubscriptionState} */ #state = 'waiting';
  /** @type {string|undefined} */ #cursor;
  /** @type {Staging|undefined} */ #staging;
  /** @type {{change: Change, at: string|undefined}[]} */ #pending = [];
  /** @type {Counts|undefined} */ #pendingCounts;
  /** @type {SubscribedFrame|undefined} */ #answer;
  #caughtUp = 0;
  #restored = false;
  /** @type {{promise: Promise<void>, resolve: () => void}|undefined} */ #closing;

  /** @type {boolean} Older rows than `limit` exist. */
  truncated = false;
  /** @type {JobFeedError|undefined} */
  error;

  /**
   * @param {JobFeed} feed
   * @param {string} id
   * @param {string} channel
   * @param {SubscribeOptions} options
   */
  constructor(feed, id, channel, options) {
    super();
    this.#feed = feed;
    this.#options = options;
    this.id = id;
    this.channel = channel;
    this.#cursor = options.resume;
    const { onChange, onBatch, onSnapshot, onLive, onReset, onState, onError } = options;
    const listeners = {
      change: onChange, batch: onBatch, snapshot: onSnapshot, live: onLive, reset: onReset, state: onState,
      error: onError,
    };
    for (const [type, listener] of Object.entries(listeners)) if (listener) this.on(type, listener);
  }

  /** The rows in view by key. Another map after a reset; a row object is replaced, never changed, when it changes. */
  get rows() {
    return this.#rows;
  }

  /** Rows per status, for a `FEED#counts` channel. */
  get counts() {
    return this.#counts;
  }

  get state() {
    return this.#state;
  }

  /** Where to continue from: everything up to here is applied. */
  get cursor() {
    return this.#cursor;
  }

  /**
   * Drops a row that is no longer wanted (the far end of a long list), which the server need not know.
   * @param {string} key
   */
  forget(key) {
    this.#rows.delete(key);
  }

  /**
   * Ends the subscription; resolves when the server has confirmed it or is no longer there.
   * @returns {Promise<void>}
   */
  close() {
    if (this.#closing) return this.#closing.promise;
    if (this.#state === 'closed') return Promise.resolve();
    /** @type {() => void} */ let resolve = () => {};
    const promise = /** @type {Promise<void>} */ (new Promise((done) => (resolve = () => done())));
    this.#closing = { promise, resolve };
    this.#feed[unsubscribe](this);
    return promise;
  }

  /** @returns {SubscribeCommand} */
  [command]() {
    const { filter, columns, limit, maxRate, snapshot } = this.#options;
    return {
      type: 'subscribe', id: this.id, channel: this.channel,
      ...(filter ? { filter } : {}),
      ...(columns ? { columns } : {}),
      ...(limit !== undefined ? { limit } : {}),
      ...(maxRate !== undefined ? { max_rate: maxRate } : {}),
      ...(snapshot !== undefined ? { snapshot } : {}),
      ...(this.#cursor ? { resume: this.#cursor } : {}),
    };
  }

  get [viewKey]() {
    const { filter, columns, limit } = this.#options;
    return JSON.stringify([this.channel, filter ?? '', columns ?? null, limit ?? null]);
  }

  /** @param {ViewStore} store @param {string} key */
  [restore](store, key) {
    if (this.#restored || this.#cursor) return;
    this.#restored = true;
    const view = store.load(key);
    if (!view) return;
    this.#cursor = view.cursor;
    this.#rows = new Map(view.rows);
    this.#counts = view.counts ?? {};
  }

  [subscribing]() {
    this.#discard();
    this.#become('subscribing');
  }

  [disconnected]() {
    this.#discard();
    if (this.#closing) this[finish]();
    else if (this.#state !== 'failed') this.#become('waiting');
  }

  [finish]() {
    this.#discard();
    this.#become('closed');
    this.#closing?.resolve();
  }

  /** @param {string} cursor */
  [advance](cursor) {
    // A batch in pieces is not yet complete, whatever the heartbeat says about the others.
    if (this.#state !== 'live' || this.#pending.length > 0 || this.#staging) return;
    this.#cursor = cursor;
    this.#feed[changed](this);
  }

  /** @param {any} frame */
  [receive](frame) {
    if (frame.type === 'unsubscribed') return this[finish]();
    if (this.#closing) return frame.type === 'error' ? this[finish]() : undefined;
    switch (frame.type) {
      case 'subscribed':
        this.#answer = frame;
        this.#caughtUp = 0;
        if (!frame.recovered) this.#stage();
        break;
      case 'reset':
        this.#answer = { type: 'subscribed', id: this.id, recovered: false, reason: frame.reason };
        this.#stage();
        this.#become('subscribing');
        this.emit('reset', { reason: frame.reason });
        break;
      case 'snapshot':
        this.#collect(frame);
        break;
      case 'changes':
        this.#change(frame);
        break;
      case 'live':
        this.#goLive(frame);
        break;
      case 'error':
        this.#fail(frame);
        break;
    }
  }

  #stage() {
    this.#discard();
    this.#staging = { rows: new Map(), counts: {}, truncated: false };
  }

  #discard() {
    this.#staging = undefined;
    this.#pending = [];
    this.#pendingCounts = undefined;
  }

  /** @param {SnapshotFrame} frame */
  #collect(frame) {
    if (!this.#staging) this.#stage();
    const staging = /** @type {Staging} */ (this.#staging);
    const rows = frame.rows ?? [];
    for (let index = 0; index < rows.length; index += 1) {
      staging.rows.set(frame.keys?.[index] ?? this.#keyOf(rows[index]), rows[index]);
    }
    if (frame.counts) staging.counts = { ...staging.counts, ...frame.counts };
    staging.truncated ||= frame.truncated ?? false;
    this.emit('snapshot', { collected: staging.rows.size, truncated: staging.truncated });
  }

  /** @param {Row} row */
  #keyOf(row) {
    const key = this.#options.key ?? 'id';
    if (typeof key === 'function') return key(row);
    return typeof key === 'string' ? String(row[key]) : key.map((column) => String(row[column])).join(',');
  }

  /** @param {ChangesFrame} frame */
  #change(frame) {
    for (const change of frame.changes ?? []) this.#pending.push({ change, at: frame.at });
    if (frame.counts) this.#pendingCounts = { ...this.#pendingCounts, ...frame.counts };
    if (frame.cursor) this.#apply(frame.cursor, frame.at);
  }

  /**
   * All frames up to the cursor at once, so that no one ever sees half a step, and a connection lost in the middle of a
   * batch leaves the rows where the stored cursor says they are.
   * @param {string} cursor
   * @param {string} [at]
   */
  #apply(cursor, at) {
    const staged = this.#staging;
    const rows = staged?.rows ?? this.#rows;
    /** @type {AppliedChange[]} */
    const applied = [];
    for (const { change, at } of this.#pending) {
      const before = rows.get(change.key);
      /** @type {Row|undefined} */ let row;
      if (change.op === 'enter') {
        row = change.row;
        rows.set(change.key, row);
      } else if (change.op === 'update') {
        if (!before) continue;
        row = { ...before, ...change.set };
        rows.set(change.key, row);
      } else if (change.op === 'leave') {
        rows.delete(change.key);
      } else {
        continue;
      }
      applied.push(/** @type {AppliedChange} */ ({ ...change, before, row, at }));
    }
    const counts = this.#pendingCounts;
    this.#pending = [];
    this.#pendingCounts = undefined;
    if (staged) {
      if (counts) staged.counts = { ...staged.counts, ...counts };
      return;
    }
    if (counts) this.#counts = { ...this.#counts, ...counts };
    this.#cursor = cursor;
    if (this.#state !== 'live') this.#caughtUp += applied.length;
    this.#feed[changed](this);
    if (this.hears('change')) for (const change of applied) this.emit('change', change);
    if (applied.length > 0 || counts) this.emit('batch', { changes: applied, counts, cursor, at });
  }

  /** @param {LiveFrame} frame */
  #goLive(frame) {
    if (this.#pending.length > 0 || this.#pendingCounts) this.#apply(frame.cursor);
    const staging = this.#staging;
    if (staging) {
      this.#rows = staging.rows;
      this.#counts = staging.counts;
      this.truncated = staging.truncated;
      this.#staging = undefined;
    }
    this.#cursor = frame.cursor;
    this.error = undefined;
    const detail = {
      recovered: this.#answer?.recovered ?? false, reason: this.#answer?.reason, replaced: staging !== undefined,
      caughtUp: this.#caughtUp,
    };
    this.#become('live');
    this.#feed[changed](this);
    this.emit('live', detail);
    this.#feed[settled](this);
  }

  /** @param {ErrorFrame} frame */
  #fail(frame) {
    const error = new JobFeedError(frame.code, frame.message, { retry: frame.retry ?? false });
    this.error = error;
    this.#discard();
    this.#become(error.retry ? 'waiting' : 'failed');
    this.emit('error', error);
    this.#feed[settled](this);
  }

  /** @param {SubscriptionState} state */
  #become(state) {
    const previous = this.#state;
    if (previous === state) return;
    this.#state = state;
    this.emit('state', { state, previous });
  }
}

// ---------------------------------------------------------------------------------------------------------------- feed

/**
 * A connection to a gateway that stays: it reconnects, resumes and renews its token by itself.
 *
 * Events: `state` ({@link StateDetail}), `welcome` ({@link WelcomeFrame}), `heartbeat`, `error` ({@link JobFeedError}).
 */
export class JobFeed extends Emitter {
  /** @type {FeedOptions} */ #options;
  /** @type {FeedOptions['token']} */ #token;
  /** @type {WebSocket|undefined} */ #socket;
  /** @type {FeedState} */ #state = 'closed';
  /** @type {Map<string, Subscription>} */ #subscriptions = new Map();
  /** @type {Set<string>} */ #unsettled = new Set();
  /** @type {WelcomeFrame|undefined} */ #welcome;
  /** @type {{promise: Promise<WelcomeFrame>, resolve: (welcome: WelcomeFrame) => void, reject: (error: Error) => void}
   *   |undefined} */
  #connected;
  /** @type {string|undefined} */ #user;
  #wanted = false;
  #everLive = false;
  #generation = 0;
  #nextId = 1;
  #attempt = 0;
  #refusals = 0;
  /** @type {TokenReason} */ #tokenReason = 'connect';
  #liveSince = 0;
  #heardAt = 0;
  #pingedAt = 0;
  #expiresAt = 0;
  #clockOffset = 0;
  #refreshedAt = 0;
  /** @type {number|undefined} */ #lagSeconds;
  /** @type {Record<string, ReturnType<typeof setTimeout>|undefined>} */ #timers = {};
  /** @type {Set<Subscription>} */ #unsaved = new Set();
  /** @type {() => void} */ #stopListening = () => {};

  /** @type {JobFeedError|undefined} Why the feed stopped for good. */
  error;

  /**
   * @param {string|URL} url The gateway (`https://host`), or its feed (`wss://host/v1/feed`).
   * @param {FeedOptions} options
   */
  constructor(url, options) {
    super();
    const base = typeof location === 'undefined' ? undefined : location.href;
    this.url = new URL(url, base);
    this.url.protocol = this.url.protocol.replace('http', 'ws');
    if (this.url.pathname === '/') this.url.pathname = '/v1/feed';
    this.#options = options;
    this.#token = options.token;
    if (options.onState) this.on('state', options.onState);
    if (options.onError) this.on('error', options.onError);
  }

  get state() {
    return this.#state;
  }

  /** What the server said when it let us in. */
  get welcome() {
    return this.#welcome;
  }

  get subscriptions() {
    return [...this.#subscriptions.values()];
  }

  /**
   * Connects, and keeps connecting until `close()`. Views continue from where they were.
   * @returns {Promise<WelcomeFrame>} The first welcome; rejects only when the feed stopped for good.
   */
  connect() {
    if (this.#wanted && this.#connected) return this.#connected.promise;
    this.#wanted = true;
    this.error = undefined;
    this.#attempt = 0;
    this.#refusals = 0;
    /** @type {any} */ const deferred = {};
    deferred.promise = new Promise((resolve, reject) => Object.assign(deferred, { resolve, reject }));
    deferred.promise.catch(() => {});
    this.#connected = deferred;
    this.#listenToTheBrowser();
    this.#become(this.#everLive ? 'reconnecting' : 'connecting');
    this.#open();
    return deferred.promise;
  }

  /**
   * Drops the connection. Subscriptions keep their rows and cursors, so that `connect()` continues where this ended.
   * @returns {Promise<void>}
   */
  async close() {
    if (!this.#wanted) return;
    this.#wanted = false;
    this.#connected?.reject(new JobFeedError('closed', 'The feed was closed.'));
    this.#save();
    this.#drop(1000, 'bye');
    this.#stopListening();
    this.#become('closed', { reason: 'closed by this client' });
  }

  /**
   * Another token: takes effect on the open connection, otherwise with the next one.
   * @param {FeedOptions['token']} token
   */
  setToken(token) {
    this.#token = token;
    if (this.#welcome && this.#socket) this.#refresh('expiring');
  }

  /**
   * @param {string} channel `FEED`, `FEED:STATUS[,STATUS…]`, `FEED/KEY` or `FEED#counts`
   * @param {SubscribeOptions} [options]
   * @returns {Subscription}
   */
  subscribe(channel, options = {}) {
    const subscription = new Subscription(this, `s${this.#nextId++}`, channel, options);
    this.#subscriptions.set(subscription.id, subscription);
    if (this.#welcome) this.#start(subscription);
    return subscription;
  }

  /** @param {Subscription} subscription */
  [unsubscribe](subscription) {
    if (this.#welcome && (subscription.state === 'live' || subscription.state === 'subscribing')) {
      this.#send({ type: 'unsubscribe', id: subscription.id });
    } else {
      this.#subscriptions.delete(subscription.id);
      subscription[finish]();
    }
    this[settled](subscription);
  }

  /** @param {Subscription} subscription */
  [changed](subscription) {
    if (!this.#options.store) return;
    this.#unsaved.add(subscription);
    this.#timers.save ??= setTimeout(() => this.#save(), SAVE_AT_MOST_EVERY);
  }

  /** @param {Subscription} subscription */
  [settled](subscription) {
    if (subscription.error?.retry && subscription.state === 'waiting') {
      const delay = backoffDelay(2, this.#options.backoff);
      setTimeout(() => this.#welcome && subscription.state === 'waiting' && this.#start(subscription), delay);
    }
    this.#unsettled.delete(subscription.id);
    if (this.#welcome && this.#unsettled.size === 0 && this.#state !== 'behind') this.#goLive();
  }

  // ------------------------------------------------------------------------------------------------------- connecting

  async #open() {
    const generation = ++this.#generation;
    clearTimeout(this.#timers.retry);
    this.#timers.retry = undefined;
    /** @type {string} */ let token;
    try {
      token = await this.#askForToken();
    } catch (cause) {
      if (generation !== this.#generation || !this.#wanted) return;
      const error = new JobFeedError('token_unavailable', `No token could be had: ${text(cause)}`,
        { retry: true, cause });
      this.emit('error', error);
      this.#retry({ reason: error.code });
      return;
    }
    if (generation !== this.#generation || !this.#wanted) return;
    const Socket = this.#options.WebSocket ?? WebSocket;
    /** @type {WebSocket} */ let socket;
    try {
      socket = new Socket(this.url.href, [PROTOCOL, `bearer.${token}`]);
    } catch (cause) {
      this.#stop(new JobFeedError('invalid_token', 'This is not a token: a JWT is three parts joined by dots, '
        + 'without spaces.', { cause }));
      return;
    }
    this.#socket = socket;
    let opened = false;
    socket.onopen = () => (opened = true);
    socket.onmessage = (event) => this.#received(event.data);
    socket.onclose = (event) => this.#socketClosed(event.code, event.reason, opened, token);
    this.#timers.opening = setTimeout(() => {
      this.#drop(4000, 'no welcome');
      this.#retry({ reason: 'no answer' });
    }, OPENING_TIMEOUT);
  }

  async #askForToken() {
    const reason = this.#tokenReason;
    const token = typeof this.#token === 'function' ? await this.#token({ reason }) : this.#token;
    if (typeof token !== 'string' || token.trim() === '') throw new Error('it is empty');
    return token.trim();
  }

  /**
   * @param {number} code
   * @param {string} reason
   * @param {boolean} opened
   * @param {string} token
   */
  #socketClosed(code, reason, opened, token) {
    const stable = this.#liveSince > 0 && Date.now() - this.#liveSince > STABLE_AFTER;
    this.#drop();
    if (stable) this.#attempt = 0;
    if (!mayReconnect(code)) {
      const [name, message] = TERMINAL.get(code) ?? ['closed_for_good', 'The server ended the connection for good.'];
      const said = reason && reason !== name ? ` (${reason})` : '';
      this.#stop(new JobFeedError(String(name), message + said, { closeCode: code }));
      return;
    }
    if (code === 4001) {
      if (typeof this.#token !== 'function') {
        this.#stop(new JobFeedError('token_expired', 'The token has expired.', { closeCode: code }));
        return;
      }
      this.#tokenReason = 'expired';
    }
    // The browser hides why an upgrade was refused: 401 and "nobody there" both look like 1006.
    this.#refusals = opened ? 0 : this.#refusals + 1;
    if (this.#refusals >= REFUSALS_BEFORE_PROBE) this.#probe(token, code);
    else this.#retry({ code, reason, atLeast: code === 4003 ? secondsIn(reason) * 1000 : 0 });
  }

  /**
   * Asks over plain HTTP what the refused upgrade could not tell.
   * @param {string} token
   * @param {number} code
   */
  async #probe(token, code) {
    const generation = this.#generation;
    const answer = await this.#askOverHTTP(token);
    if (generation !== this.#generation || !this.#wanted) return;
    if (answer.status === 401 || answer.status === 403) {
      const exhausted = typeof this.#token !== 'function' || this.#tokenReason === 'refused';
      if (exhausted) {
        this.#stop(new JobFeedError('token_refused', answer.detail || 'The server does not accept this token.'));
        return;
      }
      this.#tokenReason = 'refused';
      this.#retry({ code, reason: 'token refused' });
    } else if (answer.status === 0) {
      this.#retry({ code, reason: 'the server is away' });
    } else if (answer.status === 503 || answer.status === 429) {
      this.#retry({ code, reason: 'the server is not ready', atLeast: answer.retryAfter * 1000 });
    } else if (this.#refusals >= REFUSALS_BEFORE_STOP) {
      this.#stop(new JobFeedError('upgrade_refused', 'The server is there but refuses this connection. Most likely it '
        + 'does not accept the token; otherwise it does not allow pages of this origin, or a proxy in between does not '
        + 'pass WebSockets on.'));
    } else {
      this.#tokenReason = 'refused';
      this.#retry({ code, reason: 'connection refused' });
    }
  }

  /**
   * @param {string} token
   * @returns {Promise<{status: number, detail: string, retryAfter: number}>} Status 0: nobody there.
   */
  async #askOverHTTP(token) {
    const url = new URL(this.url);
    url.protocol = url.protocol.replace('ws', 'http');
    const aborter = new AbortController();
    const timer = setTimeout(() => aborter.abort(), 5_000);
    try {
      const response = await (this.#options.fetch ?? fetch)(url, {
        headers: { Accept: 'text/event-stream', Authorization: `Bearer ${token}` },
        cache: 'no-store', credentials: 'omit', signal: aborter.signal,
      });
      const isProblem = response.headers.get('content-type')?.includes('json') ?? false;
      const problem = !response.ok && isProblem ? await response.json().catch(() => ({})) : {};
      const retryAfter = Math.min(Number(response.headers.get('retry-after')) || 0, 300);
      return { status: response.status, detail: String(problem.detail ?? problem.title ?? ''), retryAfter };
    } catch {
      return { status: 0, detail: '', retryAfter: 0 };
    } finally {
      clearTimeout(timer);
      aborter.abort();
    }
  }

  /** @param {{code?: number, reason?: string, atLeast?: number}} [why] */
  #retry(why = {}) {
    const { code, reason, atLeast = 0 } = why;
    if (!this.#wanted) return;
    const delay = Math.max(atLeast, backoffDelay(this.#attempt, this.#options.backoff));
    this.#attempt += 1;
    this.#become('reconnecting', { code, reason, retryAt: Date.now() + delay, attempt: this.#attempt }, true);
    clearTimeout(this.#timers.retry);
    this.#timers.retry = setTimeout(() => this.#retryNow(), delay);
  }

  #retryNow() {
    this.#become('reconnecting', { attempt: this.#attempt }, true);
    this.#open();
  }

  /** @param {JobFeedError} error */
  #stop(error) {
    this.#drop();
    this.#wanted = false;
    this.error = error;
    this.#stopListening();
    this.#connected?.reject(error);
    this.#become('closed', { code: error.closeCode, reason: error.code, error }, true);
    this.emit('error', error);
  }

  /**
   * Forgets the socket and everything that hangs on it. A half-open socket may take minutes to close, so its events
   * are no longer listened to.
   * @param {number} [code]
   * @param {string} [reason]
   */
  #drop(code, reason) {
    this.#generation += 1;
    for (const name of ['opening', 'watch', 'refresh', 'retry']) {
      clearTimeout(this.#timers[name]);
      this.#timers[name] = undefined;
    }
    const socket = this.#socket;
    this.#socket = undefined;
    this.#welcome = undefined;
    this.#liveSince = 0;
    this.#lagSeconds = undefined;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      if (code !== undefined) socket.close(code, reason);
    }
    for (const subscription of this.#subscriptions.values()) {
      subscription[disconnected]();
      if (subscription.state === 'closed') this.#subscriptions.delete(subscription.id);
    }
  }

  #listenToTheBrowser() {
    this.#stopListening();
    if (typeof window === 'undefined') return;
    const hurry = () => {
      if (this.#timers.retry !== undefined && document.visibilityState === 'visible') {
        clearTimeout(this.#timers.retry);
        this.#timers.retry = undefined;
        this.#retryNow();
      }
    };
    const save = () => this.#save();
    window.addEventListener('online', hurry);
    window.addEventListener('pagehide', save);
    document.addEventListener('visibilitychange', hurry);
    this.#stopListening = () => {
      window.removeEventListener('online', hurry);
      window.removeEventListener('pagehide', save);
      document.removeEventListener('visibilitychange', hurry);
    };
  }

  // -------------------------------------------------------------------------------------------------------- connected

  /** @param {ClientFrame} frame */
  #send(frame) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(frame));
  }

  /** @param {unknown} data */
  #received(data) {
    this.#heardAt = Date.now();
    /** @type {any} */ let frame;
    try {
      frame = JSON.parse(/** @type {string} */ (data));
      if (typeof frame?.type !== 'string') throw new TypeError('no type');
    } catch (cause) {
      // It may have been a change: only a resume can say.
      this.emit('error', new JobFeedError('malformed_frame', 'The server sent something that is not a frame.',
        { retry: true, cause }));
      this.#drop(4500, 'malformed frame');
      this.#retry({ reason: 'malformed frame' });
      return;
    }
    if (this.#state === 'behind' && this.#lagSeconds === undefined) this.#goLive();
    switch (frame.type) {
      case 'welcome':
        return this.#welcomed(frame);
      case 'authenticated':
        return this.#expires(frame.expires_at);
      case 'heartbeat':
        return this.#beat(frame);
      case 'pong':
        return undefined;
      case 'changes':
        this.#caughtUpTo(frame.at);
    }
    const subscription = this.#subscriptions.get(frame.id);
    if (subscription) {
      subscription[receive](frame);
      if (subscription.state === 'closed') this.#subscriptions.delete(subscription.id);
    } else if (frame.type === 'error') {
      this.emit('error', new JobFeedError(frame.code, frame.message, { retry: frame.retry ?? false }));
    }
  }

  /** @param {WelcomeFrame} frame */
  #welcomed(frame) {
    clearTimeout(this.#timers.opening);
    this.#welcome = frame;
    this.#user = frame.user;
    this.#refusals = 0;
    this.#tokenReason = 'connect';
    this.#expires(frame.expires_at);
    this.#watch();
    this.#connected?.resolve(frame);
    this.emit('welcome', frame);
    this.#unsettled = new Set(this.#subscriptions.keys());
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.state === 'failed') this.#unsettled.delete(subscription.id);
      else this.#start(subscription);
    }
    if (this.#unsettled.size === 0) this.#goLive();
  }

  /** @param {Subscription} subscription */
  #start(subscription) {
    const { store } = this.#options;
    if (store) subscription[restore](store, this.#storeKey(subscription));
    subscription[subscribing]();
    this.#send(subscription[command]());
  }

  #goLive() {
    if (!this.#welcome || this.#unsettled.size > 0) return;
    this.#everLive = true;
    this.#liveSince ||= Date.now();
    this.#become('live', { reason: undefined });
  }

  /** @param {HeartbeatFrame} frame */
  #beat(frame) {
    const now = Date.now();
    // The server's own clock, so that a wrong one here does not look like lag there.
    if (typeof frame.token_expires_in === 'number' && this.#expiresAt > 0) {
      this.#clockOffset = now - (this.#expiresAt - frame.token_expires_in * 1000);
      this.#scheduleRefresh(frame.token_expires_in * 1000);
    }
    const lag = (now - this.#clockOffset - Date.parse(frame.as_of)) / 1000;
    const limit = this.#options.behindAfterSeconds ?? 15;
    if (frame.cursor) for (const subscription of this.#subscriptions.values()) subscription[advance](frame.cursor);
    this.emit('heartbeat', frame);
    if (lag > limit) {
      this.#lagSeconds = lag;
      if (this.#state === 'live' || this.#state === 'behind') {
        this.#become('behind', { reason: 'the feed is late', lagSeconds: lag }, true);
      }
    } else if (this.#lagSeconds !== undefined || this.#state === 'behind') {
      this.#lagSeconds = undefined;
      this.#goLive();
    }
  }

  /** @param {string|undefined} at */
  #caughtUpTo(at) {
    if (this.#lagSeconds === undefined || !at) return;
    const lag = (Date.now() - this.#clockOffset - Date.parse(at)) / 1000;
    if (lag <= (this.#options.behindAfterSeconds ?? 15)) {
      this.#lagSeconds = undefined;
      this.#goLive();
    }
  }

  /** Silence for two heartbeats: behind, and asked for a sign of life; for one more: gone. */
  #watch() {
    const heartbeat = Math.max(1, Number(this.#welcome?.heartbeat_seconds) || 25) * 1000;
    this.#pingedAt = 0;
    const check = () => {
      const now = Date.now();
      if (now - this.#heardAt < 2 * heartbeat) {
        this.#pingedAt = 0;
      } else if (this.#pingedAt === 0) {
        this.#pingedAt = now;
        this.#send({ type: 'ping', id: 'alive' });
        if (this.#state === 'live') this.#become('behind', { reason: 'the server is silent' });
      } else if (now - this.#pingedAt >= heartbeat) {
        this.#drop(4000, 'silence');
        this.#retry({ reason: 'the server fell silent' });
        return;
      }
      this.#timers.watch = setTimeout(check, heartbeat / 4);
    };
    this.#timers.watch = setTimeout(check, heartbeat / 4);
  }

  // ------------------------------------------------------------------------------------------------------------ token

  /** @param {string} expiresAt */
  #expires(expiresAt) {
    this.#expiresAt = Date.parse(expiresAt) || 0;
    if (this.#expiresAt > 0) this.#scheduleRefresh(this.#expiresAt - (Date.now() - this.#clockOffset));
  }

  /** @param {number} remaining Milliseconds until the token expires. */
  #scheduleRefresh(remaining) {
    clearTimeout(this.#timers.refresh);
    if (typeof this.#token !== 'function') return;
    const lead = Math.min(MINUTE, remaining / 5);
    const soonest = this.#refreshedAt + REFRESH_AT_MOST_EVERY - Date.now();
    const delay = Math.max(remaining - lead, soonest, 0);
    this.#timers.refresh = setTimeout(() => {
      if (delay > LONGEST_TIMER) this.#expires(new Date(this.#expiresAt).toISOString());
      else this.#refresh('expiring');
    }, Math.min(delay, LONGEST_TIMER));
  }

  /** @param {TokenReason} reason */
  async #refresh(reason) {
    const generation = this.#generation;
    this.#refreshedAt = Date.now();
    this.#tokenReason = reason;
    try {
      const token = await this.#askForToken();
      if (generation === this.#generation) this.#send({ type: 'authenticate', id: `a${this.#nextId++}`, token });
    } catch (cause) {
      if (generation !== this.#generation) return;
      this.emit('error', new JobFeedError('token_unavailable', `The token could not be renewed: ${text(cause)}`,
        { retry: true, cause }));
      this.#expires(new Date(this.#expiresAt).toISOString());
    } finally {
      if (generation === this.#generation) this.#tokenReason = 'connect';
    }
  }

  // ------------------------------------------------------------------------------------------------------------ state

  /** @param {Subscription} subscription */
  #storeKey(subscription) {
    return `${this.#user}:${subscription[viewKey]}`;
  }

  #save() {
    clearTimeout(this.#timers.save);
    this.#timers.save = undefined;
    const { store } = this.#options;
    if (!store || this.#user === undefined) return;
    for (const subscription of this.#unsaved) {
      const { cursor, counts, state } = subscription;
      const keep = cursor !== undefined && (state === 'live' || state === 'waiting');
      /** @type {[string, Row][]} */ const rows = keep ? [...subscription.rows] : [];
      store.save(this.#storeKey(subscription), keep ? { cursor, rows, counts } : null);
    }
    this.#unsaved.clear();
  }

  /**
   * @param {FeedState} state
   * @param {Partial<StateDetail>} [detail]
   * @param {boolean} [always] Also when only the details are new.
   */
  #become(state, detail = {}, always = false) {
    const previous = this.#state;
    if (previous === state && !always) return;
    this.#state = state;
    this.emit('state', { ...detail, state, previous });
  }
}

/** @param {unknown} error */
function text(error) {
  return error instanceof Error ? error.message : String(error);
}

/**
 * The delay a reason speaks of ("retry in 5 s", "rate_limited: 1500ms"); 0 when it names none.
 * @param {string} reason
 */
function secondsIn(reason) {
  const match = /(\d+(?:\.\d+)?)\s*(ms|m\b|min)?/.exec(reason ?? '');
  if (!match) return 0;
  const unit = match[2] === 'ms' ? 0.001 : match[2] ? 60 : 1;
  return Math.min(Number(match[1]) * unit, 300);
}
