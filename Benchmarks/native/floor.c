/* The least that a server can do for the same bytes: it sends what a publisher says to every subscriber as one ready
 * frame, one send() each, on one thread, and knows nothing of users, rights, limits or time.
 *
 *   cc -O2 -o floor floor.c && ./floor [--join] PORT      PORT 0 picks a free one
 *
 * GET /pub is the publisher, everybody else subscribes. --join sends what arrived together in one send() each. It
 * prints "listening on http://127.0.0.1:PORT" like the servers that it stands beside. It trusts its clients: keep it
 * on this machine. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { INPUT = 1 << 18, EVENTS = 512, MOST = 1 << 20 };

struct client {
    int fd;
    bool open, publishes;
    size_t place;                   /* in `subscribers` */
    uint8_t *in, *out;              /* what is not complete yet, what the kernel did not take yet */
    size_t in_count, out_count;
};

/* RFC 6455 section 1.3: the answer to the only key that our load generator sends. */
static const char ANSWER[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static struct client **subscribers;
static size_t subscriber_count;
static int poller;
static bool joins;
static uint8_t input[INPUT];

static void watch(int operation, struct client *client, uint32_t events) {
    struct epoll_event event = { .events = events, .data.ptr = client };
    epoll_ctl(poller, operation, client->fd, &event);
}

static void leave(struct client *client) {
    if (client->open && !client->publishes) {
        subscribers[client->place] = subscribers[--subscriber_count];
        subscribers[client->place]->place = client->place;
    }
    close(client->fd);
    free(client->in);
    free(client->out);
    free(client);
}

static void deliver(struct client *client, const uint8_t *bytes, size_t count) {
    if (client->out_count == 0) {
        ssize_t sent = send(client->fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent == (ssize_t)count) return;
        if (sent < 0 && errno != EAGAIN) return;
        if (sent > 0) bytes += sent, count -= (size_t)sent;
        watch(EPOLL_CTL_MOD, client, EPOLLIN | EPOLLOUT);
    }
    client->out = realloc(client->out, client->out_count + count);
    if (!client->out) abort();
    memcpy(client->out + client->out_count, bytes, count);
    client->out_count += count;
}

static void deliver_rest(struct client *client) {
    ssize_t sent = send(client->fd, client->out, client->out_count, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent <= 0) return;
    client->out_count -= (size_t)sent;
    memmove(client->out, client->out + sent, client->out_count);
    if (client->out_count > 0) return;
    free(client->out);
    client->out = NULL;
    watch(EPOLL_CTL_MOD, client, EPOLLIN);
}

static void deliver_to_all(const uint8_t *bytes, size_t count) {
    for (size_t index = 0; count > 0 && index < subscriber_count; index++) deliver(subscribers[index], bytes, count);
}

/* Turns each frame of the publisher into one for the subscribers, in place: a server's header is 4 bytes shorter.
 * Returns how much of the input was used up. */
static size_t publish(uint8_t *bytes, size_t count) {
    size_t used = 0, from = 0, to = 0;      /* [from, to) is made and not sent yet */
    while (count - used >= 6) {
        size_t length = bytes[used + 1] & 0x7F, header = 2;
        if (length == 127) abort();
        if (length == 126) length = (size_t)bytes[used + 2] << 8 | bytes[used + 3], header = 4;
        if (count - used < header + 4 + length) break;
        uint8_t *payload = bytes + used + header + 4, *mask = payload - 4;
        for (size_t index = 0; index < length; index++) payload[index] ^= mask[index & 3];
        memmove(bytes + to, bytes + used, header);
        bytes[to + 1] &= 0x7F;
        memmove(bytes + to + header, payload, length);
        used += header + 4 + length;
        to += header + length;
        if (!joins) deliver_to_all(bytes + from, to - from), from = to;
    }
    deliver_to_all(bytes + from, to - from);
    return used;
}

static void receive(struct client *client) {
    if (client->in) memcpy(input, client->in, client->in_count);
    ssize_t got = recv(client->fd, input + client->in_count, INPUT - client->in_count, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) leave(client);
        return;
    }
    size_t count = client->in_count + (size_t)got, used = 0;
    if (!client->open) {
        if (memmem(input, count, "\r\n\r\n", 4)) {
            client->open = true;
            client->publishes = count > 9 && memcmp(input, "GET /pub ", 9) == 0;
            if (!client->publishes) client->place = subscriber_count, subscribers[subscriber_count++] = client;
            send(client->fd, ANSWER, sizeof ANSWER - 1, MSG_NOSIGNAL);
            used = count;
        }
    } else if (client->publishes) {
        used = publish(input, count);
    } else {
        used = count;
    }
    free(client->in);
    client->in_count = count - used;
    client->in = client->in_count ? memcpy(malloc(client->in_count), input + used, client->in_count) : NULL;
}

static void welcome(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct client *client = calloc(1, sizeof *client);
        if (!client) abort();
        client->fd = fd;
        watch(EPOLL_CTL_ADD, client, EPOLLIN);
    }
}

int main(int count, char **arguments) {
    joins = count == 3 && strcmp(arguments[1], "--join") == 0;
    if (count != (joins ? 3 : 2)) return fprintf(stderr, "usage: floor [--join] PORT\n"), 64;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    subscribers = calloc(MOST, sizeof *subscribers);

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                   .sin_port = htons((uint16_t)atoi(arguments[count - 1])) };
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096)) return perror("floor: listen"), 69;
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("listening on http://127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);

    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event first = { .events = EPOLLIN, .data.ptr = NULL }, events[EVENTS];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &first);
    for (;;) {
        int ready = epoll_wait(poller, events, EVENTS, -1);
        for (int index = 0; index < ready; index++) {
            struct client *client = events[index].data.ptr;
            if (!client) welcome(listener);
            else if (events[index].events & EPOLLOUT) deliver_rest(client);
            else receive(client);
        }
    }
}
