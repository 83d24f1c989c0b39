/* The client of the benchmarks: many event streams, one thread, every event checked.
 *
 * What an event has to be: data of so many bytes that begins with its number, ten digits, counted
 * from FIRST on each connection, and the time of its publishing in nanoseconds of CLOCK_MONOTONIC,
 * nineteen digits, or nought. An event that is missing, doubled, out of order, or of another size is
 * an error, and so is anything that is not chunked HTTP/1.1 with an event stream in it.
 *
 * It prints "ready" once every connection has its headers, and one JSON object at its end.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FIRST 1000000000ULL
#define ADDRESSES 64 /* of our own, since 28,000 ports are too few for all that was closed lately */

enum mode { READ, HOLD, CHURN };
enum phase { CONNECTING, HEAD, SIZE, DATA, DATA_END, LAST_LINE, ENDED, CLOSED };

struct connection {
    int fd;
    enum phase phase;
    bool done;         /* has all that it was opened for */
    bool has_data, has_type;
    uint64_t next;     /* the number that comes next */
    uint64_t opened;   /* when */
    uint64_t number, published; /* of the event that is being read */
    size_t chunk_left;
    size_t held;       /* bytes of a line, or of the headers, that came in parts */
    char line[1024];
};

static struct {
    enum mode mode;
    int port;
    const char *path;
    long connections, at_once;
    uint64_t events;   /* for each connection; 0 for no end */
    bool whole;        /* whether the stream has to end after these, as it should */
    double seconds, warm_up, timeout, rate;
    size_t size;
    int pid;
} options = {.at_once = 64, .connections = 1, .size = 110, .timeout = 60};

static struct connection *all;
static int poller;
static long opened, in_flight, have_headers, finished, complete, incomplete;
static uint64_t events, comments, bytes, errors, last_end;
static char first_error[256];
static uint32_t *latencies; /* microseconds */
static size_t latency_count, latency_room;
static char buffer[262144];
static uint64_t now;
static uint64_t window_start, window_end, cpu_start, cpu_end;
static bool measuring, over;

static uint64_t clock_ns(clockid_t clock) {
    struct timespec t;
    return clock_gettime(clock, &t) ? 0 : t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static uint64_t cpu_of_server(void) {
    clockid_t clock;
    return options.pid && !clock_getcpuclockid(options.pid, &clock) ? clock_ns(clock) : 0;
}

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (!errors++) vsnprintf(first_error, sizeof first_error, format, arguments);
    va_end(arguments);
}

static void note_latency(uint64_t since) {
    if (latency_count == latency_room) {
        latency_room = latency_room ? 2 * latency_room : 65536;
        latencies = realloc(latencies, latency_room * sizeof *latencies);
        if (!latencies) abort();
    }
    latencies[latency_count++] = (now - since) / 1000;
}

static void begin_window(void) {
    measuring = true;
    events = bytes = comments = latency_count = 0;
    window_start = now;
    cpu_start = cpu_of_server();
}

static void close_connection(struct connection *c, bool reset) {
    if (reset) {
        struct linger linger = {1, 0};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    }
    close(c->fd);
    c->phase = CLOSED;
    finished++;
}

static void end_of_stream(struct connection *c, bool whole) {
    last_end = now;
    whole ? complete++ : incomplete++;
    if (!c->done && options.mode != HOLD && !(whole && options.whole && c->next == options.events))
        fail("a stream ended %s after %lu events", whole ? "" : "incomplete", (long)c->next);
    if (c->phase == CONNECTING || c->phase == HEAD) fail("a connection ended before its headers");
    close_connection(c, false);
}

static void got_first_event(struct connection *c) {
    note_latency(c->opened);
    c->done = true;
}

static void got_event(struct connection *c) {
    if (c->number != FIRST + c->next) fail("event %lu came for %lu", (long)(c->number - FIRST), (long)c->next);
    c->next++;
    events++;
    if (!window_start) window_start = now;
    if (!measuring && now - window_start >= options.warm_up * 1e9) begin_window();
    if (c->published && options.mode == READ) note_latency(c->published);
    if (options.mode == CHURN) {
        got_first_event(c);
    } else if (options.events && !options.whole && c->next == options.events) {
        c->done = true;
    } else if (options.events && c->next > options.events) {
        fail("more events than %lu", (long)options.events);
    }
}

static uint64_t digits(const char *text, int count) {
    uint64_t value = 0;
    while (count--) value = 10 * value + (*text++ - '0');
    return value;
}

static void got_line(struct connection *c, const char *line, size_t length) {
    if (length && line[length - 1] == '\r') length--;
    if (!length) {
        if (c->has_type && options.mode == CHURN) got_first_event(c);
        else if (c->has_data) got_event(c);
        c->has_data = c->has_type = false;
    } else if (length > 6 && !memcmp(line, "data: ", 6)) {
        if (c->has_type) return;
        if (c->has_data || length - 6 != options.size) {
            fail("an event of the wrong size: %.*s", (int)length, line);
            return;
        }
        c->has_data = true;
        c->number = digits(line + 6, 10);
        c->published = digits(line + 17, 19);
    } else if (length > 7 && !memcmp(line, "event: ", 7)) {
        c->has_type = true;
        c->has_data = false;
    } else if (line[0] == ':') {
        comments++;
    } else if (memcmp(line, "id: ", 4) && memcmp(line, "retry: ", 7)) {
        fail("a line that is none: %.*s", (int)length, line);
    }
}

/* Pass on whole lines; what is left of one waits for the rest. Returns false when it is too long. */
static bool take_lines(struct connection *c, const char *data, size_t length) {
    while (length && !c->done) {
        const char *end = memchr(data, '\n', length);
        size_t part = end ? (size_t)(end - data) : length;
        if (c->held || !end) {
            if (c->held + part > sizeof c->line) return fail("a line without an end"), false;
            memcpy(c->line + c->held, data, part);
            c->held += part;
        }
        if (!end) return true;
        if (c->held) got_line(c, c->line, c->held);
        else got_line(c, data, part);
        c->held = 0;
        data += part + 1;
        length -= part + 1;
    }
    return true;
}

static size_t take_head(struct connection *c, const char *data, size_t length) {
    size_t used = 0;
    while (used < length && c->held < sizeof c->line - 1) {
        c->line[c->held++] = data[used++];
        if (c->held < 4 || memcmp(c->line + c->held - 4, "\r\n\r\n", 4)) continue;
        c->line[c->held] = 0;
        if (strncmp(c->line, "HTTP/1.1 200", 12) || !strcasestr(c->line, "transfer-encoding: chunked"))
            fail("not what was asked for: %.200s", c->line);
        c->held = 0;
        c->phase = SIZE;
        have_headers++;
        in_flight--;
        return used;
    }
    if (used < length) fail("headers without an end");
    return length;
}

/* Returns how much of the data was used: all of it, unless this is an error. */
static size_t take_chunked(struct connection *c, const char *data, size_t length) {
    size_t used = 0;
    while (used < length && !c->done && c->phase != ENDED) {
        char byte = data[used];
        switch (c->phase) {
        case SIZE:
            used++;
            if (byte == '\n') {
                c->phase = c->chunk_left ? DATA : LAST_LINE;
            } else if (byte != '\r') {
                int digit = byte <= '9' ? byte - '0' : (byte | 32) - 'a' + 10;
                if (digit < 0 || digit > 15) return fail("no size of a chunk: %d", byte), length;
                c->chunk_left = 16 * c->chunk_left + digit;
            }
            break;
        case DATA: {
            size_t part = length - used < c->chunk_left ? length - used : c->chunk_left;
            if (!take_lines(c, data + used, part)) return length;
            used += part;
            c->chunk_left -= part;
            if (!c->chunk_left) c->phase = DATA_END;
            break;
        }
        case DATA_END:
            used++;
            if (byte == '\n') c->phase = SIZE;
            else if (byte != '\r') return fail("a chunk of the wrong size"), length;
            break;
        default: /* LAST_LINE */
            used++;
            if (byte == '\n') c->phase = ENDED;
        }
    }
    return used;
}

static void open_connection(struct connection *c) {
    static long count;
    struct sockaddr_in own = {.sin_family = AF_INET}, server = own;
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + count++ % ADDRESSES);
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.sin_port = htons(options.port);
    memset(c, 0, sizeof *c);
    c->opened = clock_ns(CLOCK_MONOTONIC);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int one = 1;
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    struct epoll_event event = {EPOLLOUT, {.ptr = c}};
    opened++;
    in_flight++;
    if (c->fd < 0 || bind(c->fd, (struct sockaddr *)&own, sizeof own) ||
        (connect(c->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS) ||
        epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) {
        perror("cannot connect");
        exit(1);
    }
}

static void send_request(struct connection *c) {
    char request[512];
    int problem = 0;
    socklen_t size = sizeof problem;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &problem, &size);
    if (problem) {
        fail("refused: %s", strerror(problem));
        end_of_stream(c, false);
        return;
    }
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: benchmark\r\nAccept: text/event-stream\r\n\r\n",
                          options.path);
    if (write(c->fd, request, length) != length) fail("the request was not taken");
    struct epoll_event event = {EPOLLIN, {.ptr = c}};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
    c->phase = HEAD;
}

static void read_connection(struct connection *c) {
    ssize_t length = read(c->fd, buffer, sizeof buffer);
    if (length < 0 && errno == EAGAIN) return;
    now = clock_ns(CLOCK_MONOTONIC);
    if (length <= 0) {
        end_of_stream(c, false);
        return;
    }
    bytes += length;
    size_t used = 0;
    if (c->phase == HEAD) used = take_head(c, buffer, length);
    if (c->phase != HEAD) used += take_chunked(c, buffer + used, length - used);
    if (c->phase == ENDED && !c->done) end_of_stream(c, true);
    else if (c->done) close_connection(c, options.mode == CHURN && finished % 2);
}

static void open_more(uint64_t begun) {
    static long slots;
    long allowed = options.connections;
    if (options.rate > 0) allowed = (now - begun) / 1e9 * options.rate + 1;
    if (options.mode == CHURN) {
        for (long slot = 0; slot < options.at_once && opened < options.connections && opened < allowed; slot++)
            if (slot >= slots || all[slot].phase == CLOSED) {
                if (slot >= slots) slots = slot + 1;
                open_connection(&all[slot]);
            }
    } else {
        while (opened < options.connections && opened < allowed && in_flight < options.at_once)
            open_connection(&all[opened]);
    }
}

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double part_of_latencies(double part) {
    if (!latency_count) return 0;
    return latencies[(size_t)(part * (latency_count - 1))] / 1e3;
}

static void report(void) {
    qsort(latencies, latency_count, sizeof *latencies, ascending);
    printf("{\"events\": %lu, \"comments\": %lu, \"bytes\": %lu, \"seconds\": %.9f, \"cpu_seconds\": %.9f, "
           "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"connections\": %ld, \"complete\": %ld, "
           "\"incomplete\": %ld, \"open\": %ld, \"last_end\": %lu, \"errors\": %lu, \"first_error\": \"",
           events, comments, bytes, (window_end - window_start) / 1e9, (cpu_end - cpu_start) / 1e9,
           part_of_latencies(0.5), part_of_latencies(0.99), part_of_latencies(1), opened, complete,
           incomplete, opened - finished, last_end, errors);
    for (char *c = first_error; *c; c++)
        if (*c >= ' ' && *c != '"' && *c != '\\') putchar(*c);
    printf("\"}\n");
}

static void run(void) {
    struct epoll_event ready[512];
    uint64_t begun = now = clock_ns(CLOCK_MONOTONIC);
    bool said_ready = false;
    if (options.mode == CHURN) begin_window();
    while (!over && !errors && finished < options.connections) {
        open_more(begun);
        int count = epoll_wait(poller, ready, 512, 10);
        for (int i = 0; i < count; i++) {
            struct connection *c = ready[i].data.ptr;
            if (!c) over = true; /* standard input: we are told to end */
            else if (c->phase == CONNECTING) send_request(c);
            else if (c->phase != CLOSED) read_connection(c);
        }
        now = clock_ns(CLOCK_MONOTONIC);
        if (!said_ready && options.mode != CHURN && have_headers == options.connections) {
            said_ready = true;
            puts("ready");
            fflush(stdout);
        }
        if (options.seconds && measuring && now - window_start >= options.seconds * 1e9) over = true;
        if (now - begun > options.timeout * 1e9) {
            fail("nothing left to wait for: %ld opened, %ld with headers, %ld finished, %lu events", opened,
                 have_headers, finished, (long)events);
        }
    }
    window_end = now;
    cpu_end = cpu_of_server();
}

int main(int count, char **arguments) {
    int option;
    while ((option = getopt(count, arguments, "m:p:u:k:c:n:et:w:T:r:s:P:")) != -1) switch (option) {
        case 'm': options.mode = *optarg == 'h' ? HOLD : *optarg == 'c' ? CHURN : READ; break;
        case 'p': options.port = atoi(optarg); break;
        case 'u': options.path = optarg; break;
        case 'k': options.connections = atol(optarg); break;
        case 'c': options.at_once = atol(optarg); break;
        case 'n': options.events = atol(optarg); break;
        case 'e': options.whole = true; break;
        case 't': options.seconds = atof(optarg); break;
        case 'w': options.warm_up = atof(optarg); break;
        case 'T': options.timeout = atof(optarg); break;
        case 'r': options.rate = atof(optarg); break;
        case 's': options.size = atol(optarg); break;
        case 'P': options.pid = atoi(optarg); break;
        default: return 2;
    }
    all = calloc(options.connections, sizeof *all);
    poller = epoll_create1(0);
    if (!all || poller < 0) return perror("client"), 2;
    struct epoll_event input = {EPOLLIN, {.ptr = NULL}};
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &input);
    run();
    report();
    return errors != 0;
}
