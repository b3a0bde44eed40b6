#ifndef JOBFEED_CLIBPQ_SHIM_H
#define JOBFEED_CLIBPQ_SHIM_H

#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

#if defined(__linux__)
#include <sys/eventfd.h>
#include <sys/prctl.h>
#else
#include <pthread.h>
#endif

#if defined(__linux__)
// Declared by <poll.h> only for those who ask for all of GNU.
extern int ppoll(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
#endif

// Milliseconds are too coarse for a reader that reads a thousand times a second.
static inline int clibpq_poll(struct pollfd *entries, int count, long seconds, long nanoseconds) {
#if defined(__linux__)
    struct timespec timeout = {seconds, nanoseconds};
    return ppoll(entries, (nfds_t)count, &timeout, 0);
#else
    return poll(entries, (nfds_t)count, (int)(seconds * 1000 + (nanoseconds + 999999) / 1000000));
#endif
}

// Swift does not import macros that are character literals.
static inline int clibpq_diag_severity(void) { return PG_DIAG_SEVERITY_NONLOCALIZED; }
static inline int clibpq_diag_sqlstate(void) { return PG_DIAG_SQLSTATE; }
static inline int clibpq_diag_message_primary(void) { return PG_DIAG_MESSAGE_PRIMARY; }
static inline int clibpq_diag_message_detail(void) { return PG_DIAG_MESSAGE_DETAIL; }
static inline int clibpq_diag_message_hint(void) { return PG_DIAG_MESSAGE_HINT; }

// Variadic on Linux, and different on every system.
static inline void clibpq_set_thread_name(const char *name) {
#if defined(__linux__)
    (void)prctl(PR_SET_NAME, name, 0, 0, 0);
#else
    (void)pthread_setname_np(name);
#endif
}

#endif
